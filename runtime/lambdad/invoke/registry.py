"""All functions, as recorded and as served, and the pools that serve them.

Recorded is what the store has committed; served is what invocations run on. They differ while
an update is in progress: until it has succeeded, the old code answers.
"""

from __future__ import annotations

import asyncio
import math

import structlog

from lambdad.invoke.account import Account
from lambdad.invoke.admission import Admission, processors
from lambdad.invoke.aliases import Aliases
from lambdad.invoke.budget import Budget
from lambdad.invoke.census import PoolCensus
from lambdad.invoke.environ import log_group
from lambdad.invoke.host import Host
from lambdad.invoke.invocation import Invocation, Run
from lambdad.invoke.pool import Means, Pool
from lambdad.invoke.provisioning import Provisioning
from lambdad.model import ids
from lambdad.model.arn import function_arn
from lambdad.model.errors import ApiError, FunctionError, PlatformFault, conflict, not_found
from lambdad.model.function import LATEST, Function, State, UpdateStatus
from lambdad.store.protocol import AlreadyExists, Functions

_log = structlog.get_logger()


class Registry:
    """Functions by name and version. Reading is free; writing waits for the commit.

    Attributes:
        aliases: of all functions.
        provisioning: what is provisioned of all functions.
        budget: the memory of all environments.
        changing: held by who looks at one record before he changes another, of what points to
            versions and of what is set aside for them: so that both stay true together.
    """

    def __init__(
        self,
        store: Functions,
        host: Host,
        account: Account,
        idle_s: float,
        *,
        budget_bytes: float = math.inf,
        ahead: int = 0,
    ) -> None:
        self._store, self._host, self._account = store, host, account
        self.budget = Budget(budget_bytes)
        starts = Admission(processors(), self.budget.is_crowded)
        self._means = Means(host, account, starts, self.budget, idle_s, ahead)
        self._functions: dict[str, dict[str, Function]] = {}  # by name, then by version
        self._last: dict[str, int] = {}
        self._pools: dict[tuple[str, str], Pool] = {}
        self._retired: list[Pool] = []
        self.changing = asyncio.Lock()
        self.aliases = Aliases(store)
        self.provisioning = Provisioning(store, self.aliases, self, account, host.background)

    async def start(self) -> None:
        """Take up what is recorded; what was in progress when the daemon ended goes on."""
        self._last = await self._store.last_versions()
        for name, count in (await self._store.reserved_concurrency()).items():
            self._account.reserve(name, count)
        latest, published = await self._store.functions(), await self._store.versions()
        for function in (*latest, *published):
            self._functions.setdefault(function.name, {})[function.version] = function
            # A version that is Active is served when it is asked for: there may be many.
            if function.version == LATEST or function.state is State.PENDING:
                self._host.background(self._deploy(function))
        self._host.background(self._load_snapshots())
        await self.aliases.start()
        await self.provisioning.start()

    async def _load_snapshots(self) -> None:
        """Take them again, one after the other; who is invoked before does not wait its turn."""
        for versions in list(self._functions.values()):
            for function in list(versions.values()):
                if function.restores and function.state is State.ACTIVE:
                    await self._deploy(function)

    async def stop(self) -> None:
        """End every environment."""
        self.provisioning.stop()
        self._retired += self._pools.values()
        self._pools.clear()
        for pool in list(self._retired):
            pool.kill()
        self._host.stop()
        await self._host.settled()

    async def settled(self) -> None:
        """Wait until no deployment is under way."""
        await self._host.settled()

    def find(self, name: str, version: str = LATEST) -> Function | None:
        return self._functions.get(name, {}).get(version)

    def qualified(self, name: str, qualifier: str | None) -> Function | None:
        """What a qualifier means: a version, or the one that an alias points to."""
        return self.find(name, self.aliases.version(name, qualifier or LATEST))

    def drawn(self, name: str, qualifier: str | None) -> Function | None:
        """The same for one invocation, of which another version may have a share."""
        return self.find(name, self.aliases.drawn(name, qualifier or LATEST))

    def all(self) -> list[Function]:
        """The ``$LATEST`` of each, by name."""
        return [self._functions[name][LATEST] for name in sorted(self._functions)]

    def versions(self, name: str) -> list[Function]:
        """All of a function: ``$LATEST``, then by number."""
        return sorted(self._functions.get(name, {}).values(), key=_number)

    def last_published(self, name: str) -> Function | None:
        """The version with the highest number, if there is any."""
        published = self.versions(name)[1:]
        return published[-1] if published else None

    def reserved(self, name: str) -> int | None:
        """How many invocations of a function may run, if it has a number of its own."""
        return self._account.reserved.get(name)

    def unreserved_without(self, name: str) -> int:
        """What the others leave of the account: what they have reserved or, else, provisioned."""
        provisioned = {one for one, _ in self._account.provisioned}
        others = provisioned - self._account.reserved.keys() - {name}
        aside = sum(self._account.provisioned_of(other) for other in others)
        return self._account.unreserved + (self.reserved(name) or 0) - aside

    def census(self) -> tuple[PoolCensus, ...]:
        """Of each version that has environments, or had any; also of what was replaced."""
        return tuple(pool.census() for pool in [*self._pools.values(), *self._retired])

    def trees(self) -> set[str]:
        """The code that is in use: of what is recorded, and of what still runs."""
        recorded = (one for versions in self._functions.values() for one in versions.values())
        running = (pool.function for pool in [*self._pools.values(), *self._retired])
        return {tree for function in (*recorded, *running) for tree in function.trees}

    def forget_code(self, tree: str) -> None:
        """Let it go, unless it is in use."""
        if tree not in self.trees():
            self._host.forget_code(tree)

    async def create(self, function: Function) -> None:
        """Record a new function; it becomes Active by itself.

        Raises:
            ApiError: ResourceConflictException.
        """
        try:
            await self._store.create_function(function)
        except AlreadyExists:
            raise conflict(f"Function already exist: {function.name}") from None
        self._functions[function.name] = {LATEST: function}
        self._last.pop(function.name, None)
        self._host.background(self._deploy(function))

    async def publish(self, latest: Function, description: str | None = None) -> Function:
        """Record what ``latest`` is as its next version, which never changes again.

        If it is not yet known to run, the version is Pending and becomes Active by itself.

        Raises:
            ApiError: the function was deleted meanwhile.
        """
        number = self._last.get(latest.name, 0) + 1
        self._last[latest.name] = number
        version = latest.changed(
            version=str(number),
            revision_id=ids.request_id(),
            description=latest.description if description is None else description,
            tags={},
        )
        if not _settled(latest) or version.restores:
            version = version.changed(state=State.PENDING, update_status=None)
        if not await self._store.create_version(version):
            raise self._gone(latest.name)
        self._functions[latest.name][version.version] = version
        if version.state is State.PENDING:
            self._host.background(self._deploy(version))
        return version

    async def renew(self, latest: Function) -> None:
        """Give a function a new revision, and nothing else.

        Raises:
            ApiError: somebody else changed it meanwhile.
        """
        if not await self._replace(latest, latest.changed(revision_id=ids.request_id())):
            raise self._in_progress(latest)

    async def change(self, old: Function, new: Function) -> None:
        """Record a change; it is served once its update is Successful.

        Raises:
            ApiError: somebody else changed it meanwhile.
        """
        if not await self._replace(old, new):
            raise self._in_progress(old)
        self._host.background(self._deploy(new))

    async def delete(self, name: str) -> bool:
        """Forget a function; what runs of it ends by itself. False if there is none."""
        if not await self._store.delete_function(name):
            return False
        self._forget(*self._functions.pop(name, {}).values())
        self.aliases.forget(name)
        self.provisioning.forget_function(name)
        self._last.pop(name, None)
        self._account.reserve(name, None)
        return True

    async def reserve(self, name: str, count: int | None) -> None:
        """Record how many invocations of a function may run; None for no such number.

        Raises:
            ApiError: the function was deleted meanwhile.
        """
        if not await self._store.reserve_concurrency(name, count):
            raise self._gone(name)
        self._account.reserve(name, count)

    async def delete_version(self, name: str, version: str) -> bool:
        """Forget a published version; False if there is none."""
        if self.find(name, version) is None or version == LATEST:
            return False
        if not await self._store.delete_version(name, version):
            return False
        self._forget(self._functions[name].pop(version))
        self.provisioning.forget(name, version)
        return True

    def _forget(self, *functions: Function) -> None:
        """What is no longer recorded: nothing new runs of it."""
        for function in functions:
            self._retire(self._pools.pop((function.name, function.version), None))
            self._host.forget_snapshot(function)
        self._clean_up(*functions)

    async def invoke(self, name: str, invocation: Invocation, qualifier: str = LATEST) -> Run:
        """Start a run of a function that is recorded; of an alias, what is drawn for it.

        Raises:
            ApiError: the function is not ready, or throttled.
            FunctionError: its init failed, where that is not tried again.
            PlatformFault: no environment could be had.
        """
        version = self.aliases.drawn(name, qualifier)
        pool = self._pools.get((name, version))
        if pool is None:
            pool = await self._deployed(name, version)
        return await pool.invoke(invocation)

    def pool(self, name: str, version: str) -> Pool | None:
        """The one of a version, if that is served already."""
        return self._pools.get((name, version))

    async def pool_of(self, name: str, version: str) -> Pool:
        """The one of a version, which is served from now on.

        Raises:
            ApiError: there is no such version, or it is not Active.
            PlatformFault: it cannot run here.
        """
        return self.pool(name, version) or await self._deployed(name, version)

    async def _deployed(self, name: str, version: str) -> Pool:
        """The pool of a function that is Active and was not asked for since the daemon started."""
        function = self.find(name, version)
        if function is None:  # Deleted a moment ago.
            raise self._gone(name, version)
        if function.state is not State.ACTIVE:
            raise self.not_ready(function)
        await self._host.make_ready(function)
        self._serve(function)
        pool = self._pools.get((name, version))
        if pool is None:  # Changed or deleted meanwhile.
            raise self.not_ready(function)
        return pool

    def _gone(self, name: str, version: str | None = None) -> ApiError:
        arn = function_arn(self._host.region, self._host.account, name, version)
        return not_found(f"Function not found: {arn}")

    def _in_progress(self, function: Function) -> ApiError:
        arn = function_arn(self._host.region, self._host.account, function.name)
        return conflict(
            "The operation cannot be performed at this time. "
            f"An update is in progress for resource: {arn}"
        )

    def not_ready(self, function: Function) -> ApiError:
        return conflict(
            "The operation cannot be performed at this time. "
            f"The function is currently in the following state: {function.state}"
        )

    async def _deploy(self, function: Function) -> None:
        """See that it can run here, record so, and serve it."""
        settled = _settled(function)
        try:
            await self._host.make_ready(function)
            doubt = await self._host.snapshot(function)
        except (ApiError, FunctionError, PlatformFault) as error:
            reason = error.text if isinstance(error, FunctionError) else str(error)
            _log.warning("cannot deploy", function=function.name, error=reason)
            if not settled:  # One that ran before is tried again when it is invoked.
                await self._replace(function, self._renewed(_failed(function, reason)))
            return
        if self.find(function.name, function.version) is not function:
            self._host.forget_snapshot(function)  # It may have been made for what is no more.
            return
        if settled:
            self._serve(function)
            return
        ready = function.changed(
            state=State.ACTIVE, update_status=UpdateStatus.SUCCESSFUL, reason=doubt
        )
        ready = self._renewed(ready)
        if await self._replace(function, ready):
            self._serve(ready)

    def _renewed(self, function: Function) -> Function:
        """With a new revision; a version keeps the one that it was published with."""
        if function.version != LATEST:
            return function
        return function.changed(revision_id=ids.request_id())

    def _serve(self, function: Function) -> None:
        """From now on this answers, if it still is what is recorded; the old pool runs dry."""
        place = (function.name, function.version)
        if self.find(*place) is not function:
            return
        pool = self._pools.get(place)
        if pool is None or pool.function is not function:
            self._pools[place] = Pool(function, self._means, self._emptied)
            self._retire(pool, self._pools[place])

    async def _replace(self, old: Function, new: Function) -> bool:
        """Record ``new`` in place of ``old``, unless that is no longer what is recorded."""
        if new.version == LATEST:
            replaced = await self._store.replace_function(new, expected_revision=old.revision_id)
        else:
            replaced = await self._store.replace_version(new)
        if replaced:
            self._functions[new.name][new.version] = new
            for tree in set(old.trees) - set(new.trees):
                self.forget_code(tree)
        return replaced

    def _retire(self, pool: Pool | None, successor: Pool | None = None) -> None:
        if pool is not None:
            self._retired.append(pool)
            pool.retire(successor)

    def _emptied(self, pool: Pool) -> None:
        """Nothing of a retired pool is left."""
        if pool in self._retired:
            self._retired.remove(pool)
        self._host.forget_snapshot(pool.function)  # Who waited till now may have had one made.
        self._clean_up(pool.function)

    def _clean_up(self, *functions: Function) -> None:
        """Keep of them only what is still used; a log goes with the last of its name."""
        used = self.trees()
        for tree in {tree for function in functions for tree in function.trees} - used:
            self._host.forget_code(tree)
        for name, group in {(function.name, log_group(function)) for function in functions}:
            self._clean_up_log(name, group)

    def _clean_up_log(self, name: str, group: str) -> None:
        running = (pool.function for pool in [*self._pools.values(), *self._retired])
        if any(log_group(one) == group for one in running):
            return
        self._host.logs.close(group)
        recorded = (one for versions in self._functions.values() for one in versions.values())
        if name not in self._functions and all(log_group(one) != group for one in recorded):
            self._host.logs.remove(group)


def _number(function: Function) -> int:
    """The number of a version; ``$LATEST`` comes before all."""
    return 0 if function.version == LATEST else int(function.version)


def _settled(function: Function) -> bool:
    """Whether it has run here before, or could have."""
    return (function.state, function.update_status) == (State.ACTIVE, UpdateStatus.SUCCESSFUL)


def _failed(function: Function, reason: str) -> Function:
    """The function, when it cannot run here: a new one is Failed, an old one's update is."""
    return function.changed(
        state=State.FAILED if function.state is State.PENDING else function.state,
        update_status=UpdateStatus.FAILED,
        reason=reason,
    )
