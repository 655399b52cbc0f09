"""What guests write: read from their pipes without ever blocking, in lines or frames, bounded.

Back-pressure is the pipe's: what is not read yet makes the writer wait, not the daemon grow. A
line may be one byte, so turns end by their lines as well as by their bytes, and who has taken
much of everybody's time rests for several times as long.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from lambdad.invoke.frames import MARK, Frame, Frames
from lambdad.model import limits
from lambdad.model.clock import Clock

# Of one turn; so much is a whole pipe, unless its writer has asked for a larger one.
_READ_BYTES, _EVENTS_MAX = 64 * 1024, 512
# What is drained while everybody waits.
_DRAIN_TURNS_MAX, _DRAIN_S_MAX = 32, 0.02
# Who writes so much at a time rests: for a moment, and four times as long as it took.
_MUCH_BYTES, _MUCH_EVENTS = 16 * 1024, 64
_REST_S, _REST_TURNS = 0.002, 4


class _Pipe(ABC):
    """The reading end of a pipe that guests write to.

    Attributes:
        write_end: what guests get; kept open, so that its end is never read.
    """

    _mark: ClassVar[bytes]  # there is one in every event

    def __init__(self, clock: Clock) -> None:
        self._loop, self._clock = asyncio.get_running_loop(), clock
        self._read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_end, False)
        self._rest: asyncio.TimerHandle | None = None
        self._held = b""  # has been read, and is more than could be taken in one turn
        self._listen()

    def drain(self) -> None:
        """Take what has been written so far, so that it stands before what is logged next.

        Who has left thousands of lines, or goes on writing, is not followed to the end.
        """
        until_s = self._clock.monotonic() + _DRAIN_S_MAX
        for _ in range(_DRAIN_TURNS_MAX):
            if self._turn() == (0, 0):
                return
            if self._clock.monotonic() > until_s:
                break
        self._pause(_REST_S)

    def flush(self) -> None:
        """Take what has been written so far, by someone who will not go on with it."""
        self.drain()
        if not self._held:
            self._complete()

    def close(self) -> None:
        self.flush()
        if self._rest is not None:
            self._rest.cancel()
        self._loop.remove_reader(self._read_end)
        os.close(self._read_end)
        os.close(self.write_end)

    @abstractmethod
    def _take(self, data: bytes) -> None:
        """Pass on what is complete with ``data``, keep the rest."""

    @abstractmethod
    def _complete(self) -> None:
        """Nothing follows on what is kept."""

    def _listen(self) -> None:
        self._loop.add_reader(self._read_end, self._hear)

    def _hear(self) -> None:
        """Who writes without end is read in turns, so that others have theirs."""
        since_s = self._clock.monotonic()
        taken_bytes, events = self._turn()
        if taken_bytes >= _MUCH_BYTES or events >= _MUCH_EVENTS:
            took_s = self._clock.monotonic() - since_s
            self._pause(_REST_S + took_s * _REST_TURNS)

    def _pause(self, delay_s: float) -> None:
        self._loop.remove_reader(self._read_end)
        if self._rest is not None:
            self._rest.cancel()
        self._rest = self._loop.call_later(delay_s, self._go_on)

    def _go_on(self) -> None:
        self._listen()
        if self._held:  # Nothing new needs to come for that.
            self._hear()

    def _turn(self) -> tuple[int, int]:
        """Take what is next; how many bytes it was, and no less events than were in them."""
        data, self._held = self._held or self._read(), b""
        events = data.count(self._mark)
        if events > _EVENTS_MAX:
            events, self._held = _EVENTS_MAX, data.split(self._mark, _EVENTS_MAX)[-1]
            data = data[: -len(self._held)]
        if data:
            self._take(data)
        return len(data), events

    def _read(self) -> bytes:
        try:
            return os.read(self._read_end, _READ_BYTES)
        except BlockingIOError:
            return b""


class Output(_Pipe):
    """What one process writes to its standard output and error; the last line without a newline
    is one, too, when it is flushed.

    Args:
        sink: gets whole lines, each with its newline; a line over 256 KiB is cut.
        clock: says how much time that took.
    """

    _mark = b"\n"

    def __init__(self, sink: Callable[[bytes], None], clock: Clock) -> None:
        super().__init__(clock)
        self._sink = sink
        self._partial = b""

    def _take(self, data: bytes) -> None:
        whole, newline, rest = (self._partial + data).rpartition(b"\n")
        if newline:
            self._sink(_cut(whole + newline))
        if len(rest) > limits.log_line_bytes_max:
            self._sink(_cut(rest + b"\n"))
            rest = b""
        self._partial = rest

    def _complete(self) -> None:
        if self._partial:
            self._sink(self._partial + b"\n")
            self._partial = b""


class FrameOutput(_Pipe):
    """What one process writes to its log descriptor; half a frame is dropped when it is flushed.

    Args:
        sink: gets each frame; one over 256 KiB comes in pieces.
        clock: says how much time that took.
    """

    _mark = MARK

    def __init__(self, sink: Callable[[Frame], None], clock: Clock) -> None:
        super().__init__(clock)
        self._sink, self._frames = sink, Frames()

    def _take(self, data: bytes) -> None:
        for frame in self._frames.feed(data):
            self._sink(frame)

    def _complete(self) -> None:
        self._frames = Frames()


def _cut(lines: bytes) -> bytes:
    """The same lines, those over 256 KiB in pieces."""
    size = limits.log_line_bytes_max - 1
    if len(lines) <= size:
        return lines
    pieces = (
        line[start : start + size]
        for line in lines.split(b"\n")[:-1]
        for start in range(0, max(len(line), 1), size)
    )
    return b"".join(piece + b"\n" for piece in pieces)
