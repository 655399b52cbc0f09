"""What a store is: every driver does all of this."""

import asyncio
import dataclasses
from types import MappingProxyType

import pytest

from lambdad.model.errors import PlatformFault
from lambdad.model.function import State, UpdateStatus
from lambdad.store.protocol import AlreadyExists

pytestmark = pytest.mark.asyncio


async def test_a_new_store_is_empty(store):
    assert await store.functions() == []


async def test_a_function_comes_back_as_it_went_in(store, new_function):
    plain = new_function("plain")
    full = new_function(
        "full",
        handler=None,
        description="für 🐈 'quotes' \\ \" \n",
        environment=MappingProxyType({"B": "2", "A": "1", "EMPTY": ""}),
        tags=MappingProxyType({"team": "x"}),
        log_group="/aws/lambda/full",
        last_modified=1763717400.123456,
        state=State.FAILED,
        update_status=UpdateStatus.IN_PROGRESS,
        reason="because",
    )
    await store.create_function(plain)
    await store.create_function(full)
    found_full, found_plain = await store.functions()
    assert (found_full, found_plain) == (full, plain)
    assert list(found_full.environment) == ["B", "A", "EMPTY"]
    assert isinstance(found_full.state, State)
    assert isinstance(found_full.update_status, UpdateStatus)
    assert found_plain.environment is None


@pytest.mark.parametrize("environment", [None, {}])
async def test_no_environment_and_an_empty_one_differ(store, new_function, environment):
    await store.create_function(new_function(environment=environment))
    (found,) = await store.functions()
    assert found.environment == environment


async def test_what_comes_back_cannot_be_altered(store, new_function):
    await store.create_function(new_function(environment={"A": "1"}, tags={"B": "2"}))
    (found,) = await store.functions()
    for mapping in (found.environment, found.tags):
        with pytest.raises(TypeError):
            mapping["C"] = "3"
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.name = "other"


async def test_functions_come_in_the_order_of_their_names(store, new_function):
    for name in ("b", "a", "B", "a-1", "a_1", "a1"):
        await store.create_function(new_function(name))
    assert [function.name for function in await store.functions()] == [
        "B",
        "a",
        "a-1",
        "a1",
        "a_1",
        "b",
    ]


async def test_a_name_is_taken_once(store, new_function):
    first = new_function(description="first")
    await store.create_function(first)
    with pytest.raises(AlreadyExists):
        await store.create_function(new_function(description="second", revision_id="two"))
    assert await store.functions() == [first]


async def test_of_many_creators_at_once_one_succeeds(store, new_function):
    outcomes = await asyncio.gather(
        *(store.create_function(new_function(revision_id=str(n))) for n in range(20)),
        return_exceptions=True,
    )
    assert outcomes.count(None) == 1
    assert sum(isinstance(outcome, AlreadyExists) for outcome in outcomes) == 19


async def test_a_replacement_needs_the_revision_it_replaces(store, new_function):
    old = new_function()
    await store.create_function(old)
    new = old.changed(revision_id="two", state=State.ACTIVE, memory_mb=256)
    assert not await store.replace_function(new, expected_revision="another")
    assert await store.functions() == [old]
    assert await store.replace_function(new, expected_revision="one")
    assert await store.functions() == [new]
    assert not await store.replace_function(new, expected_revision="one")


async def test_of_many_replacers_at_once_one_succeeds(store, new_function):
    old = new_function()
    await store.create_function(old)
    outcomes = await asyncio.gather(
        *(
            store.replace_function(old.changed(revision_id=f"two{n}"), expected_revision="one")
            for n in range(20)
        )
    )
    assert sum(outcomes) == 1
    (found,) = await store.functions()
    assert found.revision_id == f"two{outcomes.index(True)}"


async def test_a_replacement_makes_no_function(store, new_function):
    assert not await store.replace_function(new_function(), expected_revision="one")
    assert await store.functions() == []


async def test_a_replacement_leaves_the_others_alone(store, new_function):
    other = new_function("other")
    await store.create_function(other)
    await store.create_function(new_function())
    assert await store.replace_function(new_function(timeout_s=9), expected_revision="one")
    assert await store.functions() == [new_function(timeout_s=9), other]


async def test_a_deleted_function_is_gone_and_its_name_free(store, new_function):
    await store.create_function(new_function())
    await store.create_function(new_function("other"))
    assert await store.delete_function("fn")
    assert await store.functions() == [new_function("other")]
    assert not await store.delete_function("fn")
    await store.create_function(new_function())


async def test_reserved_concurrency_stands_beside_the_record(store, new_function):
    await store.create_function(new_function())
    await store.create_function(new_function("other"))
    assert await store.reserved_concurrency() == {}
    assert await store.reserve_concurrency("fn", 0)
    assert await store.replace_function(new_function(timeout_s=9), expected_revision="one")
    assert await store.reserved_concurrency() == {"fn": 0}
    assert await store.reserve_concurrency("fn", None)
    assert await store.reserved_concurrency() == {}
    assert not await store.reserve_concurrency("nobody", 1)


async def test_reserved_concurrency_goes_with_its_function(store, new_function):
    await store.create_function(new_function())
    await store.reserve_concurrency("fn", 3)
    await store.delete_function("fn")
    await store.create_function(new_function())
    assert await store.reserved_concurrency() == {}


async def test_what_was_kept_survives_reopening(new_store, new_function):
    first = new_store()
    await first.start()
    await first.create_function(new_function())
    await first.stop()
    second = new_store()
    await second.start()
    try:
        assert await second.functions() == [new_function()]
    finally:
        await second.stop()


async def test_stopping_carries_out_what_was_accepted(new_store, new_function):
    store = new_store()
    await store.start()
    # Tasks begin in the order in which they are made, so stopping comes after all of them.
    await asyncio.gather(
        *(store.create_function(new_function(f"f{n:03}")) for n in range(300)), store.stop()
    )
    await store.start()
    try:
        assert len(await store.functions()) == 300
    finally:
        await store.stop()


async def test_a_deed_that_is_given_up_harms_no_other(store, new_function):
    given_up = asyncio.create_task(store.create_function(new_function("given-up")))
    waited_for = asyncio.create_task(store.create_function(new_function("waited-for")))

    async def give_up():
        given_up.cancel()

    await asyncio.gather(waited_for, give_up())
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert "waited-for" in {function.name for function in await store.functions()}


async def test_a_store_that_does_not_run_says_so(new_store, new_function):
    store = new_store()
    for _ in range(2):
        with pytest.raises(PlatformFault, match="cannot use the store"):
            await store.create_function(new_function())
        with pytest.raises(PlatformFault, match="cannot use the store"):
            await store.functions()
        await store.start()
        await store.stop()
    await store.stop()
