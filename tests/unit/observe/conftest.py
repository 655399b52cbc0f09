"""A store of logs, and a clock that is set by hand."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from lambdad.observe.log_group import Query
from lambdad.observe.log_store import LogStore


class Clock:
    def __init__(self):
        self.now_ms = 1_795_253_400_000

    def now(self):
        return self.now_ms / 1000


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def disk():
    with ThreadPoolExecutor(1) as disk:
        yield disk


@pytest.fixture
def open_store(tmp_path, clock, disk):
    """The store of a daemon; once more, and it is that of the next one."""
    stores = []

    def made():
        stores.append(LogStore(tmp_path, clock, disk))
        return stores[-1]

    yield made
    for store in stores:
        store.close_all()


@pytest.fixture
def store(open_store):
    return open_store()


@pytest.fixture
def said(clock):
    """What a group of a store holds, in its order."""

    def found(store, group, **query):
        view = store.group(group).view(clock.now_ms)
        return [event.message for event in view.events(Query(**query))]

    return found
