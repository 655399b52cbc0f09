"""What a store does with layer versions: every driver does all of this."""

import asyncio
import dataclasses

import pytest

from lambdad.model.layer import LayerRef, LayerVersion
from lambdad.store.protocol import AlreadyExists

pytestmark = pytest.mark.asyncio


def layer(name="base", version=1, **values):
    least = {"code_sha256": "Zm9v", "code_bytes": 3, "tree": "0" * 64, "unzipped_bytes": 30}
    return LayerVersion(name, version, **{**least, "created": 1.5, **values})


async def test_a_new_store_has_no_layers(store):
    assert await store.layer_versions() == []
    assert await store.last_layer_versions() == {}


async def test_a_layer_version_comes_back_as_it_went_in(store):
    full = layer(
        version=2,
        description="für 🐈",
        license_info="MIT",
        compatible_runtimes=("python3.12", "python3.11"),
        compatible_architectures=(),
    )
    await store.create_layer_version(layer())
    await store.create_layer_version(full)
    found = await store.layer_versions()
    assert found == [layer(), full]
    with pytest.raises(dataclasses.FrozenInstanceError):
        found[0].name = "other"


async def test_versions_come_in_the_order_of_their_numbers(store):
    for version in (10, 2, 9, 1):
        await store.create_layer_version(layer(version=version))
    await store.create_layer_version(layer("a"))
    found = [(one.name, one.version) for one in await store.layer_versions()]
    assert found == [("a", 1), ("base", 1), ("base", 2), ("base", 9), ("base", 10)]


async def test_a_number_is_taken_once(store):
    await store.create_layer_version(layer())
    with pytest.raises(AlreadyExists):
        await store.create_layer_version(layer(description="second"))
    assert await store.layer_versions() == [layer()]


async def test_a_deleted_version_is_gone_and_its_number_is_not_free(store):
    await store.create_layer_version(layer())
    await store.create_layer_version(layer(version=2))
    assert await store.delete_layer_version("base", 2)
    assert not await store.delete_layer_version("base", 2)
    assert await store.layer_versions() == [layer()]
    assert await store.last_layer_versions() == {"base": 2}
    with pytest.raises(AlreadyExists):
        await store.create_layer_version(layer(version=2))


async def test_of_many_at_once_each_number_is_taken_once(store):
    outcomes = await asyncio.gather(
        *(store.create_layer_version(layer(version=1 + n % 4)) for n in range(20)),
        return_exceptions=True,
    )
    assert outcomes.count(None) == 4


async def test_layers_survive_reopening(new_store):
    first = new_store()
    await first.start()
    await first.create_layer_version(layer())
    await first.stop()
    await first.start()
    try:
        assert await first.layer_versions() == [layer()]
    finally:
        await first.stop()


async def test_a_function_keeps_what_it_has_of_layers(store, new_function):
    references = (LayerRef("arn:1", 3, 30), LayerRef("arn:2", 4, 40))
    function = new_function(layers=references, layers_tree="1" * 64)
    await store.create_function(function)
    assert await store.functions() == [function]
