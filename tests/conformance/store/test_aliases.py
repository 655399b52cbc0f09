"""What a store does with aliases and provisioned concurrency: every driver does all of this."""

import asyncio
import dataclasses
from types import MappingProxyType

import pytest

from lambdad.model.alias import Alias
from lambdad.model.provisioned import ProvisionedConcurrency

pytestmark = pytest.mark.asyncio


def alias(name="live", function="fn", **values):
    return Alias(function, name, **{"version": "1", "revision_id": "one", **values})


def provisioned(qualifier="live", function="fn", count=3):
    return ProvisionedConcurrency(function, qualifier, count, last_modified=1.25)


async def test_a_new_store_has_neither(store):
    assert await store.aliases() == []
    assert await store.provisioned_concurrency() == []


async def test_an_alias_comes_back_as_it_went_in(store, new_function):
    await store.create_function(new_function())
    full = alias(
        "next", version="2", description="für 🐈", weights=MappingProxyType({"1": 0.1, "3": 1.0})
    )
    assert await store.create_alias(full)
    assert await store.create_alias(alias())
    assert await store.aliases() == [alias(), full]
    with pytest.raises(TypeError):
        (await store.aliases())[1].weights["4"] = 0.5


async def test_without_a_function_there_is_neither(store):
    assert not await store.create_alias(alias())
    assert not await store.provision_concurrency(provisioned())
    assert await store.aliases() == []
    assert await store.provisioned_concurrency() == []


async def test_aliases_come_in_the_order_of_their_names(store, new_function):
    for function in ("fn", "before"):
        await store.create_function(new_function(function))
    for name in ("b", "a", "B"):
        await store.create_alias(alias(name))
    await store.create_alias(alias("z", "before"))
    found = [(one.function, one.name) for one in await store.aliases()]
    assert found == [("before", "z"), ("fn", "B"), ("fn", "a"), ("fn", "b")]


async def test_of_many_at_once_a_name_is_taken_once(store, new_function):
    await store.create_function(new_function())
    outcomes = await asyncio.gather(
        *(store.create_alias(alias(revision_id=str(n))) for n in range(20))
    )
    assert sum(outcomes) == 1
    (found,) = await store.aliases()
    assert found.revision_id == str(outcomes.index(True))


async def test_an_alias_is_replaced_at_the_revision_that_was_read(store, new_function):
    await store.create_function(new_function())
    await store.create_alias(alias())
    await store.provision_concurrency(provisioned())
    new = alias(version="2", revision_id="two")
    assert not await store.replace_alias(new, expected_revision="another")
    assert await store.aliases() == [alias()]
    assert await store.replace_alias(new, expected_revision="one")
    assert not await store.replace_alias(new, expected_revision="one")
    assert await store.aliases() == [new]
    assert await store.provisioned_concurrency() == [provisioned()]


async def test_what_is_wanted_last_is_kept(store, new_function):
    await store.create_function(new_function())
    assert await store.provision_concurrency(provisioned())
    later = dataclasses.replace(provisioned(count=5), last_modified=2.5)
    assert await store.provision_concurrency(later)
    assert await store.provision_concurrency(provisioned("1"))
    assert await store.provisioned_concurrency() == [provisioned("1"), later]


async def test_what_is_not_wanted_any_more_is_forgotten(store, new_function):
    await store.create_function(new_function())
    await store.provision_concurrency(provisioned())
    assert await store.release_concurrency("fn", "live")
    assert not await store.release_concurrency("fn", "live")
    assert await store.provisioned_concurrency() == []


async def test_what_is_provisioned_of_an_alias_goes_with_it(store, new_function):
    await store.create_function(new_function())
    for name in ("live", "next"):
        await store.create_alias(alias(name))
        await store.provision_concurrency(provisioned(name))
    assert await store.delete_alias("fn", "live")
    assert not await store.delete_alias("fn", "live")
    assert await store.aliases() == [alias("next")]
    assert await store.provisioned_concurrency() == [provisioned("next")]


async def test_what_is_provisioned_of_a_version_goes_with_it(store, new_function):
    await store.create_function(new_function())
    for version in ("1", "11"):
        await store.create_version(new_function(version=version))
        await store.provision_concurrency(provisioned(version))
    await store.replace_version(new_function(version="1", reason="because"))
    assert len(await store.provisioned_concurrency()) == 2
    await store.delete_version("fn", "1")
    assert await store.provisioned_concurrency() == [provisioned("11")]


async def test_both_go_with_their_function_which_begins_anew(store, new_function):
    for function in ("fn", "other"):
        await store.create_function(new_function(function))
        await store.create_alias(alias(function=function))
        await store.provision_concurrency(provisioned(function=function))
    await store.delete_function("fn")
    await store.create_function(new_function())
    assert await store.aliases() == [alias(function="other")]
    assert await store.provisioned_concurrency() == [provisioned(function="other")]


async def test_both_survive_reopening(new_store, new_function):
    store = new_store()
    await store.start()
    await store.create_function(new_function())
    await store.create_alias(alias())
    await store.provision_concurrency(provisioned())
    await store.stop()
    await store.start()
    try:
        assert await store.aliases() == [alias()]
        assert await store.provisioned_concurrency() == [provisioned()]
    finally:
        await store.stop()
