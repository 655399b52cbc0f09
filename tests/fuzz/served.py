"""The real door over a real socket, a real environment behind it, and nobody's kernel.

Time, sandbox, cgroup and logs are those of the stage on which environments are tested; whoever
speaks to the door speaks bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from unit.invoke.conftest import FakeClock, FakeSandbox, Stage

from lambdad import http_door
from lambdad.invoke import host as host_module
from lambdad.invoke.invocation import Invocation
from lambdad.invoke.lifecycle import State
from lambdad.invoke.managed import Managed
from lambdad.invoke.on_demand import OnDemand
from lambdad.invoke.runtime_state import Refused
from lambdad.invoke.stream import Stream
from lambdad.model.errors import ApiError, FunctionError, PlatformFault
from lambdad.runtime_api.server import RuntimeApi

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:fn"
KINDS = {
    "on demand": (OnDemand, {}),
    "snap start": (OnDemand, {"version": "1", "snap_start": "PublishedVersions"}),
    "managed": (Managed, {"max_concurrency": 4}),
}
PATIENCE_S = 20  # until what has to be answered is taken for hanging
# How often the loop has to look at its sockets until all that was sent has been dealt with.
_LOOKS = 16
_STATUS = re.compile(rb"HTTP/1\.[01] (\d{3}) [^\r\n]*\r\n")


class Answer(NamedTuple):
    """What a client got.

    Attributes:
        status: None if the connection was closed instead.
        body: None if only the head was asked for.
    """

    status: int | None
    headers: dict[str, str]
    body: bytes | None


CLOSED = Answer(None, {}, b"")


class Client:
    """One connection.

    Attributes:
        waiting: the task of an answer that may take as long as it likes.
        statuses: of all that came since ``listen``.
    """

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.waiting, self.statuses = None, []

    def send(self, data):
        self.writer.write(data)

    async def receive(self, *, head_only=False):
        """The next answer; an interim one is passed over."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"HTTP/1.1 100"):
                return await self.receive(head_only=head_only)
            first, *lines = head.decode("latin-1").strip().split("\r\n")
            headers = {name.lower(): value for name, _, value in (s.partition(": ") for s in lines)}
            if first.startswith("HTTP/1.0"):
                headers.setdefault("connection", "close")
            if head_only:
                return Answer(int(first.split()[1]), headers, None)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        except (ConnectionError, asyncio.IncompleteReadError):
            return CLOSED
        return Answer(int(first.split()[1]), headers, body)

    async def listen(self):
        """Keep every status that comes, until the door hangs up."""
        said = b""
        with contextlib.suppress(ConnectionError):
            while more := await self.reader.read(65_536):
                said += more
                self.statuses = [int(status) for status in _STATUS.findall(said)]

    def end(self):
        """Hang up, whatever was under way."""
        self.writer.transport.abort()
        if self.waiting is not None:
            self.waiting.cancel()


class Sandbox(FakeSandbox):
    """As on the stage; nobody listens in its network."""

    async def open_socket(self):
        raise ConnectionRefusedError


class Alarm(logging.Handler):
    """Takes what the door and what it is made of log: to it, each word is an error."""

    def __init__(self, errors):
        super().__init__()
        self._errors = errors

    def error(self, _, *, exc_info):
        self._errors.append(exc_info)

    def emit(self, record):
        self._errors.append(record.exc_info[1] if record.exc_info else record.getMessage())


class Served:
    """One environment, its door, and who has asked for what."""

    def __init__(self, stage, kind):
        self.stage, self.kind = stage, kind
        self.api = RuntimeApi()
        self.api._sweep._every_s = 1e9  # The stage's clock is not that of connections.
        stage.host.door = self.api
        stage.host._parts = replace(stage.host._parts, door=self.api)
        self.clients, self.invoked, self.runs, self.readers = [], 0, [], []

    async def start(self, extensions):
        """Until processes run, and may speak."""
        self.stage.host.extensions_of = lambda _: extensions
        make, values = KINDS[self.kind]
        self.environment = make(self.stage.function(**values), self.stage.host, self.stage.holder)
        self.starting = asyncio.ensure_future(self.environment.start())
        await self.settle()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = self.listener.getsockname()
        self.environment.entered(self.listener)
        await self.settle()

    async def settle(self):
        """Let everything happen that waits for nothing but the loop."""
        for _ in range(_LOOKS):
            await asyncio.sleep(0)

    def untroubled(self):
        """Nothing has been raised where nobody waits, and the door has answered all it was asked.

        Raises:
            Exception: as it was raised there.
        """
        for error in self.stage.errors:
            raised = error.get("exception", error) if isinstance(error, dict) else error
            raise raised if isinstance(raised, BaseException) else AssertionError(raised)

    async def connect(self):
        client = Client(*await asyncio.open_connection(*self.address))
        self.clients.append(client)
        return client

    # --- what is not the guests' to do -----------------------------------------------------

    def invoke(self, *, streams=False):
        """One more event, if the pool would send one."""
        if not self.environment.can_be_leased:
            return
        self.invoked += 1
        wanted = Invocation(f"r-{self.invoked}", b"{}", ARN, "Root=1-0-0", streams=streams)
        with contextlib.suppress(Refused):
            run = self.environment.invoke(wanted)
            self.runs.append(run)
            self.readers.append(asyncio.ensure_future(self._read(run)))

    @staticmethod
    async def _read(run):
        """What an invoker does with what it gets."""
        with contextlib.suppress(FunctionError, PlatformFault, ApiError):
            answered = await run.answered
            if isinstance(answered, Stream):
                async for _ in answered:
                    pass

    async def end(self):
        """It ends, and with it all that anybody had asked for."""
        environment = self.environment
        environment.retire()
        for _ in range(8):  # Its processes are asked to end, and each has its time for it.
            await self.settle()
            self.stage.clock.advance(5)
        async with asyncio.timeout(PATIENCE_S):
            await self.stage.host.settled()
        await self.settle()
        assert environment.state is State.GONE
        for client in self.clients:
            client.end()
        await self.settle()
        assert all(run.answered.done() and run.finished.done() for run in self.runs)
        await asyncio.gather(*self.readers)
        await asyncio.gather(self.starting, return_exceptions=True)
        await self.settle()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, left
        assert self.api._sweep._open == set()
        self.stage.clock.advance(1_000)  # Timers that have been left behind do nothing.
        self.untroubled()


@contextlib.asynccontextmanager
async def served(kind, extensions=()):
    """An environment in its init phase, and its end."""
    loop, clock, sandboxes = asyncio.get_running_loop(), FakeClock(), []
    with pytest.MonkeyPatch.context() as patch:
        played = type("PlayedSandbox", (Sandbox,), {"made": sandboxes})
        patch.setattr(host_module, "Sandbox", played)
        patch.setattr(loop, "call_later", clock.call_later, raising=False)
        stage = Stage(clock, sandboxes, Path("/code"))
        loop.set_exception_handler(lambda _, context: stage.errors.append(context))
        alarm = Alarm(stage.errors)
        patch.setattr(http_door, "_log", alarm)
        patch.setattr(logging.getLogger("aiohttp.server"), "handlers", [alarm])
        one = Served(stage, kind)
        await one.start(extensions)
        try:
            yield one
        except BaseException:
            one.listener.close()
            for client in one.clients:
                client.end()
            raise
        else:
            await one.end()


def check(answer):
    """What is true of every answer, whatever was asked."""
    assert answer.status is not None
    if answer.status < 400:
        return
    if answer.body is None:
        assert answer.status < 500, answer
        return
    kind = answer.headers.get("content-type", "")
    if kind.startswith("text/plain"):
        assert answer.status == 404, answer
        return
    if answer.status == 405 and not answer.body:
        return
    said = json.loads(answer.body)
    assert {"errorMessage", "errorType"} == set(said), answer
    assert answer.status < 500 or said["errorType"] == "Runtime.TooManyIdleRuntimes", answer
