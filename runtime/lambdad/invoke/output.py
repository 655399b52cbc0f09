"""What guests write: read from their pipe without ever blocking, cut into lines, bounded.

Back-pressure is the pipe's: what is not read yet makes the writer wait, not the daemon grow.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from lambdad.model import limits

_READ_BYTES = 64 * 1024


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
        self._loop.add_reader(self._read_end, self._read)

    def drain(self) -> None:
        """Take what has been written so far, so that it stands before what is logged next."""
        while self._read() == _READ_BYTES:
            continue

    def flush(self) -> None:
        """All writers are gone: what they left without a newline is a line, too."""
        self.drain()
        if self._partial:
            self._sink(self._partial + b"\n")
            self._partial = b""

    def close(self) -> None:
        self.flush()
        self._loop.remove_reader(self._read_end)
        os.close(self._read_end)
        os.close(self.write_end)

    def _read(self) -> int:
        try:
            data = os.read(self._read_end, _READ_BYTES)
        except BlockingIOError:
            return 0
        whole, newline, rest = (self._partial + data).rpartition(b"\n")
        if newline:
            self._sink(whole + newline)
        if len(rest) > limits.log_line_bytes_max:
            self._sink(rest + b"\n")
            rest = b""
        self._partial = rest
        return len(data)
