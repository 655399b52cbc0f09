"""The store in SQLite: a file, one thread that writes, one that reads.

Readers see what is committed and never wait for the writer: that is the write-ahead log
(https://www.sqlite.org/wal.html). With ``synchronous = FULL`` a commit is on the disk.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sqlite3
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from lambdad.model.alias import Alias
from lambdad.model.errors import PlatformFault
from lambdad.model.event import Event
from lambdad.model.function import Function
from lambdad.model.layer import LayerVersion
from lambdad.model.provisioned import ProvisionedConcurrency
from lambdad.store.protocol import AlreadyExists
from lambdad.store.sqlite import database, rows, statements
from lambdad.store.sqlite.writer import Value, Writer

_Noun = TypeVar("_Noun")
_NONE: Mapping[str, Value] = {}


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
        return await self._read("functions", rows.function)

    async def replace_function(self, new: Function, *, expected_revision: str) -> bool:
        parameters = {**rows.row(new), "expected_revision": expected_revision}
        return bool(await self._write("replace_function", parameters))

    async def delete_function(self, name: str) -> bool:
        return bool(await self._write("delete_function", {"name": name}))

    async def reserve_concurrency(self, name: str, count: int | None) -> bool:
        return bool(await self._write("reserve_concurrency", {"name": name, "count": count}))

    async def reserved_concurrency(self) -> dict[str, int]:
        return dict(await self._read("reserved_concurrency", tuple))

    async def create_version(self, function: Function) -> bool:
        return bool(await self._write("create_version", rows.version_row(function)))

    async def versions(self) -> list[Function]:
        return await self._read("versions", rows.version)

    async def last_versions(self) -> dict[str, int]:
        return dict(await self._read("last_versions", tuple))

    async def replace_version(self, function: Function) -> bool:
        return bool(await self._write("replace_version", rows.version_row(function)))

    async def delete_version(self, name: str, version: str) -> bool:
        return bool(await self._write("delete_version", {"name": name, "version": int(version)}))

    async def create_alias(self, alias: Alias) -> bool:
        return bool(await self._write("create_alias", rows.alias_row(alias)))

    async def aliases(self) -> list[Alias]:
        return await self._read("aliases", rows.alias)

    async def replace_alias(self, new: Alias, *, expected_revision: str) -> bool:
        parameters = {**rows.alias_row(new), "expected_revision": expected_revision}
        return bool(await self._write("replace_alias", parameters))

    async def delete_alias(self, function: str, name: str) -> bool:
        return bool(await self._write("delete_alias", {"function": function, "name": name}))

    async def provision_concurrency(self, wanted: ProvisionedConcurrency) -> bool:
        return bool(await self._write("provision_concurrency", dataclasses.asdict(wanted)))

    async def provisioned_concurrency(self) -> list[ProvisionedConcurrency]:
        return await self._read("provisioned_concurrency", rows.provisioned)

    async def release_concurrency(self, function: str, qualifier: str) -> bool:
        values: rows.Row = {"function": function, "qualifier": qualifier}
        return bool(await self._write("release_concurrency", values))

    async def create_layer_version(self, layer: LayerVersion) -> None:
        if not await self._write("create_layer_version", rows.layer_row(layer)):
            raise AlreadyExists(f"{layer.name}:{layer.version}")

    async def layer_versions(self) -> list[LayerVersion]:
        return await self._read("layer_versions", rows.layer_version)

    async def last_layer_versions(self) -> dict[str, int]:
        return dict(await self._read("last_layer_versions", tuple))

    async def delete_layer_version(self, name: str, version: int) -> bool:
        return bool(await self._write("delete_layer_version", {"name": name, "version": version}))

    async def add_event(self, event: Event) -> None:
        await self._write("add_event", rows.event_row(event))

    async def events(self) -> dict[str, float]:
        return dict(await self._read("events", tuple))

    async def event(self, request_id: str) -> Event | None:
        found = await self._read("event", rows.event, {"request_id": request_id})
        return found[0] if found else None

    async def retry_event(self, request_id: str, attempts: int, due: float) -> bool:
        values: rows.Row = {"request_id": request_id, "attempts": attempts, "due": due}
        return bool(await self._write("retry_event", values))

    async def remove_event(self, request_id: str) -> bool:
        return bool(await self._write("remove_event", {"request_id": request_id}))

    def _open(self) -> _Running:
        writing = database.open_database(self._path)
        reading = database.connect(self._path)
        reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="store-reader")
        return _Running(Writer(writing), reading, reader)

    def _require_running(self) -> _Running:
        if self._running is None:
            raise PlatformFault("cannot use the store: it does not run")
        return self._running

    async def _write(self, query: str, parameters: Mapping[str, Value]) -> int:
        """Run a named statement; the number of rows it touched, after the commit."""
        writer = self._require_running().writer
        try:
            return await asyncio.wrap_future(writer.submit(self._queries[query], parameters))
        except sqlite3.Error as error:
            raise PlatformFault(f"cannot {query} in the store: {error}") from error

    async def _read(
        self, query: str, make: Callable[[Any], _Noun], parameters: Mapping[str, Value] = _NONE
    ) -> list[_Noun]:
        """Run a named question; what its rows make."""
        running = self._require_running()

        def read() -> list[_Noun]:
            found = running.reading.execute(self._queries[query], parameters)
            return [make(row) for row in found]

        try:
            return await asyncio.get_running_loop().run_in_executor(running.reader, read)
        except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
            raise PlatformFault(f"cannot read {query} in the store: {error}") from error


def _close(running: _Running) -> None:
    running.reader.shutdown()
    running.reading.close()
    running.writer.close()
