"""All functions, as recorded and as served, and the pools that serve them.

Recorded is what the store has committed; served is what invocations run on. They differ while
an update is in progress: until it has succeeded, the old code answers.
"""

from __future__ import annotations

import structlog

from lambdad.invoke.host import Host
from lambdad.invoke.invocation import Invocation, Run
from lambdad.invoke.pool import Account, Pool
from lambdad.model import ids
from lambdad.model.arn import function_arn
from lambdad.model.errors import ApiError, PlatformFault, conflict
from lambdad.model.function import Function, State, UpdateStatus
from lambdad.store.protocol import AlreadyExists, Functions

_log = structlog.get_logger()


class Registry:
    """Functions by name. Reading is free; writing waits for the commit."""

    def __init__(self, store: Functions, host: Host, account: Account, idle_s: float) -> None:
        self._store, self._host, self._account, self._idle_s = store, host, account, idle_s
        self._functions: dict[str, Function] = {}
        self._pools: dict[str, Pool] = {}
        self._retired: list[Pool] = []

    async def start(self) -> None:
        """Take up what is recorded; what was in progress when the daemon ended goes on."""
        for function in await self._store.functions():
            self._functions[function.name] = function
            self._host.background(self._deploy(function))

    async def stop(self) -> None:
        """End every environment."""
        self._retired += self._pools.values()
        self._pools.clear()
        for pool in list(self._retired):
            pool.kill()
        self._host.spares.stop()
        await self._host.settled()

    async def settled(self) -> None:
        """Wait until no deployment is under way."""
        await self._host.settled()

    def find(self, name: str) -> Function | None:
        return self._functions.get(name)

    def all(self) -> list[Function]:
        """By name."""
        return sorted(self._functions.values(), key=lambda function: function.name)

    def trees(self) -> set[str]:
        """The code that is in use: of what is recorded, and of what still runs."""
        running = (pool.function for pool in [*self._pools.values(), *self._retired])
        return {function.tree for function in (*self._functions.values(), *running)}

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
        self._functions[function.name] = function
        self._host.background(self._deploy(function))

    async def change(self, old: Function, new: Function) -> None:
        """Record a change; it is served once its update is Successful.

        Raises:
            ApiError: somebody else changed it meanwhile.
        """
        if not await self._replace(old, new):
            arn = function_arn(self._host.region, self._host.account, old.name)
            raise conflict(
                "The operation cannot be performed at this time. "
                f"An update is in progress for resource: {arn}"
            )
        self._host.background(self._deploy(new))

    async def delete(self, name: str) -> bool:
        """Forget a function; what runs of it ends by itself. False if there is none."""
        if not await self._store.delete_function(name):
            return False
        function = self._functions.pop(name, None)
        self._retire(self._pools.pop(name, None))
        if function is not None:
            self._clean_up(function)
        return True

    async def invoke(self, name: str, invocation: Invocation) -> Run:
        """Start a run.

        Raises:
            ApiError: the function is not ready, or throttled.
            PlatformFault: no environment could be had.
        """
        pool = self._pools.get(name)
        if pool is None:
            pool = await self._deployed(name)
        return await pool.invoke(invocation)

    async def _deployed(self, name: str) -> Pool:
        """The pool of a function that is Active, when its daemon has just been started again."""
        function = self._functions[name]
        if function.state is not State.ACTIVE:
            raise self._not_ready(function)
        await self._host.make_ready(function)
        self._serve(function)
        pool = self._pools.get(name)
        if pool is None:  # Changed or deleted meanwhile.
            raise self._not_ready(function)
        return pool

    def _not_ready(self, function: Function) -> ApiError:
        return conflict(
            "The operation cannot be performed at this time. "
            f"The function is currently in the following state: {function.state}"
        )

    async def _deploy(self, function: Function) -> None:
        """See that it can run here, record so, and serve it."""
        settled = (function.state, function.update_status) == (
            State.ACTIVE,
            UpdateStatus.SUCCESSFUL,
        )
        try:
            await self._host.make_ready(function)
        except (ApiError, PlatformFault) as error:
            _log.warning("cannot deploy", function=function.name, error=str(error))
            if not settled:  # One that ran before is tried again when it is invoked.
                await self._replace(function, _failed(function, str(error)))
            return
        if settled:
            self._serve(function)
            return
        ready = function.changed(
            state=State.ACTIVE,
            update_status=UpdateStatus.SUCCESSFUL,
            reason=None,
            revision_id=ids.request_id(),
        )
        if await self._replace(function, ready):
            self._serve(ready)

    def _serve(self, function: Function) -> None:
        """From now on this answers, if it still is what is recorded; the old pool runs dry."""
        pool = self._pools.get(function.name)
        if self._functions.get(function.name) is not function:
            return
        if pool is None or pool.function is not function:
            self._pools[function.name] = Pool(
                function, self._host, self._account, self._idle_s, self._emptied
            )
            self._retire(pool)

    async def _replace(self, old: Function, new: Function) -> bool:
        replaced = await self._store.replace_function(new, expected_revision=old.revision_id)
        if replaced:
            self._functions[new.name] = new
            if old.tree != new.tree:
                self.forget_code(old.tree)
        return replaced

    def _retire(self, pool: Pool | None) -> None:
        if pool is not None:
            self._retired.append(pool)
            pool.retire()

    def _emptied(self, pool: Pool) -> None:
        """Nothing of a retired pool is left."""
        if pool in self._retired:
            self._retired.remove(pool)
        self._clean_up(pool.function)

    def _clean_up(self, function: Function) -> None:
        """Keep of a function only what is still used; its log goes with the last of its name."""
        name = function.name
        self.forget_code(function.tree)
        if name not in self._pools and all(pool.function.name != name for pool in self._retired):
            self._host.logs.close(name)
            if name not in self._functions:
                self._host.logs.remove(name)


def _failed(function: Function, reason: str) -> Function:
    """The function, when it cannot run here: a new one is Failed, an old one's update is."""
    return function.changed(
        state=State.FAILED if function.state is State.PENDING else function.state,
        update_status=UpdateStatus.FAILED,
        reason=reason,
        revision_id=ids.request_id(),
    )
