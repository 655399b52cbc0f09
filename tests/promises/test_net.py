"""NET: an environment has a loopback of its own, and nobody else's."""

from __future__ import annotations

import errno
import http.client
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from promises.deeds import call, connect, connect_to_name, listed, read, refused

AF_PACKET, AF_ALG, AF_VSOCK, AF_XDP, AF_BLUETOOTH, AF_TIPC = 17, 38, 40, 44, 31, 30
SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET = 1, 2, 3, 5
HIGH = 1 << 32
KINDS = ("mnt", "pid", "net", "ipc", "uts", "cgroup")


# --- NET-1: a network of its own ---


@pytest.fixture
def service():
    """A service of the host, on its loopback and on a name that belongs to no file."""
    name = f"\0lambdad-test-{os.getpid()}"
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as hidden:
        hidden.bind(name)
        hidden.listen()
        tcp.setblocking(False)
        hidden.setblocking(False)
        yield tcp, name
        for listener in (tcp, hidden):
            with pytest.raises(BlockingIOError):
                listener.accept()


def test_net_1_the_loopback_is_ones_own(inside, service):
    tcp, _ = service
    with pytest.raises(ConnectionRefusedError):
        inside(connect, "127.0.0.1", tcp.getsockname()[1])


def test_net_1_the_network_is_a_loopback_and_nothing_else(inside):
    def network():
        import socket

        return {"interfaces": socket.if_nameindex(), "host": socket.gethostname()}

    assert inside(network) == {"interfaces": [[1, "lo"]], "host": "localhost"}
    assert inside(read, "/etc/resolv.conf") == ""


def test_net_1_the_host_cannot_reach_in(deploy, invoke):
    source = """
        import socket
        kept = socket.create_server(("0.0.0.0", 0))

        def handler(event, context):
            return kept.getsockname()[1]
    """
    port = invoke(deploy(source)).payload
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_net_1_no_namespace_is_the_hosts_or_a_neighbours(inside, deploy, invoke):
    source = f"""
        import os
        def handler(event, context):
            return [os.readlink(f"/proc/self/ns/{{kind}}") for kind in {KINDS!r}]
    """
    hosts = [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in KINDS]
    seen = [invoke(deploy(source)).payload for _ in range(2)]
    for kind, *links in zip(KINDS, hosts, *seen, strict=True):
        assert len(set(links)) == 3, kind


# --- NET-2: the daemon's doors and neighbours' ports ---


def test_net_2_the_lambda_api_cannot_be_reached(daemon, inside):
    port = int(daemon.url.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        inside(connect, "127.0.0.1", port)
    for address in own_addresses():
        with pytest.raises(OSError, match="unreachable"):
            inside(connect, address, port)


def own_addresses():
    """Those that the host is known by, without asking anybody."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return []
        return [probe.getsockname()[0]]


def test_net_2_a_neighbours_port_cannot_be_reached(inside, neighbour):
    for address in ("127.0.0.1", "169.254.100.1", "0.0.0.0", "::1"):
        with pytest.raises(OSError, match=r"refused|Cannot assign"):
            inside(connect, address, 8080)


def test_net_2_the_runtime_api_one_reaches_is_ones_own(inside, invoke, neighbour):
    """The neighbour's last event is no secret here, but its id is worth nothing."""

    def answer_for(request_id):
        import http.client
        import os

        connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"], timeout=5)
        path = f"/2018-06-01/runtime/invocation/{request_id}/response"
        connection.request("POST", path, b'"forged"')
        status = connection.getresponse().status
        connection.close()
        return status

    assert inside(answer_for, invoke(neighbour).payload["request_id"]) == 400
    assert invoke(neighbour).payload["pid"] > 1


# --- NET-3: interprocess communication ---


def test_net_3_names_without_files_are_ones_own(inside, service, neighbour):
    for name in (service[1], "\0rendezvous"):
        with pytest.raises(ConnectionRefusedError):
            inside(connect_to_name, name)
    with pytest.raises(FileNotFoundError):
        inside(connect_to_name, "/tmp/rendezvous")


def test_net_3_shared_memory_semaphores_and_queues_are_ones_own(inside, neighbour):
    for arguments in (("shmget", 4711, 0, 0), ("msgget", 4711, 0), ("semget", 4711, 0, 0)):
        with pytest.raises(FileNotFoundError):
            inside(call, *arguments)
    for kind in ("shm", "msg", "sem"):
        assert inside(read, f"/proc/sysvipc/{kind}").count("\n") == 1  # the headings
    with pytest.raises(OSError, match=r".") as caught:
        inside(call, "mq_open", "/queue", 0)
    assert caught.value.errno in {errno.ENOENT, errno.ENOSYS, errno.EACCES}
    assert "shm" not in inside(listed, "/dev") or inside(listed, "/dev/shm") == []


# --- NET-4: no metadata service ---


@pytest.mark.parametrize(
    "address",
    ["169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "fd00:ec2::254",
     "192.0.2.1", "10.0.0.1", "172.17.0.1", "192.168.0.1", "8.8.8.8", "2001:db8::1"],
)  # fmt: skip
def test_net_4_there_is_no_way_to_metadata_or_anywhere(inside, address):
    with pytest.raises(OSError, match=r"unreachable|Cannot assign"):
        inside(connect, address, 80)


# --- NET-5: only ordinary sockets ---


@pytest.mark.parametrize(
    ("family", "kind", "protocol"),
    [
        (socket.AF_INET, SOCK_RAW, 1),
        (socket.AF_INET, SOCK_RAW | socket.SOCK_CLOEXEC, 255),
        (socket.AF_INET6, SOCK_RAW, 58),
        (socket.AF_INET + HIGH, SOCK_RAW + HIGH, 1),
        (socket.AF_INET, SOCK_STREAM, 132),
        (AF_PACKET, SOCK_RAW, 3),
        (AF_PACKET, SOCK_DGRAM, 3),
        (AF_PACKET + HIGH, SOCK_RAW, 3),
        (AF_ALG, SOCK_SEQPACKET, 0),
        (AF_VSOCK, SOCK_STREAM, 0),
        (AF_XDP, SOCK_RAW, 0),
        (AF_BLUETOOTH, SOCK_RAW, 1),
        (AF_TIPC, SOCK_STREAM, 0),
        *((socket.AF_NETLINK, SOCK_RAW, protocol) for protocol in (4, 6, 7, 9, 12, 15, 16, 21)),
    ],
)
def test_net_5_only_ordinary_sockets_can_be_had(inside, family, kind, protocol):
    not_there = [errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT]
    refused(inside, call, "socket", family, kind, protocol, also=not_there)


def test_net_5_the_network_cannot_be_configured(inside):
    def set_down():
        import fcntl
        import socket

        with socket.socket() as end:
            fcntl.ioctl(end, 0x8914, b"lo".ljust(16, b"\0") + bytes(24))  # SIOCSIFFLAGS

    def add_by_netlink():
        import os
        import socket
        import struct

        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as end:
            end.settimeout(5)
            body = struct.pack("=BxHiII", 0, 0, 0, 0, 0)
            end.send(struct.pack("=IHHII", 16 + len(body), 16, 0x605, 1, 0) + body)  # NEWLINK
            number = -struct.unpack_from("=i", end.recv(4096), 16)[0]
            if number:
                raise OSError(number, os.strerror(number))

    refused(inside, set_down)
    refused(inside, add_by_netlink)


# --- NET-6: the daemon connects nowhere for an attacker ---


def ask_to_connect(url):
    """Whatever in the APIs of a guest names a place to send to; the statuses of the answers."""
    import http.client
    import json
    import os

    requests = [
        ("POST", "/2020-01-01/extension/register", {"events": ["INVOKE"]}),
        ("PUT", "/2022-07-01/telemetry", {"destination": {"protocol": "HTTP", "URI": url}}),
        ("PUT", "/2020-08-15/logs", {"destination": {"protocol": "HTTP", "URI": url}}),
        ("GET", url, {}),
        ("CONNECT", url.partition("//")[2], {}),
    ]
    statuses = []
    for method, target, body in requests:
        connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"], timeout=5)
        headers = {"Lambda-Extension-Name": "mine", "Host": url.partition("//")[2]}
        connection.request(method, target, json.dumps(body), headers)
        statuses.append(connection.getresponse().status)
        connection.close()
    return statuses


def test_net_6_no_word_of_a_guest_makes_the_daemon_connect(inside, service):
    host, port = service[0].getsockname()
    assert all(400 <= status < 500 for status in inside(ask_to_connect, f"http://{host}:{port}"))


# Its port is one that the host listens on, too; it tells who was connected to.
SUBSCRIBED = """
    import http.client, json, os, socket, threading

    PORT = int(os.environ["HOSTS_PORT"])
    inner = socket.create_server(("127.0.0.1", PORT))

    def ask(method, path, body=None, **headers):
        connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
        connection.request(method, path, body and json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.read(), answer.headers

    _, headers = ask("POST", "/2020-01-01/extension/register", {"events": []},
                     **{"Lambda-Extension-Name": "mine"})
    me = {"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}
    said, _ = ask("PUT", "/2022-07-01/telemetry", {
        "schemaVersion": "2022-12-13", "types": ["platform"], "buffering": {"timeoutMs": 25},
        "destination": {"protocol": "TCP", "port": PORT}}, **me)
    assert said == b'"OK"', said
    threading.Thread(target=ask, args=("GET", "/2020-01-01/extension/event/next"), kwargs=me,
                     daemon=True).start()

    def handler(event, context):
        connection, _ = inner.accept()
        with connection, connection.makefile() as lines:
            return json.loads(lines.readline())["type"]
"""


def test_net_6_telemetry_reaches_the_environment_that_asked_and_not_the_host(
    deploy, invoke, service
):
    port = str(service[0].getsockname()[1])
    name = deploy(SUBSCRIBED, Environment={"Variables": {"HOSTS_PORT": port}}, Timeout=30)
    assert invoke(name).payload == "platform.initStart"


@pytest.mark.parametrize("method", ["GET", "CONNECT", "POST"])
def test_net_6_no_word_of_a_client_makes_the_daemon_connect(daemon, service, method):
    host, port = service[0].getsockname()
    address = urlsplit(daemon.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10)
    try:
        target = f"{host}:{port}" if method == "CONNECT" else f"http://{host}:{port}/"
        connection.request(method, target)
        assert 400 <= connection.getresponse().status < 500
    finally:
        connection.close()
