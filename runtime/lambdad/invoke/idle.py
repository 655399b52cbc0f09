"""The environments of a pool that have nothing to do: how long they stay, and what they are worth.

Not those that are provisioned: those stay for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator

from lambdad.invoke import keep_alive, pool_policy
from lambdad.invoke.budget import Budget
from lambdad.invoke.environment import Environment
from lambdad.invoke.keep_alive import Candidate
from lambdad.invoke.lifecycle import State
from lambdad.model.clock import Clock


class Idle:
    """See above.

    Args:
        budget: knows what they hold.
        clock: tells for how long.
        idle_s: how long one is kept.
        wanted: those that are kept longer, for now.

    Attributes:
        environments: those that rest or have a place, the last used last, with Greedy-Dual's
            clock at that time; before them those that were never used. One with several places
            may rest and have none, or have some and not rest.
    """

    def __init__(
        self,
        budget: Budget,
        clock: Clock,
        idle_s: float,
        wanted: Callable[[], Collection[Environment]],
    ) -> None:
        self.environments: dict[Environment, float] = {}
        self._budget, self._clock, self._idle_s, self._wanted = budget, clock, idle_s, wanted
        self._loop = asyncio.get_running_loop()
        self._expiry: asyncio.TimerHandle | None = None
        self._review: asyncio.TimerHandle | None = None  # of those that are wanted

    def add(self, environment: Environment) -> None:
        """It was used last; or never, and then those that were are leased before it."""
        later = {} if environment.uses else dict(self.environments)
        for other in later:
            del self.environments[other]
        self.environments[environment] = self._budget.clock
        self.environments.update(later)
        if self._expiry is None:
            self._expiry = self._loop.call_later(self._idle_s, self._expire)

    def end(self) -> None:
        """Those that rest end now, and none is leased any more."""
        self._cancel_timers()
        for environment in self._resting():
            environment.retire()
        self.environments.clear()

    def evictable(self) -> Iterator[Candidate[Environment]]:
        """What may go for others, and what it is worth to keep it."""
        for environment, clock in self.environments.items():
            if environment.state is not State.INVOKE:
                held_bytes = self._budget.bytes_of(environment)
                worth = keep_alive.priority(
                    clock, environment.uses, environment.start_s, held_bytes
                )
                yield Candidate(worth, held_bytes, environment)

    def _resting(self) -> list[Environment]:
        """Those without an event, longest idle first."""
        resting = (one for one in self.environments if one.state is not State.INVOKE)
        return sorted(resting, key=lambda environment: environment.idle_since)

    def _cancel_timers(self) -> None:
        for timer in (self._expiry, self._review):
            if timer is not None:
                timer.cancel()
        self._expiry = self._review = None

    def _expire(self) -> None:
        self._cancel_timers()
        now, wanted = self._clock.monotonic(), self._wanted()
        resting = [one for one in self._resting() if one not in wanted]
        since = [environment.idle_since for environment in resting]
        expired = pool_policy.expired(since, now, self._idle_s)
        for environment in resting[:expired]:
            environment.retire()
        if resting[expired:]:
            delay_s = max(since[expired] + self._idle_s - now, 0.01)
            self._expiry = self._loop.call_later(delay_s, self._expire)
        if wanted:
            self._review = self._loop.call_later(pool_policy.frequent_s, self._expire)
