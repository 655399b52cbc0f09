"""Where functions' log lines are kept: a file per function, bounded."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

FILE_BYTES_MAX = 10 * 1024 * 1024


class FunctionLogs:
    """``<folder>/<function>.log``, and one older file beside it when that is full."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, BinaryIO] = {}

    def write(self, function: str, lines: bytes) -> None:
        """Append lines, each with its newline."""
        file = self._open.get(function)
        if file is None:
            file = self._open[function] = self._path(function).open("ab", buffering=0)
        file.write(lines)
        if file.tell() > FILE_BYTES_MAX:
            self.close(function)
            self._path(function).replace(self._path(function).with_suffix(".log.1"))

    def close(self, function: str) -> None:
        """The function is gone, or its file is full."""
        file = self._open.pop(function, None)
        if file is not None:
            file.close()

    def close_all(self) -> None:
        for function in list(self._open):
            self.close(function)

    def _path(self, function: str) -> Path:
        return self._folder / f"{function}.log"
