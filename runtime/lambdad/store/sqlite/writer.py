"""The one thread that writes, with group commit.

A commit waits for the disk, and it waits as long for fifty changes as for one. So the thread takes
all that is waiting, makes it one transaction, and tells everybody after the commit.
"""

from __future__ import annotations

import contextlib
import queue
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

Value = str | int | float | bytes | None

_GROUP_MAX = 256  # bounds how long the first of a group waits for the last


@dataclass(frozen=True, slots=True)
class _Change:
    """A statement that is waiting; its future will hold the number of rows it touched."""

    statement: str
    parameters: Mapping[str, Value]
    rows: Future[int] = field(default_factory=Future)


class Writer:
    """Carries out changes in the order in which they were submitted.

    Args:
        connection: closed in the end by the writer.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._waiting: queue.SimpleQueue[_Change | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, statement: str, parameters: Mapping[str, Value]) -> Future[int]:
        """Have a statement carried out; the future is done when it is committed, or failed."""
        change = _Change(statement, parameters)
        self._waiting.put(change)
        return change.rows

    def close(self) -> None:
        """Carry out what was submitted, close the connection and wait for that."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        for group in self._groups():
            self._commit(group)
        self._connection.close()

    def _groups(self) -> Iterator[list[_Change]]:
        """What is waiting, again and again, until the end is submitted."""
        while (change := self._waiting.get()) is not None:
            group = [change]
            with contextlib.suppress(queue.Empty):
                while len(group) < _GROUP_MAX:
                    following = self._waiting.get_nowait()
                    if following is None:
                        yield group
                        return
                    group.append(following)
            yield group

    def _commit(self, group: list[_Change]) -> None:
        """One transaction: all of the group happens, or all of it fails."""
        # A change whose waiter has gone away before is dropped here; later ones happen.
        group = [change for change in group if change.rows.set_running_or_notify_cancel()]
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            counts = [
                self._connection.execute(change.statement, change.parameters).rowcount
                for change in group
            ]
            self._connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  the thread must outlive every change
            # Some errors have already rolled back, which is no reason to roll back again.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            for change in group:
                change.rows.set_exception(error)
        else:
            for change, count in zip(group, counts, strict=True):
                change.rows.set_result(count)
