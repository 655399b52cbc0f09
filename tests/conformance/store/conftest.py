"""The drivers that the exercise is run with. A new one is one more line in DRIVERS."""

import pytest
import pytest_asyncio

from lambdad.model.function import Function
from lambdad.store.sqlite.driver import SqliteStore

DRIVERS = {"sqlite": lambda directory: SqliteStore(directory / "store.sqlite")}


@pytest.fixture(params=DRIVERS)
def new_store(request, tmp_path):
    """Makes a store that is not started; every one of a test is over the same data."""
    return lambda: DRIVERS[request.param](tmp_path)


@pytest_asyncio.fixture
async def store(new_store):
    """A store that runs."""
    store = new_store()
    await store.start()
    yield store
    await store.stop()


@pytest.fixture
def new_function():
    """A function with the least that one needs, and whatever else is given."""

    def make(name="fn", **values):
        least = {
            "runtime": "python3.12",
            "handler": "app.handler",
            "role": "arn:aws:iam::123456789012:role/r",
            "code_sha256": "Zm9v",
            "code_bytes": 3,
            "tree": "0" * 64,
            "timeout_s": 3,
            "memory_mb": 128,
            "tmp_mb": 512,
            "architecture": "x86_64",
            "revision_id": "one",
            "last_modified": 1.5,
        }
        return Function(name, **{**least, **values})

    return make
