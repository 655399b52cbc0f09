"""One request to run a function, and what becomes of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from lambdad.model.errors import FunctionError, PlatformFault


@dataclass(frozen=True, slots=True)
class Invocation:
    """What the invoker asks for.

    Attributes:
        request_id: what the function sees as ``aws_request_id``.
        payload: the event, byte for byte.
        function_arn: as invoked, qualified only if the invoker did.
        trace: the value of ``X-Amzn-Trace-Id``.
        client_context: JSON text, already decoded; ``None`` when there is none.
    """

    request_id: str
    payload: bytes
    function_arn: str
    trace: str
    client_context: str | None = None


@dataclass(frozen=True, slots=True)
class Delivery:
    """An invocation on its way to a runtime; ``deadline_ms`` is milliseconds of the epoch."""

    invocation: Invocation
    deadline_ms: int


class Run:
    """An invocation under way in an environment.

    Attributes:
        answered: the payload, as soon as it is there, or the FunctionError.
        finished: done when the environment is; its result is the run's log, up to the last
            4 KiB that ``LogType: Tail`` shows.
    """

    __slots__ = ("answered", "finished", "invocation")

    def __init__(self, invocation: Invocation, loop: asyncio.AbstractEventLoop) -> None:
        self.invocation = invocation
        self.answered: asyncio.Future[bytes] = loop.create_future()
        self.finished: asyncio.Future[bytes] = loop.create_future()

    def answer(self, payload: bytes) -> None:
        """Give the invoker its payload; the first word stands."""
        if not self.answered.done():
            self.answered.set_result(payload)

    def fail(self, error: FunctionError | PlatformFault) -> None:
        """Give the invoker an error; the first word stands."""
        if not self.answered.done():
            self.answered.set_exception(error)
            self.answered.exception()  # An invoker that went away asks for no result.
