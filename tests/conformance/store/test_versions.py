"""What a store does with published versions of functions: every driver does all of this."""

import asyncio

import pytest

from lambdad.model.function import State, UpdateStatus

pytestmark = pytest.mark.asyncio


async def test_a_version_comes_back_as_it_went_in(store, new_function):
    await store.create_function(new_function())
    plain = new_function(version="1")
    full = new_function(
        version="2",
        environment={"A": "1"},
        tags={},
        state=State.ACTIVE,
        update_status=UpdateStatus.SUCCESSFUL,
        max_concurrency=16,
    )
    assert await store.create_version(plain)
    assert await store.create_version(full)
    assert await store.versions() == [plain, full]
    assert await store.functions() == [new_function()]


async def test_without_a_function_there_is_no_version(store, new_function):
    assert not await store.create_version(new_function(version="1"))
    assert await store.versions() == []


async def test_versions_come_in_the_order_of_their_numbers(store, new_function):
    await store.create_function(new_function())
    for number in ("10", "9", "1"):
        await store.create_version(new_function(version=number))
    assert [version.version for version in await store.versions()] == ["1", "9", "10"]
    assert await store.last_versions() == {"fn": 10}


async def test_a_deleted_version_is_gone_and_its_number_is_not_free(store, new_function):
    await store.create_function(new_function())
    version = new_function(version="3")
    await store.create_version(version)
    assert await store.delete_version("fn", "3")
    assert not await store.delete_version("fn", "3")
    assert not await store.replace_version(version)
    assert not await store.create_version(version)
    assert await store.versions() == []
    assert await store.last_versions() == {"fn": 3}


async def test_a_version_is_replaced_where_it_is(store, new_function):
    await store.create_function(new_function())
    await store.create_version(new_function(version="1"))
    active = new_function(version="1", state=State.ACTIVE)
    assert await store.replace_version(active)
    assert await store.versions() == [active]


async def test_versions_go_with_their_function_and_numbers_begin_anew(store, new_function):
    for name in ("fn", "other"):
        await store.create_function(new_function(name))
        await store.create_version(new_function(name, version="1"))
    assert await store.delete_function("fn")
    assert await store.versions() == [new_function("other", version="1")]
    assert await store.last_versions() == {"other": 1}
    await store.create_function(new_function())
    assert await store.versions() == [new_function("other", version="1")]
    assert await store.create_version(new_function(version="1"))


async def test_of_many_at_once_a_number_is_taken_once(store, new_function):
    await store.create_function(new_function())
    outcomes = await asyncio.gather(
        *(store.create_version(new_function(version="1")) for _ in range(20))
    )
    assert sum(outcomes) == 1


async def test_versions_survive_reopening(new_store, new_function):
    store = new_store()
    await store.start()
    await store.create_function(new_function())
    await store.create_version(new_function(version="1"))
    await store.stop()
    await store.start()
    try:
        assert await store.versions() == [new_function(version="1")]
    finally:
        await store.stop()
