"""What guests write: read from their pipe without ever blocking, cut into lines, bounded.

Back-pressure is the pipe's: what is not read yet makes the writer wait, not the daemon grow.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from lambdad.model import limits

_READ_BYTES, _READS_MAX = 64 * 1024, 16
_MUCH_BYTES, _REST_S = 16 * 1024, 0.002


class Output:
    """The reading end of a pipe that guests write their standard output and error to.

    Args:
        sink: gets whole lines, each with its newline; a line over 256 KiB is cut.
    """

    def __init__(self, sink: Callable[[bytes], None]) -> None:
        self._sink = sink
        self._loop = asyncio.get_running_loop()
        self._read_end, self.write_end = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_end, False)
        self._partial = b""
        self._rest: asyncio.TimerHandle | None = None
        self._listen()

    def drain(self) -> None:
        """Take what has been written so far, so that it stands before what is logged next.

        A pipe holds less than what is read here at most: who goes on writing is not followed.
        """
        for _ in range(_READS_MAX):
            if self._read() < _READ_BYTES:
                return

    def flush(self) -> None:
        """What has been written without a newline by now is a line, too."""
        self.drain()
        if self._partial:
            self._sink(self._partial + b"\n")
            self._partial = b""

    def close(self) -> None:
        self.flush()
        if self._rest is not None:
            self._rest.cancel()
        self._loop.remove_reader(self._read_end)
        os.close(self._read_end)
        os.close(self.write_end)

    def _listen(self) -> None:
        self._loop.add_reader(self._read_end, self._hear)

    def _hear(self) -> None:
        """Who writes without end is read in turns, so that others have theirs."""
        if self._read() >= _MUCH_BYTES:
            self._loop.remove_reader(self._read_end)
            self._rest = self._loop.call_later(_REST_S, self._listen)

    def _read(self) -> int:
        try:
            data = os.read(self._read_end, _READ_BYTES)
        except BlockingIOError:
            return 0
        whole, newline, rest = (self._partial + data).rpartition(b"\n")
        if newline:
            self._sink(_cut(whole + newline))
        if len(rest) > limits.log_line_bytes_max:
            self._sink(_cut(rest + b"\n"))
            rest = b""
        self._partial = rest
        return len(data)


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
