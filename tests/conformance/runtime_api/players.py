"""A puppet's strings: processes inside, as the test holds them, and what comes of what they do.

Puppets cannot act while their environment is frozen: what they are told then is done when it is
thawed.
"""

from __future__ import annotations

import itertools
import json
import queue
import socket
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from scenario.program import PATIENCE

WAIT_S_MAX = 20 * PATIENCE
SHORT_S = PATIENCE  # the timeout of functions that are to exceed it
RUNTIME, EXTENSION = "/2018-06-01/runtime/", "/2020-01-01/extension/"
PING = "/2018-06-01/ping"
IDENTIFIER = "Lambda-Extension-Identifier"
NOBODYS = "00000000-0000-4000-8000-000000000000"  # an id that nothing bears

Headers = Mapping[str, str]
NO_HEADERS: Headers = MappingProxyType({})


class Pending(Future):
    """What will come, or the test has waited long enough."""

    def result(self, timeout=WAIT_S_MAX):
        return super().result(timeout)


@dataclass(frozen=True)
class Reply:
    """What an in-sandbox API answers; status 0 is a connection that was closed instead.

    Attributes:
        headers: by names as they were spelled.
        at: when it was read, by the clock of ``time.monotonic``.
        wall: the same in seconds since the epoch.
    """

    status: int
    headers: Headers
    body: bytes
    at: float
    wall: float

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def request_id(self) -> str:
        return self.headers["Lambda-Runtime-Aws-Request-Id"]

    @property
    def refusal(self) -> tuple[int, str]:
        return self.status, self.json["errorType"]


def reply_of(value) -> Reply:
    body = value["body"].encode("latin-1")
    headers = dict(map(tuple, value["headers"]))
    return Reply(value["status"], headers, body, value["at"], value["wall"])


def until(condition: Callable[[], bool], what: str) -> None:
    """Look again and again, with a limit."""
    last = time.monotonic() + WAIT_S_MAX
    while not condition():
        assert time.monotonic() < last, f"it never came: {what}"
        time.sleep(0.005)


def wall() -> float:
    return datetime.now(UTC).timestamp()


class Puppet:
    """A process inside, as the test holds it.

    Attributes:
        at: when it began, by the clock of ``time.monotonic``.
        gone: when it was seen to have ended, likewise.
        caught: the signals that it was told to catch, and when they came.
    """

    def __init__(self, wire: socket.socket) -> None:
        self._wire, self._reports = wire, wire.makefile("rb")
        self._ids, self._waiting = itertools.count(), {}
        self._sinks: dict[int, Sink] = {}
        self._sent: dict[str, Pending] = {}
        self.gone, self.caught = Pending(), queue.Queue()
        hello = json.loads(self._reports.readline())
        self.name, self.pid, self.at = hello["name"], hello["pid"], hello["at"]

    def listen(self) -> None:
        with suppress(OSError):
            for line in self._reports:
                self._heard(json.loads(line))
        self.gone.set_result(time.monotonic())
        for pending, _ in list(self._waiting.values()):
            pending.set_exception(ConnectionError(f"the puppet {self.name} has ended"))
        self._reports.close()
        self._wire.close()

    def _heard(self, message) -> None:
        match message:
            case {"event": "signal"}:
                self.caught.put(message)
            case {"event": "received"}:
                self._sinks[message["port"]].put(message)
            case {"error": error}:
                self._waiting.pop(message["id"])[0].set_exception(OSError(error))
            case {"value": value}:
                pending, made = self._waiting.pop(message["id"])
                pending.set_result(made(value))

    def let_go(self) -> None:
        """Have it end well, if it has not."""
        with suppress(OSError):
            self._wire.shutdown(socket.SHUT_RDWR)

    def tell(self, do: str, lane: str = "main", made: Callable = lambda it: it, **how) -> Pending:
        pending, number = Pending(), next(self._ids)
        self._waiting[number] = pending, made
        order = {"id": number, "lane": lane, "do": do, "with": how}
        self._wire.sendall(json.dumps(order).encode() + b"\n")
        return pending

    def ask(self, do: str, **how) -> Any:
        return self.tell(do, **how).result()

    # --- HTTP -------------------------------------------------------------------------------

    def begin(
        self,
        method: str,
        path: str,
        headers: Headers = NO_HEADERS,
        body: bytes = b"",
        *,
        fill: int = 0,
        lane: str = "",
    ) -> Pending:
        """A request on a connection of its own, unless a lane is named; its reply to come.

        The body is what is given and as many bytes more as are to fill it.
        """
        if method != "GET":
            headers = {"Content-Length": str(len(body) + fill), **headers}
        lane = self.send(head(method, path, headers) + body, fill=fill, lane=lane)
        return self.receive(lane)

    def send(self, data: bytes, *, fill: int = 0, lane: str = "") -> str:
        """Bytes, on a connection of their own or one that was named before; its name."""
        lane = lane or f"connection {next(self._ids)}"
        if lane not in self._sent:
            self.tell("open", lane)
        self._sent[lane] = self.tell("send", lane, data=data.decode("latin-1"), fill=fill)
        return lane

    def receive(self, lane: str) -> Pending:
        return self.tell("receive", lane, reply_of)

    def call(self, *request, **more) -> Reply:
        return self.begin(*request, **more).result()

    def sink(self, port: int, protocol: str = "HTTP") -> Sink:
        """Let it listen for telemetry."""
        self._sinks[port] = sink = Sink(port, protocol)
        self.ask("listen", port=port, protocol=protocol)
        return sink

    def catch(self, number: int, *, ends: bool) -> None:
        self.ask("catch", number=number, ends=ends)


def head(method: str, path: str, headers: Headers) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: runtime"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


class Runtime(Puppet):
    """A process that speaks the Runtime API."""

    def poll(self) -> Pending:
        """Ask for the next event; it comes when it comes."""
        return self.begin("GET", RUNTIME + "invocation/next")

    def poll_and_be_heard(self) -> Pending:
        """The same, known to have arrived: only where that does not end the invoke."""
        lane = self.send(head("GET", RUNTIME + "invocation/next", NO_HEADERS))
        waiting = self.receive(lane)
        self._sent[lane].result()
        for _ in range(3):  # What is sent later, on connections of their own, has been answered.
            assert self.call("GET", PING).status == 200
        return waiting

    def next(self) -> Reply:
        return self.poll().result()

    def respond(
        self, event: Reply | str, body: bytes = b"{}", headers: Headers = NO_HEADERS, **more
    ):
        return self.call("POST", outcome(event, "response"), headers, body, **more)

    def fail(self, event: Reply | str, body: bytes = b"{}", headers: Headers = NO_HEADERS):
        return self.call("POST", outcome(event, "error"), headers, body)

    def init_error(self, body: bytes = b"{}", headers: Headers = NO_HEADERS):
        return self.call("POST", RUNTIME + "init/error", headers, body)

    def begin_stream(self, event: Reply, headers: Headers = NO_HEADERS) -> str:
        """The head of a response that streams; the name of its connection."""
        streaming = {
            "Lambda-Runtime-Function-Response-Mode": "streaming",
            "Transfer-Encoding": "chunked",
            **headers,
        }
        return self.send(head("POST", outcome(event, "response"), streaming))


def outcome(event: Reply | str, what: str) -> str:
    request_id = event if isinstance(event, str) else event.request_id
    return f"{RUNTIME}invocation/{request_id}/{what}"


class Extension:
    """An extension: a puppet of its own, or a part of the runtime that has registered."""

    def __init__(self, puppet: Puppet, name: str) -> None:
        self.puppet, self.name, self.identifier = puppet, name, ""

    def register(
        self, *events: str, body: bytes | None = None, headers: Headers | None = None
    ) -> Reply:
        body = json.dumps({"events": events}).encode() if body is None else body
        headers = {"Lambda-Extension-Name": self.name, **(headers or {})}
        reply = self.puppet.call("POST", EXTENSION + "register", headers, body)
        self.identifier = reply.headers.get(IDENTIFIER, self.identifier)
        return reply

    @property
    def own(self) -> Headers:
        return {IDENTIFIER: self.identifier}

    def poll(self) -> Pending:
        return self.puppet.begin("GET", EXTENSION + "event/next", self.own)

    def next(self) -> Reply:
        return self.poll().result()

    def error(self, phase: str, error_type: str = "Extension.Told") -> Reply:
        """Report an error of ``init`` or ``exit``."""
        headers = {**self.own, "Lambda-Extension-Function-Error-Type": error_type}
        return self.puppet.call("POST", f"{EXTENSION}{phase}/error", headers)

    def subscribe(self, sink: Sink, *types: str, api: str = "telemetry", **more) -> Reply:
        wanted = {"types": types, "destination": sink.destination, "buffering": QUICK, **more}
        return self.put(api, wanted)

    def put(self, api: str, wanted: Any) -> Reply:
        """A subscription, however it is."""
        if api == "telemetry":
            wanted = {"schemaVersion": "2022-12-13", **wanted}
        headers = {**self.own, "Content-Type": "application/json"}
        path = {"telemetry": "/2022-07-01/telemetry", "logs": "/2020-08-15/logs"}[api]
        return self.puppet.call("PUT", path, headers, json.dumps(wanted).encode())


QUICK = {"maxBytes": 262_144, "maxItems": 1_000, "timeoutMs": 25}


class Sink:
    """What a puppet has received on one port.

    Attributes:
        requests: as they came: first line, headers, body.
        events: all events that were in them.
    """

    def __init__(self, port: int, protocol: str) -> None:
        self.port, self._protocol = port, protocol
        self.requests: list[Any] = []
        self.events: list[Any] = []

    @property
    def destination(self) -> Any:
        if self._protocol == "TCP":
            return {"protocol": "TCP", "port": self.port}
        uri = f"http://sandbox.localdomain:{self.port}/told"
        return {"protocol": "HTTP", "URI": uri}

    def put(self, request) -> None:
        self.requests.append(request)
        body = json.loads(request["body"].encode("latin-1"))
        self.events += body if isinstance(body, list) else [body]

    @property
    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    def records(self, kind: str) -> list[Any]:
        return [event["record"] for event in self.events if event["type"] == kind]

    def wait(self, kind: str, times: int = 1) -> list[Any]:
        """Until there are so many events of a type; their records."""
        until(lambda: len(self.records(kind)) >= times, f"{times} {kind} in {self.types}")
        return self.records(kind)
