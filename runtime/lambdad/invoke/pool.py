"""The environments of one function, kept warm: asks the policy, does what it says."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress

from lambdad.invoke import pool_policy
from lambdad.invoke.environment import Environment
from lambdad.invoke.host import Host
from lambdad.invoke.invocation import Invocation, Run
from lambdad.invoke.lifecycle import State
from lambdad.invoke.managed import Managed
from lambdad.invoke.on_demand import OnDemand
from lambdad.invoke.runtime_state import Refused
from lambdad.model.errors import ApiError, PlatformFault
from lambdad.model.function import Function


class Account:
    """The concurrency of the account: how many invocations run, and how many may.

    What a function has reserved is its own, over all its versions; the others share the rest.
    Source: https://docs.aws.amazon.com/lambda/latest/dg/configuration-concurrency.html
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.reserved: dict[str, int] = {}
        self._running: Counter[str] = Counter()  # by name
        self._unreserved_running = 0

    @property
    def running(self) -> int:
        """All that run."""
        return self._running.total()

    @property
    def unreserved(self) -> int:
        """What is left for functions that have reserved nothing."""
        return self.limit - sum(self.reserved.values())

    def reserve(self, name: str, count: int | None) -> None:
        """Let a function have so many for itself, or share with the others; from now on."""
        self.reserved.pop(name, None)
        if count is not None:
            self.reserved[name] = count
        self._unreserved_running = sum(
            running for one, running in self._running.items() if one not in self.reserved
        )

    def begin(self, name: str) -> None:
        self._count(name, 1)

    def end(self, name: str) -> None:
        self._count(name, -1)

    def running_beside(self, name: str) -> int:
        """How many run of what this function would be one more of."""
        return self._running[name] if name in self.reserved else self._unreserved_running

    def _count(self, name: str, change: int) -> None:
        self._running[name] += change
        if not self._running[name]:
            del self._running[name]
        if name not in self.reserved:
            self._unreserved_running += change


class Pool:
    """One per function and revision: what runs here never changes.

    Args:
        function: what its environments run.
        host: what they are made with.
        account: shared with every other pool.
        idle_s: how long an environment is kept without work.
        emptied: told once, when it is retired and nothing of it is left.
    """

    def __init__(
        self,
        function: Function,
        host: Host,
        account: Account,
        idle_s: float,
        emptied: Callable[[Pool], None],
    ) -> None:
        self.function, self._host, self._account = function, host, account
        self._idle_s, self._emptied = idle_s, emptied
        self._loop = asyncio.get_running_loop()
        # Those that rest or have a place, the last used last. One with several places may rest
        # and have none, or have some and not rest.
        self._idle: dict[Environment, None] = {}
        self._all: set[Environment] = set()
        self._finishing = 0
        self._waiting: deque[asyncio.Future[Environment | None]] = deque()
        self._expiry: asyncio.TimerHandle | None = None
        self._retired = self._killed = False

    async def invoke(self, invocation: Invocation) -> Run:
        """Start a run in an environment of its own.

        Raises:
            ApiError: TooManyRequestsException.
            FunctionError: its init failed, where that is not tried again.
            PlatformFault: no environment could be had.
        """
        account, name = self._account, self.function.name
        reserved = account.reserved.get(name)
        view = pool_policy.View(
            idle=len(self._idle),
            finishing=self._finishing - len(self._waiting),
            running=account.running_beside(name),
            limit=account.unreserved if reserved is None else reserved,
            reserved=reserved is not None,
        )
        match pool_policy.on_arrival(view):
            case pool_policy.Throttle(reason):
                raise ApiError(
                    "TooManyRequestsException",
                    "Rate Exceeded.",
                    Reason=reason,
                    Type="User",
                    retryAfterSeconds="1",
                )
            case decision:
                account.begin(name)
        try:
            return await self._run(decision, invocation)
        except BaseException:
            account.end(name)
            raise

    async def _environment(self, decision: pool_policy.Decision) -> Environment:
        """One that can be leased, as the policy decided."""
        match decision:
            case pool_policy.Lease():
                return self._last_used() or await self._spawn()
            case pool_policy.Await():
                return await self._next_free() or await self._spawn()
        return await self._spawn()

    def _last_used(self) -> Environment | None:
        """Of those that can be leased."""
        for environment in reversed(self._idle):
            if environment.can_be_leased:
                del self._idle[environment]
                return environment
        return None

    def retire(self) -> None:
        """Take no more work; idle environments end now, busy ones when they are done."""
        self._retired = True
        if self._expiry is not None:
            self._expiry.cancel()
        for environment in self._resting():
            environment.retire()
        self._idle.clear()
        self._look_if_empty()

    def kill(self) -> None:
        """End every environment, busy or not, and start no more."""
        self._retired = self._killed = True
        while self._waiting:
            self._answer_waiting(None)
        for environment in list(self._all):
            environment.retire()
        self._look_if_empty()

    async def _run(self, decision: pool_policy.Decision, invocation: Invocation) -> Run:
        """Have it run; an environment that is lost or full at the last moment is not the only one.

        Raises:
            PlatformFault: all are.
        """
        for _ in range(pool_policy.attempts_max):
            environment = await self._environment(decision)
            if environment.can_be_leased:  # It may have died since it was free.
                with suppress(Refused):
                    return self._run_in(environment, invocation)
            decision = pool_policy.Spawn()
        raise PlatformFault("cannot run it: its environments end before they can be used")

    def _run_in(self, environment: Environment, invocation: Invocation) -> Run:
        run = environment.invoke(invocation)
        run.finished.add_done_callback(self._finished)
        if environment.can_be_leased:  # It has another place.
            self.freed(environment)
        return run

    def _finished(self, _: asyncio.Future[bytes]) -> None:
        self._account.end(self.function.name)

    async def _spawn(self) -> Environment:
        if self._killed:
            raise PlatformFault("cannot run it: the daemon is shutting down")
        kind = OnDemand if self.function.max_concurrency is None else Managed
        environment = kind(self.function, self._host, self)
        self._all.add(environment)
        start = asyncio.ensure_future(environment.start())
        try:
            await asyncio.shield(start)
        except asyncio.CancelledError:
            # Whoever asked has gone; the next who asks may have it.
            start.add_done_callback(lambda start: self._started_for_nobody(environment, start))
            raise
        return environment

    def _started_for_nobody(self, environment: Environment, start: asyncio.Task[None]) -> None:
        if not start.cancelled() and start.exception() is None:
            self._nobodys(environment)

    def _nobodys(self, environment: Environment) -> None:
        if environment.can_be_leased:
            environment.rest()

    async def _next_free(self) -> Environment | None:
        """The next environment that becomes free; none when that takes too long."""
        waiting: asyncio.Future[Environment | None] = self._loop.create_future()
        self._waiting.append(waiting)
        timer = self._loop.call_later(pool_policy.finishing_wait_s, self._give_up, waiting)
        try:
            return await waiting
        except asyncio.CancelledError:
            if waiting.done() and not waiting.cancelled() and (given := waiting.result()):
                self._nobodys(given)
            raise
        finally:
            timer.cancel()
            if waiting in self._waiting:
                self._waiting.remove(waiting)

    def _give_up(self, waiting: asyncio.Future[Environment | None]) -> None:
        if not waiting.done():
            waiting.set_result(None)

    def _answer_waiting(self, environment: Environment | None) -> bool:
        """Give it to who has waited longest; false if nobody does any more."""
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(environment)
                return True
        return False

    def answered(self, environment: Environment) -> None:
        environment.finishing = True
        self._finishing += 1

    def freed(self, environment: Environment) -> None:
        self._not_finishing(environment)
        if self._answer_waiting(environment):
            return
        if self._retired:
            if environment.state is not State.INVOKE:
                environment.retire()
        else:
            self._idle[environment] = None
            if self._expiry is None:
                self._expiry = self._loop.call_later(self._idle_s, self._expire)

    def withdrawn(self, environment: Environment) -> None:
        self._idle.pop(environment, None)

    def gone(self, environment: Environment) -> None:
        self._not_finishing(environment)
        self._all.discard(environment)
        self._look_if_empty()

    def _look_if_empty(self) -> None:
        if self._retired and not self._all and not self._waiting:
            self._emptied(self)

    def _not_finishing(self, environment: Environment) -> None:
        if environment.finishing:
            environment.finishing = False
            self._finishing -= 1

    def _resting(self) -> list[Environment]:
        """Those without an event, longest idle first."""
        resting = (one for one in self._idle if one.state is not State.INVOKE)
        return sorted(resting, key=lambda environment: environment.idle_since)

    def _expire(self) -> None:
        now = self._host.clock.monotonic()
        resting = self._resting()
        since = [environment.idle_since for environment in resting]
        expired = pool_policy.expired(since, now, self._idle_s)
        for environment in resting[:expired]:
            environment.retire()
        self._expiry = None
        if resting[expired:]:
            delay_s = since[expired] + self._idle_s - now
            self._expiry = self._loop.call_later(max(delay_s, 0.01), self._expire)
