"""What environments reach and who reaches them, with real packets."""

import os
import socket
import struct
from pathlib import Path

import pytest
from pyroute2.netlink import NLM_F_CREATE
from pyroute2.netlink.nfnetlink import nfgen_msg
from pyroute2.netlink.nfnetlink.nftsocket import nft_table_msg

from lambdad.model import limits
from lambdad.network import firewall
from lambdad.network.policy import CannotConnect, Chain, Link, Rule, links_of

pytestmark = pytest.mark.root

HOST, ROUTER = "198.51.100.2", "198.51.100.1"
PUBLIC, PRIVATE, RESOLVER = "203.0.113.7", "10.1.2.3", "192.168.7.53"
DENIED = (PRIVATE, "169.254.169.254", "100.100.100.200", "172.16.9.9", "192.168.7.7", "198.18.3.3")
# For what is dropped: nobody answers, however long one waits.
SHORT_S = 0.3
BOUND_S = 10.0


def test_the_internet_is_reached_by_tcp_from_the_address_of_the_host(world):
    server = world.serve(world.internet, PUBLIC, 443)

    async def scenario(networks):
        network = await networks.take()
        client = world.connect(network.fd, PUBLIC, 443)
        accepted, (sender, _) = server.accept()
        with accepted:
            accepted.sendall(b"hello")
            assert client.recv(5) == b"hello"
        assert sender == HOST
        assert client.getsockname()[0] == str(network.address)

    world.run(world.outbound(), scenario)


def test_a_name_server_answers_on_its_port_and_on_no_other(world):
    server = world.serve(world.internet, RESOLVER, 53, socket.SOCK_DGRAM)
    world.serve(world.internet, RESOLVER, 53)
    world.serve(world.internet, RESOLVER, 80)

    async def scenario(networks):
        network = await networks.take()
        client = world.open_socket(network.fd, socket.SOCK_DGRAM)
        client.sendto(b"question", (RESOLVER, 53))
        question, sender = server.recvfrom(100)
        server.sendto(b"answer to " + question, sender)
        assert client.recv(100) == b"answer to question"
        world.connect(network.fd, RESOLVER, 53)
        with pytest.raises(ConnectionRefusedError):
            world.connect(network.fd, RESOLVER, 80)

    world.run(world.outbound(), scenario)


@pytest.mark.parametrize("address", DENIED)
def test_what_is_not_the_internet_is_refused_at_once(world, address):
    world.serve(world.internet, address, 80)
    world.serve(world.internet, address, 81, socket.SOCK_DGRAM)

    async def scenario(networks):
        network = await networks.take()
        with pytest.raises(ConnectionRefusedError):
            world.connect(network.fd, address, 80)
        client = world.open_socket(network.fd, socket.SOCK_DGRAM)
        client.connect((address, 81))
        client.send(b"hello")
        with pytest.raises(OSError, match=r"\[Errno 113\]"):
            client.recv(1)

    world.run(world.outbound(), scenario)


def test_the_host_is_refused_at_all_its_addresses(world):
    world.serve(world.host, "0.0.0.0", 3001)

    async def scenario(networks):
        network = await networks.take()
        gateway = world.gateway()
        for address in (HOST, gateway):
            with pytest.raises(ConnectionRefusedError):
                world.connect(network.fd, address, 3001)
        # This is the environment's own loopback, where nobody listens.
        with pytest.raises(ConnectionRefusedError):
            world.connect(network.fd, "127.0.0.1", 3001)

    # A network that covers the host does not stand for it.
    world.run(world.outbound(allow=("198.51.100.0/24", "198.51.100.0/24:3001", HOST)), scenario)


def test_what_is_allowed_is_reached_and_its_neighbour_is_not(world):
    world.serve(world.internet, PRIVATE, 5432)
    world.serve(world.internet, PRIVATE, 5433)
    world.serve(world.internet, "172.16.9.9", 80)
    world.serve(world.internet, "169.254.169.254", 80)
    world.serve(world.host, HOST, 8000)
    world.serve(world.host, HOST, 8001)

    async def scenario(networks):
        network = await networks.take()
        reached = ((PRIVATE, 5432), ("172.16.9.9", 80), ("169.254.169.254", 80), (HOST, 8000))
        for address, port in reached:
            world.connect(network.fd, address, port)
        for address, port in ((PRIVATE, 5433), (HOST, 8001)):
            with pytest.raises(ConnectionRefusedError):
                world.connect(network.fd, address, port)

    allow = (f"{PRIVATE}:5432", "172.16.0.0/12", "169.254.169.254:80", f"{HOST}:8000")
    world.run(world.outbound(allow=allow), scenario)


def test_environments_do_not_reach_each_other(world):
    async def scenario(networks):
        one, other = await networks.take(), await networks.take()
        assert one.address != other.address
        world.serve(other.fd, "0.0.0.0", 80)
        with pytest.raises(TimeoutError):
            world.connect(one.fd, str(other.address), 80, timeout_s=SHORT_S)
        # Nor by the address that the Runtime API has in each of them.
        world.serve(other.fd, limits.runtime_api_host, limits.runtime_api_port)
        with pytest.raises(ConnectionRefusedError):
            world.connect(one.fd, limits.runtime_api_host, limits.runtime_api_port)

    world.run(world.outbound(allow=("100.64.0.0/11",)), scenario)


def test_two_daemons_on_a_host_do_not_meet(world):
    async def scenario(networks):
        one = await networks.take()

        async def within(others):
            other = await others.take()
            world.serve(other.fd, "0.0.0.0", 80)
            with pytest.raises((TimeoutError, ConnectionRefusedError)):
                world.connect(one.fd, str(other.address), 80, timeout_s=SHORT_S)

        second = world.networks(world.outbound("lambdad-second"))
        await second.start()
        try:
            await within(second)
        finally:
            await second.stop()
        # The first goes on, with what both need of the host.
        server = world.serve(world.internet, PUBLIC, 443)
        world.connect(one.fd, PUBLIC, 443)
        server.accept()[0].close()

    before = world.state()
    world.run(world.outbound("lambdad-first"), scenario)
    assert world.state() == before


def test_nothing_gets_in(world):
    async def scenario(networks):
        network = await networks.take()
        world.serve(network.fd, "0.0.0.0", 80)
        world.route(world.internet, f"{network.address}/32", HOST)
        with pytest.raises(TimeoutError):
            world.connect(world.internet, str(network.address), 80, timeout_s=SHORT_S)
        with pytest.raises(TimeoutError):
            world.connect(world.host, str(network.address), 80, timeout_s=SHORT_S)
        with pytest.raises(PermissionError):
            world.open_socket(world.host, socket.SOCK_DGRAM).sendto(b"", (str(network.address), 80))

    world.run(world.outbound(), scenario)


def test_the_host_becomes_no_router_for_others(world):
    beyond = world.neighbour("192.0.2.1", "192.0.2.9")
    world.serve(beyond, "192.0.2.9", 80)
    world.route(beyond, "default", "192.0.2.1")
    world.route(world.internet, "192.0.2.9/32", HOST)

    async def scenario(networks):
        network = await networks.take()
        world.connect(network.fd, "192.0.2.9", 80)
        with pytest.raises(TimeoutError):
            world.connect(world.internet, "192.0.2.9", 80, timeout_s=SHORT_S)

    world.run(world.outbound(), scenario)


def test_there_is_no_ipv6_but_on_the_loopback(world):
    async def scenario(networks):
        network = await networks.take()
        links = world.at(network.fd, Path("/proc/thread-self/net/if_inet6").read_text)
        assert {line.split()[-1] for line in links.splitlines()} <= {"lo"}
        outside = world.at(world.host, Path("/proc/thread-self/net/if_inet6").read_text)
        assert links_of("lambdad-test") not in outside
        with pytest.raises(OSError, match=r"\[Errno 101\]"):
            world.open_socket(network.fd, family=socket.AF_INET6).connect(("2001:db8::1", 80))

    world.run(world.outbound(), scenario)


def test_another_sender_than_the_environment_is_not_believed(world):
    server = world.serve(world.internet, PUBLIC, 53, socket.SOCK_DGRAM)
    server.settimeout(SHORT_S)

    async def scenario(networks):
        network = await networks.take()
        raw = world.raw_socket(network.fd)
        raw.sendto(datagram("203.0.113.99", PUBLIC, 53), (PUBLIC, 0))
        with pytest.raises(TimeoutError):
            server.recv(100)
        server.settimeout(BOUND_S)
        raw.sendto(datagram(str(network.address), PUBLIC, 53), (PUBLIC, 0))
        assert server.recv(100) == b"hello"

    world.run(world.outbound(), scenario)


def datagram(source, destination, port):
    """A UDP datagram whose sender is what one likes."""
    payload = b"hello"
    header = struct.pack(
        "!BBHHHBBH4s4s",
        0x45, 0, 0, 0, 0, 64, socket.IPPROTO_UDP, 0,
        socket.inet_aton(source), socket.inet_aton(destination),
    )  # fmt: skip
    return header + struct.pack("!HHHH", 5000, port, 8 + len(payload), 0) + payload


def test_a_stop_leaves_the_host_as_it_was(world):
    before = world.state()

    async def scenario(networks):
        networks.give_back(await networks.take())
        await networks.take()
        assert world.state() != before

    world.run(world.outbound(), scenario, count=3)
    assert world.state() == before


def test_what_a_killed_daemon_left_is_swept_and_nothing_else(world):
    before = world.state()
    killed = world.outbound()
    world.on_host(killed.open)
    namespace, _ = world.on_host(killed.connect, limits.runtime_api_host)
    world.closing(namespace)
    strange = links_of("lambdad-test") + "x"  # by its name ours, but not by its group
    world.dummy(strange)

    async def scenario(networks):
        network = await networks.take()
        world.serve(world.internet, PUBLIC, 443)
        world.connect(network.fd, PUBLIC, 443)
        with pytest.raises(OSError, match=r"\[Errno 101\]|\[Errno 113\]|timed out"):
            world.connect(namespace, PUBLIC, 443, timeout_s=SHORT_S)

    world.run(world.outbound(), scenario)
    links, routes, forwarding, tables = world.state()
    assert (routes, forwarding, tables) == before[1:]
    assert links == sorted([*before[0], strange])


def test_a_host_that_has_become_a_router_stays_one(world):
    async def scenario(networks):
        world.on_host(Path("/proc/sys/net/ipv4/ip_forward").write_text, "1")

    world.run(world.outbound(), scenario)
    _, _, forwarding, tables = world.state()
    assert forwarding == dict.fromkeys(("all", "default", "uplink"), "1\n")
    assert tables == {}


def test_a_host_that_forwarded_before_goes_on(world):
    world.on_host(Path("/proc/sys/net/ipv4/conf/uplink/forwarding").write_text, "1")
    before = world.state()

    async def scenario(networks):
        assert world.state()[3] == dict.fromkeys(world.state()[3], "forwarding was off: ")

    world.run(world.outbound(), scenario)
    assert world.state() == before


def test_a_firewall_that_drops_is_named(world):
    chain = Chain("FORWARD", (Rule((Link("in", "docker0", whole=True),), "accept"),), "forward")
    world.on_host(lambda: firewall.install("filter", (chain,), "", replace=False))
    assert world.on_host(firewall.forward_drops) == []
    world.drop_by_default("filter", "FORWARD")
    assert world.on_host(firewall.forward_drops) == ["filter FORWARD"]


def test_a_table_of_others_may_say_what_it_likes(world):
    class Strange(nfgen_msg):
        nla_map = (*nft_table_msg.nla_map[:-1], ("NFTA_TABLE_USERDATA", "cdata"))

    attributes = {"NFTA_TABLE_NAME": "filter", "NFTA_TABLE_USERDATA": b"\x01\x01\xff\x02"}
    world.on_host(
        lambda: firewall._transact([firewall._message(0, Strange, NLM_F_CREATE, **attributes)])
    )

    async def scenario(networks):
        world.serve(world.internet, PUBLIC, 443)
        world.connect((await networks.take()).fd, PUBLIC, 443)

    world.run(world.outbound(), scenario)


def test_who_may_not_is_refused_with_the_cure(world, monkeypatch):
    before = world.state()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(CannotConnect, match=r"not root \(use --network none\)"):
        world.run(world.outbound(), None)
    monkeypatch.undo()

    def unable(*_, **__):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(firewall, "install", unable)
    with pytest.raises(CannotConnect, match="nf_tables, veth and a writable /proc/sys"):
        world.run(world.outbound(), None)
    assert world.state() == before


@pytest.mark.parametrize("step", ["claim", "add_pair", "bring_up"])
def test_a_start_that_fails_half_way_leaves_the_host_as_it_was(world, monkeypatch, step):
    from lambdad.network import links

    before = world.state()

    def unable(*_):
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(links, step, unable)
    with pytest.raises(CannotConnect, match="not permitted"):
        world.run(world.outbound(), None)
    assert world.state() == before


def test_rules_are_there_whole_or_not_at_all(world):
    broken = Chain("forward", (Rule((), "drop"), Rule((), "no-such-chain")), hook="forward")
    with pytest.raises(OSError, match="nf_tables"):
        world.on_host(lambda: firewall.install("lambdad-x", (broken,), "", replace=False))
    assert world.on_host(firewall.comments, "") == {}
