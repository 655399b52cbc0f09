"""Provisioned concurrency: what is wanted, for which versions, and how far it is.

The environments themselves are the pools' (``lambdad.invoke.pool``); what clients may ask for is
the operations' (``lambdad.api.operations.provisioned``).
Source: https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, Protocol

import structlog

from lambdad.invoke.account import Account, Allocation
from lambdad.invoke.aliases import Aliases
from lambdad.model.errors import ApiError, PlatformFault
from lambdad.model.provisioned import ProvisionedConcurrency
from lambdad.store import protocol

_log = structlog.get_logger()


class Status(StrEnum):
    """``ProvisionedConcurrencyStatusEnum``."""

    IN_PROGRESS = "IN_PROGRESS"
    READY = "READY"
    FAILED = "FAILED"


class ProvisionedPool(Protocol):
    """What keeps so many environments of a version; of a ``Pool``, what is needed here."""

    def provision(self, count: int, told: Callable[[Allocation], None]) -> None:
        """From now on; ``told`` hears at once and of each change how far it is."""


class Pools(Protocol):
    """Where the pools are."""

    def pool(self, name: str, version: str) -> ProvisionedPool | None:
        """The one of a version, if that is served already."""

    async def pool_of(self, name: str, version: str) -> ProvisionedPool:
        """The one of a version, which is served from now on.

        Raises:
            ApiError: there is no such version, or it is not Active.
            PlatformFault: it cannot run here.
        """


@dataclass(slots=True)
class Provision:
    """What one configuration has come to.

    Attributes:
        wanted: as recorded.
        version: for which it is now: an alias may move.
        allocation: how far it is, or was before an alias moved.
        left: the versions that the alias has left; what is provisioned of them stays until the
            new ones are ready.
    """

    wanted: ProvisionedConcurrency
    version: str
    allocation: Allocation
    left: frozenset[str] = frozenset()

    @property
    def status(self) -> Status:
        if self.allocation.failed is not None:
            return Status.FAILED
        complete = self.allocation.allocated >= self.wanted.count and not self.left
        return Status.READY if complete else Status.IN_PROGRESS


class Provisioning:
    """All that is provisioned, by function and qualifier: the number of a version or an alias.

    Args:
        store: where it is kept.
        aliases: what they point to.
        pools: of the versions.
        account: what is provisioned is set aside there.
        background: runs what nobody waits for.
    """

    def __init__(
        self,
        store: protocol.Aliases,
        aliases: Aliases,
        pools: Pools,
        account: Account,
        background: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._store, self._aliases, self._pools = store, aliases, pools
        self._account, self._background = account, background
        self._provisions: dict[str, dict[str, Provision]] = {}  # by function, then by qualifier

    async def start(self) -> None:
        """Provide again what is recorded: no environment has outlived its daemon."""
        for wanted in await self._store.provisioned_concurrency():
            self._begin(wanted)

    def stop(self) -> None:
        """Provide nothing any more."""
        self._provisions.clear()

    def find(self, function: str, qualifier: str) -> Provision | None:
        return self._provisions.get(function, {}).get(qualifier)

    def of(self, function: str) -> list[Provision]:
        """All of a function, in no order."""
        return list(self._provisions.get(function, {}).values())

    def of_version(self, function: str, version: str) -> Provision | None:
        """The one that a version has, by itself or by an alias: never more than one."""
        found = (one for one in self.of(function) if one.version == version)
        return next(found, None)

    def total(self, function: str) -> int:
        """How much is wanted of all versions of a function together."""
        return sum(one.wanted.count for one in self.of(function))

    async def put(self, wanted: ProvisionedConcurrency) -> Provision | None:
        """Record it, in place of what its qualifier had; None if the function is gone."""
        if not await self._store.provision_concurrency(wanted):
            return None
        before = self.find(wanted.function, wanted.qualifier)
        return self._begin(wanted, left=frozenset() if before is None else before.left)

    async def delete(self, function: str, qualifier: str) -> None:
        """Forget it; its environments end when they are idle."""
        await self._store.release_concurrency(function, qualifier)
        self.forget(function, qualifier)

    def follow(self, function: str, alias: str) -> None:
        """An alias may have moved: first the new version's environments, then the old ones go."""
        before, version = self.find(function, alias), self._aliases.version(function, alias)
        if before is None or before.version == version:
            return
        self._account.provision(function, before.version, 0)
        left = (before.left | {before.version}) - {version}
        self._begin(before.wanted, left, before.allocation)

    def forget(self, function: str, *qualifiers: str) -> None:
        """These versions and aliases are gone, or what is provisioned of them, in the store."""
        for qualifier in qualifiers:
            gone = self._provisions.get(function, {}).pop(qualifier, None)
            if gone is not None:
                self._release(function, gone.left | {gone.version})

    def forget_function(self, function: str) -> None:
        """A function is gone, and from the store with it all that is provisioned of it."""
        self.forget(function, *self._provisions.get(function, ()))

    def _begin(
        self,
        wanted: ProvisionedConcurrency,
        left: frozenset[str] = frozenset(),
        allocation: Allocation | None = None,
    ) -> Provision:
        version = self._aliases.version(wanted.function, wanted.qualifier)
        if allocation is None or allocation.failed is not None:
            allocation = Allocation(wanted.count, 0, 0)
        provision = Provision(wanted, version, allocation, left)
        self._provisions.setdefault(wanted.function, {})[wanted.qualifier] = provision
        self._account.provision(wanted.function, version, wanted.count)
        self._background(self._provide(provision))
        return provision

    async def _provide(self, provision: Provision) -> None:
        wanted = provision.wanted
        try:
            pool = await self._pools.pool_of(wanted.function, provision.version)
        except (ApiError, PlatformFault) as error:
            _log.warning("cannot provision", function=wanted.function, error=str(error))
            reason = (error.message if isinstance(error, ApiError) else None) or str(error)
            self._told(provision, Allocation(wanted.count, 0, 0, reason))
            return
        if self._stands(provision):
            pool.provision(wanted.count, partial(self._told, provision))

    def _told(self, provision: Provision, allocation: Allocation) -> None:
        """How far it is. What was there before an alias moved counts until all is there."""
        if not self._stands(provision):
            return
        complete = allocation.allocated >= provision.wanted.count
        if complete or allocation.failed is not None or not provision.left:
            provision.allocation = allocation
        if complete:
            left, provision.left = provision.left, frozenset()
            self._release(provision.wanted.function, left)

    def _stands(self, provision: Provision) -> bool:
        """Whether it is still what is wanted."""
        return self.find(provision.wanted.function, provision.wanted.qualifier) is provision

    def _release(self, function: str, versions: frozenset[str]) -> None:
        """End what is provisioned of versions for which nothing is wanted any more."""
        for version in versions:
            if self.of_version(function, version) is not None:
                continue
            self._account.provision(function, version, 0)
            pool = self._pools.pool(function, version)
            if pool is not None:
                pool.provision(0, _tell_nobody)


def _tell_nobody(_: Allocation) -> None:
    """Nobody asks how far it is with nothing."""
