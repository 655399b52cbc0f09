"""The database file: opening it, and bringing its schema up to date.

Statements about functions are not made here: see ``lambdad.store.sqlite.driver``.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from lambdad.model.errors import PlatformFault
from lambdad.store.sqlite import statements

# Stands in the header of the file and says whose it is (https://www.sqlite.org/pragma.html).
_APPLICATION_ID = int.from_bytes(b"lmbd")


def open_database(path: Path) -> sqlite3.Connection:
    """A connection that writes, to a database made or updated if need be. Blocks.

    Raises:
        PlatformFault: it cannot be opened, is damaged, is not lambdad's or is of a later one.
    """
    try:
        _make_private(path)
        connection = connect(path)
        try:
            _check(connection)
            _migrate(connection, statements.migrations())
        except BaseException:
            connection.close()
            raise
    except (OSError, sqlite3.Error, _Unusable) as error:
        raise PlatformFault(f"cannot open the store {path}: {error}") from error
    return connection


def connect(path: Path) -> sqlite3.Connection:
    """One more connection. It may be used from any one thread at a time."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


class _Unusable(Exception):
    """Why this database is not for us."""


def _make_private(path: Path) -> None:
    """See that the file exists and is its owner's only; SQLite gives its companions the same mode.

    Functions' environment variables stand in it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _check(connection: sqlite3.Connection) -> None:
    """Refuse before anything is written what is damaged or somebody else's."""
    owner = _number(connection, "PRAGMA application_id")
    tables = _number(connection, "SELECT count(*) FROM sqlite_schema")
    if owner != _APPLICATION_ID and (owner or tables):
        raise _Unusable("it is the database of something else")
    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _Unusable(f"it is damaged: {verdict}")


def _migrate(connection: sqlite3.Connection, migrations: list[str]) -> None:
    """Run what has not been run yet, each script in a transaction with its number."""
    version = _number(connection, "PRAGMA user_version")
    if version > len(migrations):
        raise _Unusable(f"its version is {version}, and this lambdad knows {len(migrations)}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    for number, script in enumerate(migrations[version:], start=version + 1):
        connection.executescript(
            f"BEGIN IMMEDIATE; {script}"
            f"; PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {number}; COMMIT;"
        )


def _number(connection: sqlite3.Connection, question: str) -> int:
    (number,) = connection.execute(question).fetchone()
    return int(number)
