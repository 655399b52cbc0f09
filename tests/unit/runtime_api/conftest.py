"""A door with a played environment behind it, spoken to over a real socket on loopback."""

import asyncio
import socket
from types import SimpleNamespace
from typing import NamedTuple

import pytest
import pytest_asyncio

from lambdad.invoke.invocation import Delivery, Invocation, Run
from lambdad.invoke.runtime_state import Refused
from lambdad.model.clock import SystemClock
from lambdad.runtime_api.server import RuntimeApi

PREFIX = "/2018-06-01/runtime"
ARN = "arn:aws:lambda:eu-west-1:123456789012:function:fn"


class Answer(NamedTuple):
    status: int
    headers: dict
    body: bytes


class FakeEnvironment:
    """Keeps what the door tells it; refuses when it is told to."""

    snap_start = False

    def __init__(self):
        self.function = SimpleNamespace(max_concurrency=None)
        self.told, self.refusal = [], None
        self._heard = asyncio.Event()
        loop = asyncio.get_running_loop()
        self.event, self.restored = loop.create_future(), loop.create_future()
        self.run = Run(Invocation("r-1", b"{}", ARN, "Root=1-0-0"), loop, SystemClock())

    def streams(self):
        """The invoker takes the response while it comes; gives the stream, once it is open."""
        loop = asyncio.get_running_loop()
        invocation = Invocation("r-1", b"{}", ARN, "Root=1-0-0", streams=True)
        self.run = Run(invocation, loop, SystemClock())
        return self.run.answered

    def _tell(self, *what):
        if self.refusal is not None:
            raise self.refusal
        self.told.append(what)
        self._heard.set()

    async def heard(self, count=1):
        """Wait until so many things have been told."""
        while len(self.told) < count:
            self._heard.clear()
            await self._heard.wait()

    def next_event(self):
        self._tell("next")
        return self.event

    def begin_answer(self, request_id, call):
        self._tell("begin", request_id, str(call))
        return self.run

    def answer(self, run, payload):
        assert run is self.run
        self._tell("answer", payload)

    def answer_error(self, run, error):
        assert run is self.run
        self._tell("error", error.error_type, error.payload)

    def open_stream(self, run, content_type):
        self._tell("stream", content_type)
        return run.open_stream(content_type)

    def end_stream(self, run, error_type="", error_body=b""):
        run.end_stream(error_type, error_body)
        self._tell("end", error_type, error_body)

    def begin_init_error(self):
        self._tell("begin init error")

    def init_error(self, error):
        self._tell("init error", error.error_type, error.payload)

    def restore_next(self):
        self._tell("restore next")
        return self.restored

    def begin_restore_error(self):
        self._tell("begin restore error")

    def restore_error(self, error):
        self._tell("restore error", error.error_type, error.payload)

    def credentials(self, token):
        return {"AccessKeyId": "AKIA"} if token == "secret" else None

    def refuse(self, status, error_type, message):
        self.refusal = Refused(status, error_type, message)

    def deliver(self, payload=b"{}", **values):
        usual = {"function_arn": ARN, "trace": "Root=1-0-0;Parent=0;Sampled=0"}
        invocation = Invocation("r-1", payload, **{**usual, **values})
        self.event.set_result(Delivery(invocation, 1_795_253_403_123))


class Client:
    """One connection; what is sent is sent as it stands."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def send(self, method, path, body=None, **headers):
        lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body is not None and "Content_Length" not in headers:
            lines.append(f"Content-Length: {len(body)}")
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        await self.writer.drain()

    async def receive(self):
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().strip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        body = await self.reader.readexactly(int(headers.get("Content-Length", 0)))
        return Answer(int(first.split()[1]), headers, body)

    async def ask(self, *arguments, **headers):
        await self.send(*arguments, **headers)
        return await self.receive()


@pytest_asyncio.fixture
async def environment():
    return FakeEnvironment()


@pytest.fixture
def api():
    return RuntimeApi()


@pytest.fixture
def sweep(api):
    """Who looks at the connections; here only when asked to."""
    api._sweep._every_s = 1e9
    return api._sweep


@pytest_asyncio.fixture
async def connect(api, sweep, environment):
    """Makes connections to the door."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    close = await api.open(environment, listener)
    clients = []

    async def made():
        clients.append(Client(*await asyncio.open_connection(*address)))
        return clients[-1]

    yield made
    for client in clients:
        client.writer.close()
    await asyncio.gather(
        *(client.writer.wait_closed() for client in clients), return_exceptions=True
    )
    await close()


@pytest_asyncio.fixture
async def client(connect):
    return await connect()


@pytest.fixture
def ask(client):
    return client.ask
