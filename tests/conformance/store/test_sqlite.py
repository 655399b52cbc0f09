"""What is the SQLite driver's own: its file, its schema, its commits."""

import asyncio
import dataclasses
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading

import pytest

from lambdad.model.errors import PlatformFault
from lambdad.model.function import State
from lambdad.store.sqlite import database, statements
from lambdad.store.sqlite.driver import SqliteStore
from lambdad.store.sqlite.writer import Writer

INSERT = "INSERT INTO functions (name, revision_id, state, record) VALUES"

# Creates a function, says so, and waits to be killed.
CREATE_AND_WAIT = """
import asyncio, json, sys
from pathlib import Path
from lambdad.model.function import Function
from lambdad.store.sqlite.driver import SqliteStore

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    await store.start()
    await store.create_function(Function(**json.loads(sys.argv[2])))
    print("created", flush=True)
    sys.stdin.read()

asyncio.run(main())
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "store.sqlite"


@pytest.fixture
def connection(path):
    """A second pair of eyes on an existing database."""
    connections = []

    def connect():
        connections.append(sqlite3.connect(path, isolation_level=None))
        return connections[-1]

    yield connect
    for connection in connections:
        connection.close()


def open_and_close(path):
    database.open_database(path).close()


async def functions_in(path):
    store = SqliteStore(path)
    await store.start()
    try:
        return await store.functions()
    finally:
        await store.stop()


def test_an_acknowledged_create_survives_sigkill(path, new_function):
    function = dataclasses.asdict(new_function(tags={}))
    with subprocess.Popen(
        [sys.executable, "-c", CREATE_AND_WAIT, str(path), json.dumps(function)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            acknowledged = process.stdout.readline()
        finally:
            process.kill()
    assert acknowledged == b"created\n"
    assert process.returncode == -signal.SIGKILL
    assert asyncio.run(functions_in(path)) == [new_function()]


@pytest.mark.asyncio
async def test_all_its_files_are_the_owners_only(path, new_function):
    path.touch(mode=0o644)
    store = SqliteStore(path)
    await store.start()
    try:
        await store.create_function(new_function())
        files = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        await store.stop()
    assert files == {
        "store.sqlite": 0o600,
        "store.sqlite-shm": 0o600,
        "store.sqlite-wal": 0o600,
    }
    assert [file.name for file in path.parent.iterdir()] == ["store.sqlite"]


@pytest.mark.asyncio
async def test_no_thread_is_left_when_it_has_stopped(path, new_function):
    before = set(threading.enumerate())
    store = SqliteStore(path)
    await store.start()
    await store.create_function(new_function())
    await store.functions()
    assert {thread.name.partition("_")[0] for thread in set(threading.enumerate()) - before} >= {
        "store-writer",
        "store-reader",
    }
    await store.stop()
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not [name for name in left if name.startswith("store-")]


def test_what_is_no_database_is_refused_and_untouched(path):
    path.write_bytes(b"some notes of mine\n" * 100)
    with pytest.raises(PlatformFault, match=r"cannot open the store .*not a database"):
        open_and_close(path)
    assert path.read_bytes() == b"some notes of mine\n" * 100


def test_the_database_of_something_else_is_refused_and_untouched(path, connection):
    connection().execute("CREATE TABLE functions (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(PlatformFault, match=r"cannot open the store .*of something else"):
        open_and_close(path)
    assert path.read_bytes() == before


def test_a_damaged_database_is_refused(path, connection):
    open_and_close(path)
    rows = [(f"f{n}", "r", "Active", "{}" * 500) for n in range(200)]
    connection().executemany(f"{INSERT} (?, ?, ?, ?)", rows)
    connection().execute("PRAGMA wal_checkpoint(TRUNCATE)")
    damaged = bytearray(path.read_bytes())
    damaged[8192:40960] = b"\xa5" * (40960 - 8192)
    path.write_bytes(damaged)
    with pytest.raises(PlatformFault, match="cannot open the store"):
        open_and_close(path)


def test_a_database_of_a_later_version_is_refused(path, connection):
    open_and_close(path)
    connection().execute("PRAGMA user_version = 99")
    with pytest.raises(PlatformFault, match="its version is 99, and this lambdad knows"):
        open_and_close(path)


def test_a_directory_that_is_missing_is_named(tmp_path):
    with pytest.raises(PlatformFault, match=r"cannot open the store .*/missing/store"):
        open_and_close(tmp_path / "missing/store.sqlite")


def test_a_link_in_its_place_is_refused(tmp_path, path):
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PlatformFault, match="cannot open the store"):
        open_and_close(path)
    assert not (tmp_path / "elsewhere").exists()


def test_opening_again_changes_nothing(path):
    open_and_close(path)
    before = path.read_bytes()
    open_and_close(path)
    assert path.read_bytes() == before


def test_an_older_database_is_brought_up_to_date(path, monkeypatch):
    open_and_close(path)
    scripts = [*statements.migrations(), "CREATE TABLE later (x TEXT) STRICT;"]
    monkeypatch.setattr(statements, "migrations", lambda: scripts)
    opened = database.open_database(path)
    try:
        assert opened.execute("SELECT count(*) FROM later").fetchone()[0] == 0
        assert opened.execute("PRAGMA user_version").fetchone()[0] == len(scripts)
    finally:
        opened.close()


def test_a_migration_that_fails_half_way_leaves_the_old_version(path, monkeypatch):
    open_and_close(path)
    broken = "CREATE TABLE half (x TEXT) STRICT; CREATE TABLE functions (x TEXT);"
    scripts = [*statements.migrations(), broken]
    with monkeypatch.context() as patched:
        patched.setattr(statements, "migrations", lambda: scripts)
        with pytest.raises(PlatformFault, match="table functions already exists"):
            open_and_close(path)
    opened = database.open_database(path)
    try:
        tables = [name for (name,) in opened.execute("SELECT name FROM sqlite_schema")]
    finally:
        opened.close()
    assert "functions" in tables
    assert "half" not in tables


def test_a_state_that_does_not_exist_is_refused_by_the_schema(path):
    opened = database.open_database(path)
    try:
        for state in State:
            opened.execute(
                f"{INSERT} (?, '', ?, '')",
                (state, state),
            )
        with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
            opened.execute(f"{INSERT} ('x', '', 'Inactive', '')")
    finally:
        opened.close()


def test_what_the_first_version_has_recorded_is_read(path, new_function, monkeypatch):
    first, *_ = statements.migrations()
    with monkeypatch.context() as patched:
        patched.setattr(statements, "migrations", lambda: [first])
        opened = database.open_database(path)
    record = dataclasses.asdict(new_function(tags={}))
    for column_or_newer in ("name", "revision_id", "state", "version", "layers", "layers_tree"):
        del record[column_or_newer]
    values = ("fn", "one", "Pending", json.dumps(record))
    try:
        opened.execute(f"{INSERT} (?, ?, ?, ?)", values)
    finally:
        opened.close()
    assert asyncio.run(functions_in(path)) == [new_function()]


def test_each_query_has_a_deed_of_its_name():
    for name in statements.queries():
        assert callable(getattr(SqliteStore, name))


def test_migrations_are_numbered_without_a_gap():
    folder = statements._FOLDER / "migrations"
    numbers = sorted(int(file.name[:4]) for file in folder.iterdir() if file.name[:4].isdigit())
    assert numbers == list(range(1, len(statements.migrations()) + 1))


@pytest.mark.asyncio
async def test_a_record_that_cannot_be_read_is_a_fault_and_no_riddle(path, connection):
    store = SqliteStore(path)
    await store.start()
    try:
        connection().execute(f"{INSERT} ('x', '', 'Active', '{{}}')")
        with pytest.raises(PlatformFault, match="cannot read functions in the store"):
            await store.functions()
    finally:
        await store.stop()


@pytest.mark.asyncio
async def test_a_write_that_fails_is_a_fault_and_the_next_one_succeeds(
    path, connection, new_function
):
    store = SqliteStore(path)
    await store.start()
    try:
        other = connection()
        other.execute("ALTER TABLE functions RENAME TO away")
        with pytest.raises(PlatformFault, match="cannot create_function in the store: no such"):
            await store.create_function(new_function())
        other.execute("ALTER TABLE away RENAME TO functions")
        await store.create_function(new_function())
        assert await store.functions() == [new_function()]
    finally:
        await store.stop()


def test_what_is_waiting_is_committed_together(path):
    commits = []
    opened = database.open_database(path)
    opened.set_trace_callback(lambda sql: commits.append(sql) if sql == "COMMIT" else None)
    blocker = database.connect(path)
    blocker.execute("BEGIN IMMEDIATE")
    # The first change waits for the blocker; by the time it may go on, the others are waiting.
    writer = Writer(opened)
    try:
        submitted = [
            writer.submit(
                statements.queries()["create_function"],
                {"name": f"f{n}", "revision_id": "", "state": "Active", "record": "{}"},
            )
            for n in range(100)
        ]
        blocker.execute("ROLLBACK")
        assert [rows.result(timeout=30) for rows in submitted] == [1] * 100
    finally:
        blocker.close()
        writer.close()
    assert len(commits) <= 2


@pytest.mark.asyncio
async def test_reading_does_not_wait_for_writing(path, connection, new_function):
    store = SqliteStore(path)
    await store.start()
    try:
        await store.create_function(new_function())
        blocker = connection()
        blocker.execute("BEGIN IMMEDIATE")
        writing = asyncio.create_task(store.delete_function("fn"))
        assert await store.functions() == [new_function()]
        assert not writing.done()
        blocker.execute("ROLLBACK")
        assert await writing
    finally:
        await store.stop()
