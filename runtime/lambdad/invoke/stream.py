"""A response that is passed on while it is still being made.

One writes, the runtime, and one reads, the invoker. Nothing piles up between them: a piece has
to be taken before the next one is accepted. Nothing here speaks HTTP. Source: runtime-protocol
1.5.
"""

from __future__ import annotations

import asyncio
from typing import Self

from lambdad.invoke.bandwidth import Bandwidth
from lambdad.model import limits
from lambdad.model.clock import Clock
from lambdad.model.errors import ApiError, FunctionError, PlatformFault


class Stream:
    """The body of one response; iterate over it to read it.

    Attributes:
        content_type: as the runtime posted it.
        written_bytes: how much the runtime has written, whoever read it.
        error_type, error_body: how it ended; empty as long as all is well.
    """

    __slots__ = (
        "_bandwidth",
        "_clock",
        "_ended",
        "_piece",
        "_said",
        "_taken",
        "content_type",
        "error_body",
        "error_type",
        "written_bytes",
    )

    def __init__(self, content_type: str, clock: Clock) -> None:
        self.content_type, self.written_bytes = content_type, 0
        self.error_type, self.error_body = "", b""
        self._clock = clock
        self._bandwidth = Bandwidth(
            limits.stream_burst_bytes, limits.stream_bytes_per_s, clock.monotonic()
        )
        self._ended, self._piece = False, b""
        self._said, self._taken = asyncio.Event(), asyncio.Event()

    async def write(self, chunk: bytes) -> None:
        """Hand it to the reader, not faster than it may flow or than the reader takes it.

        What is written after the end, or when nobody reads any more, is dropped.
        """
        self.written_bytes += len(chunk)
        rest = memoryview(chunk)
        while rest and not self._ended:
            now_s = self._clock.monotonic()
            granted = self._bandwidth.take(len(rest), now_s)
            if not granted:
                await asyncio.sleep(self._bandwidth.refill_in_s(now_s))
                continue
            self._piece, rest = bytes(rest[:granted]), rest[granted:]
            self._taken.clear()
            self._said.set()
            await self._taken.wait()

    def end(self, error_type: str = "", error_body: bytes = b"") -> None:
        """Nothing more will come; the first word stands."""
        if not self._ended:
            self._ended, self.error_type, self.error_body = True, error_type, error_body
            self._said.set()
            self._taken.set()

    def fail(self, error: FunctionError | PlatformFault | ApiError) -> None:
        """End it in the middle."""
        if isinstance(error, FunctionError):
            self.end(error.error_type, error.payload)
        else:
            self.end("Sandbox.Failure", str(error).encode())

    def abandon(self) -> None:
        """Nobody reads any more: the function goes on and speaks to nobody."""
        self._piece = b""
        self.end()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._piece:
            if self._ended:
                raise StopAsyncIteration
            self._said.clear()
            await self._said.wait()
        piece, self._piece = self._piece, b""
        self._taken.set()
        return piece
