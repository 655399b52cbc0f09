"""What guests write: read from their pipes without ever blocking, in lines or frames, bounded.

Back-pressure is the pipe's: what is not read yet makes the writer wait, not the daemon grow.
"""

from __future__ import annotations

import asyncio
import os
from abc import ABC, abstractmethod
from collections.abc import Callable

from lambdad.invoke.frames import Frame, Frames
from lambdad.model import limits

_READ_BYTES, _READS_MAX = 64 * 1024, 16
_MUCH_BYTES, _REST_S = 16 * 1024, 0.002
_EVENT_S = 1e-5  # what a line or a frame may cost whoever keeps it


class _Pipe(ABC):
    """The reading end of a pipe that guests write to.

    Attributes:
        write_end: what guests get; kept open, so that its end is never read.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_end, False)
        self._rest: asyncio.TimerHandle | None = None
        self._listen()

    def drain(self) -> None:
        """Take what has been written so far, so that it stands before what is logged next.

        A pipe holds less than what is read here at most: who goes on writing is not followed.
        """
        for _ in range(_READS_MAX):
            read_bytes, _ = self._read()
            if read_bytes < _READ_BYTES:
                return

    def flush(self) -> None:
        """Take what has been written so far, by someone who will not go on with it."""
        self.drain()
        self._complete()

    def close(self) -> None:
        self.flush()
        if self._rest is not None:
            self._rest.cancel()
        self._loop.remove_reader(self._read_end)
        os.close(self._read_end)
        os.close(self.write_end)

    @abstractmethod
    def _take(self, data: bytes) -> int:
        """Pass on what is complete with ``data``, keep the rest; how many events it were."""

    @abstractmethod
    def _complete(self) -> None:
        """Nothing follows on what is kept."""

    def _listen(self) -> None:
        self._loop.add_reader(self._read_end, self._hear)

    def _hear(self) -> None:
        """Who writes without end is read in turns, so that others have theirs."""
        read_bytes, events = self._read()
        if read_bytes >= _MUCH_BYTES:
            self._loop.remove_reader(self._read_end)
            self._rest = self._loop.call_later(_REST_S + events * _EVENT_S, self._listen)

    def _read(self) -> tuple[int, int]:
        try:
            data = os.read(self._read_end, _READ_BYTES)
        except BlockingIOError:
            return 0, 0
        return len(data), self._take(data)


class Output(_Pipe):
    """What one process writes to its standard output and error; the last line without a newline
    is one, too, when it is flushed.

    Args:
        sink: gets whole lines, each with its newline; a line over 256 KiB is cut.
    """

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        super().__init__()
        self._sink = sink
        self._partial = b""

    def _take(self, data: bytes) -> int:
        whole, newline, rest = (self._partial + data).rpartition(b"\n")
        if newline:
            self._sink(_cut(whole + newline))
        if len(rest) > limits.log_line_bytes_max:
            self._sink(_cut(rest + b"\n"))
            rest = b""
        self._partial = rest
        return data.count(b"\n")

    def _complete(self) -> None:
        if self._partial:
            self._sink(self._partial + b"\n")
            self._partial = b""


class FrameOutput(_Pipe):
    """What one process writes to its log descriptor; half a frame is dropped when it is flushed.

    Args:
        sink: gets each frame; one over 256 KiB comes in pieces.
    """

    def __init__(self, sink: Callable[[Frame], None]) -> None:
        super().__init__()
        self._sink, self._frames = sink, Frames()

    def _take(self, data: bytes) -> int:
        frames = self._frames.feed(data)
        for frame in frames:
            self._sink(frame)
        return len(frames)

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
