"""Where functions' log lines are kept: a file per function, bounded."""

from __future__ import annotations

from io import FileIO
from pathlib import Path

FILE_BYTES_MAX = 10 * 1024 * 1024


class FunctionLogs:
    """``<folder>/<function>.log``, and one older file beside it when that is full."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: dict[str, tuple[FileIO, int]] = {}

    def write(self, function: str, lines: bytes) -> None:
        """Append lines, each with its newline."""
        opened = self._open.get(function)
        if opened is None:
            file = FileIO(self._path(function), "ab")
            opened = file, file.tell()
        file, size = opened
        file.write(lines)
        size += len(lines)
        self._open[function] = file, size
        if size > FILE_BYTES_MAX:
            self.close(function)
            self._path(function).replace(self._path(function).with_suffix(".log.1"))

    def close(self, function: str) -> None:
        """Nothing of the function runs, or its file is full."""
        opened = self._open.pop(function, None)
        if opened is not None:
            opened[0].close()

    def remove(self, function: str) -> None:
        """The function is no more, nor is what it said."""
        self.close(function)
        for path in (self._path(function), self._path(function).with_suffix(".log.1")):
            path.unlink(missing_ok=True)

    def close_all(self) -> None:
        for function in list(self._open):
            self.close(function)

    def _path(self, function: str) -> Path:
        return self._folder / f"{function}.log"
