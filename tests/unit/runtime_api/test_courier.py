"""Couriers over real sockets, to listeners that behave and to those that do not."""

import asyncio
import contextlib
import errno
import json
import socket

import pytest
import pytest_asyncio

from lambdad.invoke.subscription import Destination, Protocol
from lambdad.model import limits
from lambdad.runtime_api.courier import HttpCourier, TcpCourier, courier

pytestmark = pytest.mark.asyncio

EVENTS = [b'{"type":"function","record":"a\\n"}', b'{"type":"function","record":"b\\n"}']
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_PATIENCE_S = 10


async def open_socket():
    made = socket.socket()
    made.setblocking(False)
    return made


class Listener:
    """Takes requests and answers as it is told; keeps what it was sent."""

    def __init__(self):
        self.heads, self.bodies, self.connections = [], [], 0
        self.answer = OK
        self.behave = self._answer_politely
        self._changed = asyncio.Event()
        self._writers = []

    async def open(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader, writer):
        self.connections += 1
        self._writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await self.behave(reader, writer)
        self._changed.set()

    async def _answer_politely(self, reader, writer):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:-2])
        self.heads.append((head.split("\r\n")[0], fields))
        self.bodies.append(await reader.readexactly(int(fields["Content-Length"])))
        writer.write(self.answer)
        await writer.drain()

    async def gone(self):
        """Until the other end has hung up, or this end has given up."""
        await asyncio.wait_for(self._changed.wait(), _PATIENCE_S)

    async def close(self):
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await self._server.wait_closed()


@pytest_asyncio.fixture
async def listener():
    listener = Listener()
    await listener.open()
    yield listener
    await listener.close()


def http(listener, path="/", method="POST"):
    destination = Destination(
        Protocol.HTTP, listener.port, host="sandbox.localdomain", path=path, method=method
    )
    return HttpCourier(destination, open_socket)


async def patiently(delivery):
    return await asyncio.wait_for(delivery, _PATIENCE_S)


# --- HTTP ---------------------------------------------------------------------------------


async def test_a_batch_is_one_request_with_a_json_array(listener):
    await patiently(http(listener).deliver(EVENTS))
    (line, fields), (body,) = listener.heads[0], listener.bodies
    assert line == "POST / HTTP/1.1"
    assert fields["Content-Type"] == "application/json"
    assert fields["Host"] == f"sandbox.localdomain:{listener.port}"
    assert [event["record"] for event in json.loads(body)] == ["a\n", "b\n"]


async def test_path_and_method_are_those_of_the_destination(listener):
    await patiently(http(listener, "/a%2Fb/%7e?c=d+e", "PUT").deliver(EVENTS))
    assert listener.heads[0][0] == "PUT /a%2Fb/%7e?c=d+e HTTP/1.1"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_status_from_200_to_299_acknowledges(listener, status):
    listener.answer = b"HTTP/1.1 %d Fine\r\nContent-Length: 0\r\n\r\n" % status
    await patiently(http(listener).deliver(EVENTS))


@pytest.mark.parametrize("status", [300, 304, 400, 401, 404, 500, 503])
async def test_no_other_status_does(listener, status):
    listener.answer = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status
    with pytest.raises(OSError, match="cannot deliver telemetry"):
        await patiently(http(listener).deliver(EVENTS))


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_nobody_is_sent_elsewhere(listener, status):
    where = f"http://sandbox.localdomain:{listener.port}/elsewhere"
    listener.answer = f"HTTP/1.1 {status} Go\r\nLocation: {where}\r\n\r\n".encode()
    with pytest.raises(OSError, match="cannot deliver telemetry"):
        await patiently(http(listener).deliver(EVENTS))
    assert listener.connections == 1


async def test_the_name_is_never_looked_up(listener, monkeypatch):
    def look_up(*_, **__):
        raise AssertionError("a name was looked up")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    await patiently(http(listener).deliver(EVENTS))


async def test_variables_of_the_daemon_name_no_proxy(listener, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    await patiently(http(listener).deliver(EVENTS))
    assert listener.heads[0][0] == "POST / HTTP/1.1"


async def test_a_cookie_is_not_kept(listener):
    listener.answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    bringing = http(listener)
    await patiently(bringing.deliver(EVENTS))
    await patiently(bringing.deliver(EVENTS))
    assert all("Cookie" not in fields for _, fields in listener.heads)


async def test_a_large_batch_arrives_whole(listener):
    events = [json.dumps("x" * 1000).encode()] * 2500
    await patiently(http(listener).deliver(events))
    assert len(json.loads(listener.bodies[0])) == 2500


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nmore to come",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n",
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x00\x01not gzip",
    ],
)
async def test_what_follows_an_acknowledgement_is_not_waited_for(listener, answer):
    listener.answer = answer
    await patiently(http(listener).deliver(EVENTS))


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        b"HTTP/1.1 two hundred\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"A: a\r\n" * 500 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
    ],
)
async def test_what_is_no_answer_is_a_delivery_that_failed(listener, answer):
    listener.answer = answer

    async def answer_and_close(reader, writer):
        await Listener._answer_politely(listener, reader, writer)
        writer.close()

    listener.behave = answer_and_close
    with pytest.raises(OSError, match="cannot deliver telemetry"):
        await patiently(http(listener).deliver(EVENTS))


@pytest.mark.parametrize(
    "stuff", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 On it\r\nA: a\r\n\r\n"]
)
async def test_an_answer_without_end_is_hung_up_on(listener, stuff):
    async def answer_for_ever(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        while True:
            writer.write(stuff * 100)
            await writer.drain()

    listener.behave = answer_for_ever
    with pytest.raises(OSError, match="cannot deliver telemetry"):
        await patiently(http(listener).deliver(EVENTS))
    await listener.gone()


async def test_who_listens_but_neither_reads_nor_answers_is_let_go_when_time_is_up(listener):
    async def keep(*_):
        await asyncio.Event().wait()

    listener.behave = keep
    events = [b"x" * limits.telemetry_held_bytes_max] * 3
    delivery = asyncio.ensure_future(http(listener).deliver(events))
    stuck = await _stuck()
    delivery.cancel()
    with pytest.raises(asyncio.CancelledError):
        await patiently(delivery)
    assert stuck.is_closing()
    assert not stuck.get_write_buffer_size()


async def _stuck():
    """The transport that has something to send, and for many turns has got rid of none of it."""
    loop, before, turns = asyncio.get_running_loop(), [], 0
    for _ in range(100_000):
        await asyncio.sleep(0)
        sizes = [(one.get_write_buffer_size(), one) for one in loop._transports.values()]
        waiting = [(size, one) for size, one in sizes if size]
        turns = turns + 1 if waiting and waiting == before else 0
        if turns == 200:
            return waiting[0][1]
        before = waiting
    pytest.fail("nothing was sent")


async def test_nobody_listening_is_an_error_of_the_system():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        for protocol in Protocol:
            with pytest.raises(OSError, match=r".*"):
                await patiently(courier(Destination(protocol, port), open_socket).deliver(EVENTS))


@pytest.mark.parametrize("protocol", Protocol)
async def test_an_environment_that_is_gone_is_one_too(protocol):
    async def refuse():
        raise OSError(errno.ESHUTDOWN, "the environment is gone")

    with pytest.raises(OSError, match=r".*"):
        await patiently(courier(Destination(protocol, 4323), refuse).deliver(EVENTS))


# --- TCP ----------------------------------------------------------------------------------


class Lines:
    """A listener that reads lines."""

    def __init__(self, listener):
        self.readers, self.writers = asyncio.Queue(), []
        listener.behave = self._keep

    async def _keep(self, reader, writer):
        self.writers.append(writer)
        await self.readers.put(reader)
        await asyncio.Event().wait()

    async def connected(self):
        return await patiently(self.readers.get())


async def test_over_tcp_each_event_is_a_line_on_one_connection(listener):
    lines = Lines(listener)
    bringing = TcpCourier(listener.port, open_socket)
    await bringing.deliver(EVENTS)
    await bringing.deliver(EVENTS[:1])
    reader = await lines.connected()
    assert [await patiently(reader.readline()) for _ in range(3)] == [
        EVENTS[0] + b"\n",
        EVENTS[1] + b"\n",
        EVENTS[0] + b"\n",
    ]
    assert listener.connections == 1
    bringing.close()
    assert await patiently(reader.read()) == b""


async def test_a_connection_that_broke_loses_what_was_on_it_and_the_next_batch_has_a_new_one(
    listener,
):
    lines = Lines(listener)
    bringing = TcpCourier(listener.port, open_socket)
    await bringing.deliver(EVENTS)
    await lines.connected()
    lines.writers[0].transport.abort()
    bringing_on = asyncio.ensure_future(_bring_until(bringing, lambda: listener.connections > 1))
    reader = await lines.connected()
    await patiently(bringing_on)
    assert await patiently(reader.readline()) in [event + b"\n" for event in EVENTS]
    bringing.close()


async def _bring_until(bringing, done):
    while not done():
        await bringing.deliver(EVENTS)
        await asyncio.sleep(0)


async def test_a_line_that_was_cut_off_is_the_last_one_on_its_connection(listener):
    lines = Lines(listener)
    bringing = TcpCourier(listener.port, open_socket)
    delivery = asyncio.ensure_future(bringing.deliver([b"x" * (32 * limits.MIB)]))
    reader = await lines.connected()
    delivery.cancel()
    with pytest.raises(asyncio.CancelledError):
        await patiently(delivery)
    cut = await patiently(reader.read())
    assert len(cut) < 32 * limits.MIB
    await bringing.deliver(EVENTS)
    reader = await lines.connected()
    assert await patiently(reader.readline()) == EVENTS[0] + b"\n"
    bringing.close()


async def test_the_protocol_decides_who_brings_events():
    assert isinstance(courier(Destination(Protocol.HTTP, 1), open_socket), HttpCourier)
    assert isinstance(courier(Destination(Protocol.TCP, 1), open_socket), TcpCourier)
