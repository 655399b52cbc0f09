"""What both doors ask of whoever speaks to them: strict HTTP/1.1, in time, within bounds.

aiohttp's parser refuses most of what is not HTTP; ``flaw`` and ``_StrictParser`` refuse the
rest. Whoever breaks off in the middle, sends a byte a second or does not read is cut off by
``Sweep``, which looks at all connections once a second: there is no timer per request or per
read. Nothing here knows an operation, a path or a caller. Source: RFC 9112.
"""

from __future__ import annotations

import asyncio
import enum
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, cast

import structlog
from aiohttp import hdrs, web
from aiohttp.http import HttpProcessingError, HttpRequestParser, HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from lambdad.body import CutOff
from lambdad.http_trailers import BadTrailers, Trailers
from lambdad.model import limits

_log = structlog.get_logger()

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Refusal = Callable[[HTTPStatus], web.Response]

_FOR_EVER_S = 10 * 365 * 24 * 3600.0
_READ_BYTES = 64 * 1024
_NAME = "lambdad"
_NO_LOG: dict[str, Any] = {"access_log": None}
_SWEEP_S = 1.0
# A client waits for its answer before it asks again; few requests are kept of one that does not.
_QUEUED_MAX = 2
_HEAD_END = b"\r\n\r\n"
# What chunks may cost beside their content: each has its size in hexadecimal and two line ends. A
# whole read of the loop's, 256 KB, may have come that the parser has not looked at yet.
_FRAMING_BYTES_MAX, _FRAMING_PER_BYTE_MAX = 320 * 1024, 16

_LENGTH = re.compile(r"[0-9]{1,12}")
_NEVER_SERVED = frozenset({"CONNECT", "TRACE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a door grants to its clients; beyond, they are refused or cut off.

    Attributes:
        header_line_bytes: one header, without its colon and line end.
        head_bytes: the request line and all headers.
        connections: at a time; one more is closed at once, or an idle one to make room.
        idle_s: without a request; infinite where clients may stay.
        head_s: from the first byte of a head to its last.
        body_grace_s: until a body must have come at ``body_bytes_per_s`` on the whole.
        unread_s: without the client taking anything of its answer.
    """

    header_line_bytes: int
    head_bytes: int
    connections: int
    idle_s: float
    head_s: float = limits.head_s_max
    body_grace_s: float = limits.body_grace_s
    body_bytes_per_s: int = limits.body_bytes_per_s_min
    unread_s: float = limits.unread_s_max


class Stage(enum.Enum):
    """What a connection waits for."""

    IDLE = "a request"
    HEAD = "the rest of a head"
    BODY = "the rest of a body"
    WORK = "an answer of ours"


def overdue(terms: Terms, stage: Stage, elapsed_s: float, body_bytes: int) -> bool:
    """Whether a client that is at this stage for so long, with so much of a body, is too slow."""
    match stage:
        case Stage.IDLE:
            return elapsed_s > terms.idle_s
        case Stage.HEAD:
            return elapsed_s > terms.head_s
        case Stage.BODY:
            return body_bytes < (elapsed_s - terms.body_grace_s) * terms.body_bytes_per_s
        case Stage.WORK:
            return False


def flaw(message: RawRequestMessage) -> HTTPStatus | None:
    """The status with which a head is refused that aiohttp's parser lets through."""
    if message.method in _NEVER_SERVED:
        return HTTPStatus.METHOD_NOT_ALLOWED
    headers = message.headers
    length = headers.get(hdrs.CONTENT_LENGTH)
    if length is not None and _LENGTH.fullmatch(length) is None:
        return HTTPStatus.BAD_REQUEST
    coding = headers.get(hdrs.TRANSFER_ENCODING)
    if coding is not None and (coding != "chunked" or message.version < HttpVersion11):
        return HTTPStatus.BAD_REQUEST
    return HTTPStatus.BAD_REQUEST if "#" in message.path else None


def target(request: web.BaseRequest) -> tuple[str, str]:
    """The raw path and the raw query of a request; of an absolute URL nothing else counts."""
    raw = request.raw_path
    if not raw.startswith(("/", "*")):
        raw = "/" + raw.partition("://")[2].partition("/")[2]
    path, _, query = raw.partition("?")
    return path, query


def trailers(request: web.BaseRequest) -> Mapping[str, str]:
    """The trailer fields that a request announced and sent; to be asked when its body is read."""
    return cast("Connection", request.protocol).strict.trailers_of(request.content)


def when_gone(request: web.BaseRequest, then: Callable[[], object] | None) -> None:
    """Call this if the client hangs up before its answer; None: nothing any more."""
    cast("Connection", request.protocol).when_gone = then


def unhurried(request: web.BaseRequest) -> None:
    """Grant the body of this request all the time there is: it is made while it is sent."""
    cast("Connection", request.protocol).unhurried = request.content


async def begin(response: web.StreamResponse, request: web.BaseRequest) -> None:
    """Send the head of a response that is sent in pieces.

    Raises:
        ConnectionError: the client has gone.
    """
    response.headers[hdrs.SERVER] = _NAME
    await response.prepare(request)


class Sweep:
    """Looks at connections once a second, for as long as there are any; one timer for all."""

    def __init__(self, every_s: float = _SWEEP_S) -> None:
        self._every_s = every_s
        self._open: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: Connection) -> None:
        self._open.add(connection)
        if self._timer is None:
            self._wind()

    def discard(self, connection: Connection) -> None:
        self._open.discard(connection)
        if not self._open and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def look(self, now_s: float) -> None:
        """Cut off who is too slow, at this time of the loop's clock."""
        for connection in tuple(self._open):
            connection.look(now_s)

    def _wind(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._every_s, self._ring)

    def _ring(self) -> None:
        self._wind()
        self.look(asyncio.get_running_loop().time())


class Door(web.Server):
    """The protocol factory of one listener.

    Args:
        handler: answers requests; what it raises becomes a refusal with status 500.
        refusal: words the answer to what is no request, in the form of this door.
        terms: what clients are granted.
        sweep: cuts off slow clients; several doors may share one.
    """

    def __init__(self, handler: Handler, refusal: Refusal, terms: Terms, sweep: Sweep) -> None:
        super().__init__(self._handle)
        self._answer, self.refusal, self.terms, self.sweep = handler, refusal, terms, sweep

    def __call__(self) -> Connection:
        return Connection(self, asyncio.get_running_loop())

    def make_room(self) -> bool:
        """Whether one more connection is welcome; the oldest that is idle goes if need be.

        Where clients may be idle for ever none has to go: it may be the runtime, at work.
        """
        if len(self._connections) < self.terms.connections:
            return True
        standing = [cast("Connection", one) for one in self._connections if one.connected]
        if len(standing) < self.terms.connections:
            return True
        for connection in standing if self.terms.idle_s < math.inf else ():
            if connection.stage() is Stage.IDLE:
                connection.force_close()
                return True
        return False

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            response = await self._answer(request)
        except CutOff:
            response = self.refusal(HTTPStatus.BAD_REQUEST)
        response.headers[hdrs.SERVER] = _NAME
        # After a body that made no sense, or an upgrade that was declined, nobody knows where
        # the next request begins.
        if request.content.exception() is not None or hdrs.UPGRADE in request.headers:
            response.force_close()
        return response


class Connection(web.RequestHandler):
    """One connection of a door.

    Attributes:
        strict: reads what the client sends.
        unhurried: a body that may come as slowly as it likes.
        when_gone: called if the client hangs up.
    """

    __slots__ = (
        "_door",
        "_since_s",
        "_unread",
        "_unread_since_s",
        "_was",
        "_wire",
        "strict",
        "unhurried",
        "when_gone",
    )

    def __init__(self, door: Door, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(door, loop=loop, keepalive_timeout=_FOR_EVER_S, **_NO_LOG)
        self._door, self.strict = door, _StrictParser(self, loop, door.terms)
        self.unhurried: StreamReader | None = None
        self.when_gone: Callable[[], object] | None = None
        self._parser = cast("Any", self.strict)
        self._max_msg_queue_size, self._msg_queue_resume_size = _QUEUED_MAX, _QUEUED_MAX - 1
        self._wire: asyncio.Transport | None = None
        self._was: tuple[Stage, int] | None = None
        self._unread: tuple[int, int] | None = None
        self._since_s = self._unread_since_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # aiohttp forgets the transport when it closes; what is unread then still counts.
        self._wire = cast("asyncio.Transport", transport)
        if not self._door.make_room():
            self._wire.abort()
            return
        super().connection_made(transport)
        self._door.sweep.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._door.sweep.discard(self)
        if self.when_gone is not None:
            self.when_gone()
        super().connection_lost(exc)
        # Whoever reads has heard of it; aiohttp, which discards what nobody read, has not.
        self.strict.end_payload()

    async def _handle_request(self, *arguments: Any) -> tuple[web.StreamResponse, bool]:
        try:
            return await super()._handle_request(*arguments)
        except asyncio.InvalidStateError as error:
            # aiohttp, when it shuts down: it has just given up waiting for this very answer.
            raise ConnectionAbortedError from error

    def stage(self) -> Stage:
        """What it waits for."""
        if not self.strict.payload.is_eof():
            return Stage.BODY
        if self.is_answering():
            return Stage.WORK
        return Stage.HEAD if self.strict.head_bytes else Stage.IDLE

    def is_answering(self) -> bool:
        """Whether somebody may read the body of the last request."""
        return bool(self._request_in_progress or self._messages)

    def look(self, now_s: float) -> None:
        """Close it if the client is too slow; once a second is often enough."""
        stage = self.stage()
        if self._was != (stage, self._request_count):
            self._was, self._since_s = (stage, self._request_count), now_s
        elif not (stage is Stage.BODY and self.strict.payload is self.unhurried) and overdue(
            self._door.terms, stage, now_s - self._since_s, self.strict.payload.total_bytes
        ):
            self._cut(gently=stage is Stage.IDLE)
        self._look_at_unread(now_s)

    def _look_at_unread(self, now_s: float) -> None:
        assert self._wire is not None
        waiting = self._wire.get_write_buffer_size()
        request = self._current_request
        unread = (waiting, 0 if request is None else request.writer.output_size)
        if not waiting or unread != self._unread:
            self._unread, self._unread_since_s = unread, now_s
        elif now_s - self._unread_since_s > self._door.terms.unread_s:
            self._cut()

    def _cut(self, *, gently: bool = False) -> None:
        assert self._wire is not None
        if gently:
            self.force_close()
        else:
            self._wire.abort()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  it may hold what the client sent
    ) -> web.StreamResponse:
        """The answer to what is no request, or to a mistake of ours; the last one here.

        What the client sent is neither logged nor sent back.
        """
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.error("cannot answer", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("cannot answer twice")
        response = self._door.refusal(_status_of(status, exc))
        response.headers[hdrs.SERVER] = _NAME
        response.force_close()
        return response


def _status_of(status: int, error: BaseException | None) -> HTTPStatus:
    """The status of what the parser refused: it has but one for everything."""
    if isinstance(error, _Refused):
        return error.status
    if isinstance(error, LineTooLong):
        if error.args[1] == limits.request_target_bytes_max:
            return HTTPStatus.REQUEST_URI_TOO_LONG
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    if isinstance(error, HttpProcessingError) and error.message.startswith("Too many headers"):
        return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    return HTTPStatus(status)


class _Refused(HttpProcessingError):
    """The parser's caller makes an answer of it."""

    def __init__(self, status: HTTPStatus) -> None:
        super().__init__(code=status, message=status.phrase)
        self.status = status


class _StrictParser(HttpRequestParser):
    """aiohttp's parser, without its leniencies; after the first refusal it is deaf.

    Attributes:
        payload: the body of the last request.
        head_bytes: how much of the next head has come.
    """

    def __init__(
        self, connection: Connection, loop: asyncio.AbstractEventLoop, terms: Terms
    ) -> None:
        super().__init__(
            connection,
            loop,
            _READ_BYTES,
            max_line_size=limits.request_target_bytes_max,
            max_field_size=terms.header_line_bytes,
            max_headers=limits.headers_max,
            payload_exception=web.RequestPayloadError,
            auto_decompress=False,  # Bodies are opaque, and their limit is for what is sent.
            max_msg_queue_size=_QUEUED_MAX,
        )
        self._connection, self._head_bytes_max = connection, terms.head_bytes
        self.payload: StreamReader = EMPTY_PAYLOAD
        self.head_bytes = self._body_bytes = 0
        self._head_end = b""  # the last bytes of a head that has come in part
        self._trailers: tuple[StreamReader, Trailers] = EMPTY_PAYLOAD, Trailers()
        self._deaf = False

    def feed_data(self, data: bytes, *_: Any) -> Any:
        """Requests whose heads have come; see ``aiohttp.http_parser.HttpParser``.

        Raises:
            HttpProcessingError: what came is no request, or too much of one.
        """
        if self._deaf:
            return (), False, b""
        try:
            return self._feed(data)
        except HttpProcessingError:
            self._deaf = True
            if not self.payload.is_eof():
                if self._connection.is_answering():
                    self.payload.set_exception(web.RequestPayloadError())
                self.end_payload()
            raise

    def end_payload(self) -> None:
        """Nobody needs to wait for the rest of the last body."""
        if not self.payload.is_eof():
            self.payload.feed_eof()

    def trailers_of(self, payload: StreamReader) -> Mapping[str, str]:
        """The trailer fields of a body, if it is the last one that had any."""
        body, trailers = self._trailers
        return trailers.fields if body is payload else {}

    def _feed(self, data: bytes) -> Any:
        within_body = not self.payload.is_eof()
        fed = super().feed_data(data)
        messages = fed[0]
        if within_body:
            self._body_came(data)
        else:
            self.head_bytes += len(data)
            if self.head_bytes > self._head_bytes_max and not (
                messages and _fits(messages[0][0], self._head_bytes_max)
            ):
                raise _Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        for message, payload in messages:
            status = flaw(message)
            if status is not None:
                raise _Refused(status)
            if hdrs.TRAILER in message.headers and message.chunked:
                # Where a body begins is known only if its head came by itself.
                if within_body or message is not messages[0][0]:
                    raise _Refused(HTTPStatus.BAD_REQUEST)
                self._trailers = payload, Trailers()
                self._look_for_trailers(payload, (self._head_end + data).partition(_HEAD_END)[2])
            self.payload = payload
            self.head_bytes = self._body_bytes = 0
        self._head_end = b"" if messages or within_body else (self._head_end + data)[-3:]
        return fed

    def _body_came(self, data: bytes) -> None:
        section_bytes = self._look_for_trailers(self.payload, data)
        self._body_bytes += len(data)
        framing = self._body_bytes - self.payload.total_bytes - section_bytes
        if framing > _FRAMING_BYTES_MAX + _FRAMING_PER_BYTE_MAX * self.payload.total_bytes:
            raise _Refused(HTTPStatus.BAD_REQUEST)

    def _look_for_trailers(self, payload: StreamReader, data: bytes) -> int:
        """How much of the trailer section of this body has come, if any was announced."""
        body, trailers = self._trailers
        if body is not payload:
            return 0
        try:
            trailers.feed(data)
        except BadTrailers as error:
            raise _Refused(HTTPStatus.BAD_REQUEST) from error
        if payload.is_eof() and not trailers.done:
            raise _Refused(HTTPStatus.BAD_REQUEST)
        return trailers.section_bytes


def _fits(message: RawRequestMessage, head_bytes_max: int) -> bool:
    """Whether a head is within the limit; what came with it may be a body."""
    headers = sum(len(name) + len(value) + 4 for name, value in message.raw_headers)
    return len(message.path) + headers <= head_bytes_max
