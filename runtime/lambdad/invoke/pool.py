"""The environments of one function, kept warm: asks the policy, does what it says."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from lambdad.invoke import pool_policy
from lambdad.invoke.environment import Environment
from lambdad.invoke.host import Host
from lambdad.invoke.invocation import Invocation, Run
from lambdad.model.errors import ApiError, PlatformFault
from lambdad.model.function import Function


class Account:
    """The concurrency of the account: how many invocations run, and how many may."""

    def __init__(self, limit: int) -> None:
        self.limit, self.running = limit, 0


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
        self._idle: deque[Environment] = deque()  # the last used stands last
        self._all: set[Environment] = set()
        self._finishing = 0
        self._waiting: deque[asyncio.Future[Environment | None]] = deque()
        self._expiry: asyncio.TimerHandle | None = None
        self._retired = self._killed = False

    async def invoke(self, invocation: Invocation) -> Run:
        """Start a run in an environment of its own.

        Raises:
            ApiError: TooManyRequestsException.
            PlatformFault: no environment could be had.
        """
        view = pool_policy.View(
            idle=len(self._idle),
            finishing=self._finishing - len(self._waiting),
            running=self._account.running,
            limit=self._account.limit,
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
                self._account.running += 1
        try:
            return self._run(await self._environment(decision), invocation)
        except BaseException:
            self._account.running -= 1
            raise

    async def _environment(self, decision: pool_policy.Decision) -> Environment:
        """One that can be leased, as the policy decided."""
        match decision:
            case pool_policy.Lease():
                return self._idle.pop()
            case pool_policy.Await():
                environment = await self._next_free()
                # It may have died between the word that it is free and this moment.
                if environment is not None and environment.can_be_leased:
                    return environment
        return await self._spawn()

    def retire(self) -> None:
        """Take no more work; idle environments end now, busy ones when they are done."""
        self._retired = True
        if self._expiry is not None:
            self._expiry.cancel()
        while self._idle:
            self._idle.pop().retire()
        self._look_if_empty()

    def kill(self) -> None:
        """End every environment, busy or not, and start no more."""
        self._retired = self._killed = True
        while self._waiting:
            self._answer_waiting(None)
        for environment in list(self._all):
            environment.retire()
        self._look_if_empty()

    def _run(self, environment: Environment, invocation: Invocation) -> Run:
        run = environment.invoke(invocation)
        run.finished.add_done_callback(self._finished)
        return run

    def _finished(self, _: asyncio.Future[bytes]) -> None:
        self._account.running -= 1

    async def _spawn(self) -> Environment:
        if self._killed:
            raise PlatformFault("cannot run it: the daemon is shutting down")
        environment = Environment(self.function, self._host, self)
        self._all.add(environment)
        start = asyncio.ensure_future(environment.start())
        try:
            await asyncio.shield(start)
        except asyncio.CancelledError:
            # Whoever asked has gone; the next who asks may have it.
            start.add_done_callback(lambda _: self._nobodys(environment))
            raise
        return environment

    def _nobodys(self, environment: Environment) -> None:
        if environment.can_be_leased:
            self.freed(environment)

    async def _next_free(self) -> Environment | None:
        """The next environment that becomes free; none when that takes too long."""
        waiting: asyncio.Future[Environment | None] = self._loop.create_future()
        self._waiting.append(waiting)
        timer = self._loop.call_later(pool_policy.finishing_wait_s, self._give_up, waiting)
        try:
            return await waiting
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
            environment.retire()
        else:
            self._idle.append(environment)
            if self._expiry is None:
                self._expiry = self._loop.call_later(self._idle_s, self._expire)

    def withdrawn(self, environment: Environment) -> None:
        if environment in self._idle:
            self._idle.remove(environment)

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

    def _expire(self) -> None:
        now = self._host.clock.monotonic()
        since = [environment.idle_since for environment in self._idle]
        for _ in range(pool_policy.expired(since, now, self._idle_s)):
            self._idle.popleft().retire()
        self._expiry = None
        if self._idle:
            delay_s = self._idle[0].idle_since + self._idle_s - now
            self._expiry = self._loop.call_later(max(delay_s, 0.01), self._expire)
