"""A host and an internet, each a network namespace of this test's; the machine's own is left alone.

The host is a thread: what it starts is in its network, and so are the sockets that are made there.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from functools import partial
from pathlib import Path

import pytest
from pyroute2 import IPRoute
from pyroute2.nftables.main import NFTables

from lambdad.model import limits
from lambdad.network import firewall, namespaces
from lambdad.network.networks import Networks
from lambdad.network.outbound import Outbound
from lambdad_sandbox import syscalls

HOST, ROUTER = "198.51.100.2", "198.51.100.1"
THERE = (
    "203.0.113.7", "10.1.2.3", "192.168.7.53", "169.254.169.254", "100.100.100.200", "172.16.9.9",
    "192.168.7.7", "198.18.3.3",
)  # fmt: skip
BOUND_S = 10.0


def at(namespace, act):
    """What ``act`` returns in a thread that has joined the namespace."""
    outcome = []

    def inside():
        try:
            syscalls.setns(namespace, syscalls.CLONE_NEWNET)
            outcome.append((act(), None))
        except BaseException as error:  # noqa: BLE001  it is raised where it is waited for
            outcome.append((None, error))

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join()
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


class World:
    """The host and the internet behind it, with the sockets of one test."""

    def __init__(self, stack):
        self._stack = stack
        self.host = self._namespace()
        self.internet = self._namespace()
        at(self.internet, self._furnish_internet)
        at(self.host, self._furnish_host)

    at = staticmethod(at)

    def _namespace(self):
        descriptor = namespaces.make(limits.runtime_api_host, lambda: None)
        self._stack.callback(os.close, descriptor)
        return descriptor

    def _furnish_internet(self):
        with IPRoute() as kernel:
            peer = {"ifname": "uplink", "net_ns_fd": self.host}
            kernel.link("add", ifname="eth0", kind="veth", peer=peer)
            index = kernel.link_lookup(ifname="eth0")[0]
            kernel.addr("add", index=index, address=ROUTER, prefixlen=24)
            kernel.link("set", index=index, state="up")
            for address in THERE:
                kernel.addr("add", index=1, address=address, prefixlen=32)

    def _furnish_host(self):
        with IPRoute() as kernel:
            index = kernel.link_lookup(ifname="uplink")[0]
            kernel.addr("add", index=index, address=HOST, prefixlen=24)
            kernel.link("set", index=index, state="up")
            kernel.route("add", dst="default", gateway=ROUTER)

    def open_socket(self, namespace, kind=socket.SOCK_STREAM, family=socket.AF_INET):
        made = at(namespace, lambda: socket.socket(family, kind))
        made.settimeout(BOUND_S)
        self._stack.callback(made.close)
        return made

    def serve(self, namespace, address, port, kind=socket.SOCK_STREAM):
        """A socket that takes what comes to this address."""
        server = self.open_socket(namespace, kind)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, port))
        if kind == socket.SOCK_STREAM:
            server.listen(16)
        return server

    def connect(self, namespace, address, port, *, timeout_s=BOUND_S):
        client = self.open_socket(namespace)
        client.settimeout(timeout_s)
        client.connect((address, port))
        return client

    def raw_socket(self, namespace):
        made = at(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 255))
        self._stack.callback(made.close)
        return made

    def closing(self, descriptor):
        self._stack.callback(os.close, descriptor)

    def route(self, namespace, destination, gateway):
        def add():
            with IPRoute() as kernel:
                kernel.route("add", dst=destination, gateway=gateway)

        at(namespace, add)

    def neighbour(self, host_address, address):
        """A namespace beside the internet, on a link of its own."""
        namespace = self._namespace()

        def furnish(name, own, index_of_peer=None):
            with IPRoute() as kernel:
                if index_of_peer is None:
                    peer = {"ifname": "beside", "net_ns_fd": self.host}
                    kernel.link("add", ifname=name, kind="veth", peer=peer)
                index = kernel.link_lookup(ifname=name)[0]
                kernel.addr("add", index=index, address=own, prefixlen=24)
                kernel.link("set", index=index, state="up")

        at(namespace, partial(furnish, "eth0", address))
        at(self.host, partial(furnish, "beside", host_address, 0))
        return namespace

    def dummy(self, name):
        """A link of the host's that nobody may touch."""

        def add():
            with IPRoute() as kernel:
                kernel.link("add", ifname=name, kind="veth", peer={"net_ns_fd": self.internet})

        at(self.host, add)

    def gateway(self):
        """The host's address on the links of environments."""

        def look():
            with IPRoute() as kernel:
                found = [entry.get_attr("IFA_LOCAL") for entry in kernel.get_addr(family=2)]
            return next(address for address in found if address.startswith("100."))

        return at(self.host, look)

    def drop_by_default(self, table, chain):
        def change():
            with NFTables() as nft:
                nft.chain("add", table=table, name=chain, policy=0)

        at(self.host, change)

    def outbound(self, tag="lambdad-test", allow=(), dns=("192.168.7.53",)):
        return Outbound(tag, allow, dns)

    def networks(self, way, count=1):
        return Networks(way, count)

    def on_host(self, act, *arguments):
        return at(self.host, partial(act, *arguments))

    def run(self, way, scenario, count=1):
        """Run a coroutine function on an event loop of the host's, with networks of this way."""

        async def running():
            networks = self.networks(way, count)
            await networks.start()
            try:
                await scenario(networks)
            finally:
                await networks.stop()

        self.on_host(asyncio.run, running())

    def state(self):
        """All of the host's network that a daemon may change."""
        return self.on_host(_state)


def _state():
    with IPRoute() as kernel:
        links = sorted(link.get_attr("IFLA_IFNAME") for link in kernel.get_links())
        routes = sorted(
            (route.get_attr("RTA_DST") or "default", route["dst_len"], route["type"])
            for route in kernel.get_routes(family=socket.AF_INET)
        )
    forwarding = {
        link: Path(f"/proc/sys/net/ipv4/conf/{link}/forwarding").read_text()
        for link in ("all", "default", "uplink")
    }
    return links, routes, forwarding, firewall.comments("")


@pytest.fixture
def world():
    with contextlib.ExitStack() as stack:
        yield World(stack)
