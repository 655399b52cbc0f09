"""One request to run a function, and what becomes of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from lambdad.invoke.stream import Stream
from lambdad.model.clock import Clock
from lambdad.model.errors import ApiError, FunctionError, PlatformFault


@dataclass(frozen=True, slots=True)
class Invocation:
    """What the invoker asks for.

    Attributes:
        request_id: what the function sees as ``aws_request_id``.
        payload: the event, byte for byte.
        function_arn: as invoked, qualified only if the invoker did.
        trace: the value of ``X-Amzn-Trace-Id``.
        client_context: JSON text, already decoded; ``None`` when there is none.
        streams: the invoker takes the response while it is being made.
        content_type: of the payload.
        cognito_identity: JSON text; ``None`` when there is none.
        tenant_id: whom the event is for, where a function keeps its tenants apart.
        traced: whether the trace is sampled.
        tail: the invoker asks for the end of its log.
    """

    request_id: str
    payload: bytes
    function_arn: str
    trace: str
    client_context: str | None = None
    streams: bool = False
    content_type: str = "application/json"
    cognito_identity: str | None = None
    tenant_id: str | None = None
    traced: bool = False
    tail: bool = False


@dataclass(frozen=True, slots=True)
class Delivery:
    """An invocation on its way to a runtime; ``deadline_ms`` is milliseconds of the epoch."""

    invocation: Invocation
    deadline_ms: int


class Run:
    """An invocation under way in an environment.

    Attributes:
        answered: the payload, or the stream it is coming in, as soon as it is there, or the
            FunctionError.
        finished: done when the environment is; its result is the last 4 KiB of the run's log, if
            the invoker asks for them.
        first_byte_s, last_byte_s: when the runtime's answer began and ended, on the monotonic
            clock; ``None`` as long as it has not.
    """

    __slots__ = (
        "_clock",
        "_produced_bytes",
        "_stream",
        "answered",
        "finished",
        "first_byte_s",
        "invocation",
        "last_byte_s",
    )

    def __init__(
        self, invocation: Invocation, loop: asyncio.AbstractEventLoop, clock: Clock
    ) -> None:
        self.invocation, self._clock = invocation, clock
        self.answered: asyncio.Future[bytes | Stream] = loop.create_future()
        self.finished: asyncio.Future[bytes] = loop.create_future()
        self.first_byte_s: float | None = None
        self.last_byte_s: float | None = None
        self._stream: Stream | None = None
        self._produced_bytes = 0

    @property
    def produced_bytes(self) -> int:
        """How much the runtime has answered with, so far."""
        return self._produced_bytes if self._stream is None else self._stream.written_bytes

    def begin(self) -> None:
        """The runtime's answer begins to arrive."""
        self.first_byte_s = self._clock.monotonic()

    def answer(self, payload: bytes) -> None:
        """Give the invoker its payload; the first word stands."""
        self._arrived(len(payload))
        if not self.answered.done():
            self.answered.set_result(payload)

    def open_stream(self, content_type: str) -> Stream:
        """Give the invoker a stream; the payload goes through it as it comes."""
        self._stream = Stream(content_type, self._clock)
        if self.answered.done():
            self._stream.abandon()
        else:
            self.answered.set_result(self._stream)
        return self._stream

    def end_stream(self, error_type: str = "", error_body: bytes = b"") -> None:
        """The body of a stream is complete, or will never be."""
        assert self._stream is not None
        self._arrived(0)
        self._stream.end(error_type, error_body)

    def fail(self, error: FunctionError | PlatformFault | ApiError) -> None:
        """Give the invoker an error, at the end of a stream if there is one; the first stands."""
        if isinstance(error, FunctionError) and error.status is None:
            self._arrived(len(error.payload))  # It is the runtime's own word.
        if self._stream is not None:
            self._stream.fail(error)
        elif not self.answered.done():
            self.answered.set_exception(error)
            self.answered.exception()  # An invoker that went away asks for no result.

    def _arrived(self, produced_bytes: int) -> None:
        """The runtime's answer is complete."""
        self._produced_bytes, self.last_byte_s = produced_bytes, self._clock.monotonic()
