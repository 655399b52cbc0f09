"""Aliases in memory are what the store has committed, and what they mean is drawn."""

import dataclasses

import pytest

from lambdad.invoke.aliases import Aliases
from lambdad.model.alias import Alias

pytestmark = pytest.mark.asyncio

LIVE = Alias("fn", "live", "1", "one", weights={"2": 0.5})
NEXT = Alias("fn", "next", "2", "one")


class FakeStore:
    """The aliases of the Store protocol; does what the test says."""

    def __init__(self, *kept):
        self.kept, self.does = list(kept), True

    async def aliases(self):
        return self.kept

    async def create_alias(self, alias):
        return self.does

    async def replace_alias(self, new, *, expected_revision):
        self.expected = expected_revision
        return self.does

    async def delete_alias(self, function, name):
        return self.does


@pytest.fixture
def store():
    return FakeStore(NEXT, LIVE)


@pytest.fixture
def lots():
    return [0.49, 0.5]


@pytest.fixture
def aliases(store, lots):
    return Aliases(store, lambda: lots.pop(0))


async def test_what_is_recorded_is_there(aliases):
    await aliases.start()
    assert aliases.of("fn") == [LIVE, NEXT]
    assert (aliases.find("fn", "live"), aliases.find("other", "live")) == (LIVE, None)
    assert (aliases.by("fn", "1"), aliases.by("fn", "2")) == ([LIVE], [LIVE, NEXT])


async def test_an_alias_means_its_version_and_draws_for_each_invocation(aliases, lots):
    await aliases.start()
    assert aliases.version("fn", "live") == "1"
    assert [aliases.drawn("fn", "live") for _ in range(2)] == ["2", "1"]
    assert lots == []


@pytest.mark.parametrize("qualifier", ["$LATEST", "1", "nobody"])
async def test_what_is_no_alias_means_itself(aliases, lots, qualifier):
    await aliases.start()
    assert aliases.version("fn", qualifier) == aliases.drawn("fn", qualifier) == qualifier
    assert len(lots) == 2


async def test_only_what_the_store_took_is_there(aliases, store):
    store.does = False
    assert not await aliases.create(LIVE)
    assert aliases.of("fn") == []
    store.does = True
    assert await aliases.create(LIVE)
    new = dataclasses.replace(LIVE, version="3", revision_id="two")
    store.does = False
    assert not await aliases.replace(LIVE, new)
    assert aliases.of("fn") == [LIVE]
    store.does = True
    assert await aliases.replace(LIVE, new)
    assert (aliases.of("fn"), store.expected) == ([new], "one")


async def test_one_that_is_deleted_is_gone(aliases):
    await aliases.start()
    assert await aliases.delete("fn", "live")
    assert aliases.of("fn") == [NEXT]
    aliases.forget("fn")
    aliases.forget("never there")
    assert aliases.of("fn") == []
