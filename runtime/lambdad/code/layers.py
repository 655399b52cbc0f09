"""The layer versions that there are, as recorded; their trees are held for as long as that.

What clients may ask for and what functions make of them is not known here: see
``lambdad.api.operations``.
"""

from __future__ import annotations

import dataclasses

from lambdad.code.blobs import Blobs
from lambdad.model.layer import LayerVersion
from lambdad.store.protocol import LayerVersions


class Layers:
    """Layer versions by name and number. Reading is free; writing waits for the commit."""

    def __init__(self, store: LayerVersions, blobs: Blobs) -> None:
        self._store, self._blobs = store, blobs
        self._versions: dict[str, dict[int, LayerVersion]] = {}
        self._last: dict[str, int] = {}

    async def start(self) -> None:
        """Take up what is recorded."""
        self._last = await self._store.last_layer_versions()
        for layer in await self._store.layer_versions():
            self._take_up(layer)

    def names(self) -> list[str]:
        """Of the layers of which there is a version, in order."""
        return sorted(self._versions)

    def find(self, name: str, version: int) -> LayerVersion | None:
        return self._versions.get(name, {}).get(version)

    def versions(self, name: str) -> list[LayerVersion]:
        """All of a layer, the newest first."""
        found = self._versions.get(name, {})
        return [found[number] for number in sorted(found, reverse=True)]

    def trees(self) -> set[str]:
        """What they are made of."""
        return {layer.tree for found in self._versions.values() for layer in found.values()}

    async def publish(self, layer: LayerVersion) -> LayerVersion:
        """Record a new version under the next number; its tree must be held meanwhile."""
        number = self._last.get(layer.name, 0) + 1
        self._last[layer.name] = number
        published = dataclasses.replace(layer, version=number)
        await self._store.create_layer_version(published)
        self._take_up(published)
        return published

    async def delete(self, name: str, version: int) -> LayerVersion | None:
        """Forget a version; which it was, if there was one. Its tree may be used elsewhere."""
        if self.find(name, version) is None:
            return None
        if not await self._store.delete_layer_version(name, version):
            return None  # Somebody else was quicker.
        layer = self._versions[name].pop(version)
        if not self._versions[name]:
            del self._versions[name]
        self._blobs.release(layer.tree)
        return layer

    def _take_up(self, layer: LayerVersion) -> None:
        self._versions.setdefault(layer.name, {})[layer.version] = layer
        self._blobs.hold(layer.tree)
