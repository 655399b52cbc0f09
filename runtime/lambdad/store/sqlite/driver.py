"""The store in SQLite: a file, one thread that writes, one that reads.

Readers see what is committed and never wait for the writer: that is the write-ahead log
(https://www.sqlite.org/wal.html). With ``synchronous = FULL`` a commit is on the disk.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from lambdad.model.errors import PlatformFault
from lambdad.model.function import Function
from lambdad.store.protocol import AlreadyExists
from lambdad.store.sqlite import database, rows, statements
from lambdad.store.sqlite.writer import Writer


@dataclass(frozen=True, slots=True)
class _Running:
    """What a started store holds; ``reading`` is used by the one thread of ``reader`` only."""

    writer: Writer
    reading: sqlite3.Connection
    reader: ThreadPoolExecutor


class SqliteStore:
    """See ``lambdad.store.protocol.Store``.

    Args:
        path: the database file; its directory must exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queries = statements.queries()
        self._running: _Running | None = None

    async def start(self) -> None:
        self._running = await asyncio.to_thread(self._open)

    async def stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            await asyncio.to_thread(_close, running)

    async def create_function(self, function: Function) -> None:
        if not await self._write("create_function", rows.row(function)):
            raise AlreadyExists(function.name)

    async def functions(self) -> list[Function]:
        running = self._require_running()
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(running.reader, self._read_functions, running.reading)

    async def replace_function(self, new: Function, *, expected_revision: str) -> bool:
        parameters = {**rows.row(new), "expected_revision": expected_revision}
        return bool(await self._write("replace_function", parameters))

    async def delete_function(self, name: str) -> bool:
        return bool(await self._write("delete_function", {"name": name}))

    def _open(self) -> _Running:
        writing = database.open_database(self._path)
        reading = database.connect(self._path)
        reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-reader")
        return _Running(Writer(writing), reading, reader)

    def _require_running(self) -> _Running:
        if self._running is None:
            raise PlatformFault("cannot use the store: it does not run")
        return self._running

    async def _write(self, query: str, parameters: Mapping[str, str]) -> int:
        """Run a named statement; the number of rows it touched, after the commit."""
        writer = self._require_running().writer
        try:
            return await asyncio.wrap_future(writer.submit(self._queries[query], parameters))
        except sqlite3.Error as error:
            raise PlatformFault(f"cannot {query} in the store: {error}") from error

    def _read_functions(self, reading: sqlite3.Connection) -> list[Function]:
        try:
            found = reading.execute(self._queries["functions"]).fetchall()
            return [rows.function(row) for row in found]
        except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
            raise PlatformFault(f"cannot read the functions in the store: {error}") from error


def _close(running: _Running) -> None:
    running.reader.shutdown()
    running.reading.close()
    running.writer.close()
