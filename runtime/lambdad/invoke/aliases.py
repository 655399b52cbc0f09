"""The aliases that there are, as recorded, and what invocations by them run on.

Whether the versions they point to exist, and what clients may ask for, is not known here: see
``lambdad.api.operations.aliases``.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from lambdad.model.alias import Alias
from lambdad.store import protocol


class Aliases:
    """Aliases by function and name. Reading is free; writing waits for the commit.

    Args:
        store: where they are kept.
        lot: a number at least 0 and less than 1, for each invocation of an alias.
    """

    def __init__(self, store: protocol.Aliases, lot: Callable[[], float] = random.random) -> None:
        self._store, self._lot = store, lot
        self._aliases: dict[str, dict[str, Alias]] = {}  # by function, then by name

    async def start(self) -> None:
        """Take up what is recorded."""
        for alias in await self._store.aliases():
            self._take_up(alias)

    def find(self, function: str, name: str) -> Alias | None:
        return self._aliases.get(function, {}).get(name)

    def of(self, function: str) -> list[Alias]:
        """All of a function, by name."""
        found = self._aliases.get(function, {})
        return [found[name] for name in sorted(found)]

    def by(self, function: str, version: str) -> list[Alias]:
        """Those that invoke a version of a function, always or at times; by name."""
        return [alias for alias in self.of(function) if version in alias.versions]

    def version(self, function: str, qualifier: str) -> str:
        """What an alias points to; a qualifier that is no alias is itself what it means."""
        alias = self.find(function, qualifier)
        return qualifier if alias is None else alias.version

    def drawn(self, function: str, qualifier: str) -> str:
        """The same for one invocation, of which another version may have a share."""
        alias = self.find(function, qualifier)
        return qualifier if alias is None else alias.drawn(self._lot())

    async def create(self, alias: Alias) -> bool:
        """Record a new one; False if the name is taken or the function is gone."""
        created = await self._store.create_alias(alias)
        if created:
            self._take_up(alias)
        return created

    async def replace(self, old: Alias, new: Alias) -> bool:
        """Record ``new`` in place of ``old``, unless that is no longer what is recorded."""
        replaced = await self._store.replace_alias(new, expected_revision=old.revision_id)
        if replaced:
            self._take_up(new)
        return replaced

    async def delete(self, function: str, name: str) -> bool:
        """Forget one; False if there is none."""
        deleted = await self._store.delete_alias(function, name)
        self._aliases.get(function, {}).pop(name, None)
        return deleted

    def forget(self, function: str) -> None:
        """A function is gone, and from the store with it all its aliases."""
        self._aliases.pop(function, None)

    def _take_up(self, alias: Alias) -> None:
        self._aliases.setdefault(alias.function, {})[alias.name] = alias
