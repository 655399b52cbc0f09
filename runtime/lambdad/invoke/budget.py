"""The memory of the host that environments may take, and who goes when it is needed.

Not a limit: the kernel holds each environment to its own. This sees that all of them together
leave the host room. What each is charged is asked for now and then, a few at a time and never
on the way of an invocation; what has just been started is counted by what others like it take.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from lambdad.invoke import keep_alive
from lambdad.invoke.environment import Environment
from lambdad.invoke.keep_alive import Candidate
from lambdad.invoke.lifecycle import State
from lambdad.invoke.pool_policy import Room
from lambdad.model import limits

# To ask for one takes some 10 us.
sample_every_s, samples_at_a_time = 0.25, 64

_FROZEN = frozenset({State.IDLE, State.SNAPSHOT})


class Keeps(Protocol):
    """The idle ones of a pool, as the budget sees them."""

    def evictable(self) -> Iterator[Candidate[Environment]]:
        """What may go for others, and what it is worth to keep it."""


class Budget:
    """What all environments are charged.

    Args:
        limit_bytes: how much that may be; infinite for as much as there is.
        environments_max: how many there may be.

    Attributes:
        charged_bytes: what it is, as far as is known. Who is on the way out is not counted, but
            see ``is_crowded``.
        clock: Greedy-Dual's, see ``keep_alive``.
        keepers: of all pools.
    """

    def __init__(
        self, limit_bytes: float, environments_max: int = limits.environments_kept_max
    ) -> None:
        self.limit_bytes, self._environments_max = limit_bytes, environments_max
        self.charged_bytes, self.clock = 0, 0.0
        self.keepers: set[Keeps] = set()
        self._loop = asyncio.get_running_loop()
        self._charged: dict[Environment, int] = {}
        self._ending: dict[Environment, int] = {}
        self._ending_bytes = 0
        self._uses: dict[Environment, int] = {}  # of those that were frozen at the last look
        self._turns: deque[Environment] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def charge(self, environment: Environment, expected_bytes: int) -> None:
        """Count one that starts, until it is known better."""
        self._charged[environment] = expected_bytes
        self.charged_bytes += expected_bytes
        self._turns.append(environment)
        self._wait()

    def ends(self, environment: Environment) -> None:
        """It is on its way out: there is room for another, but what it holds it still holds."""
        held_bytes = self._forget(environment)
        self._ending[environment] = held_bytes
        self._ending_bytes += held_bytes

    def release(self, environment: Environment) -> None:
        """Nothing of it is left."""
        self._forget(environment)
        self._ending_bytes -= self._ending.pop(environment, 0)

    def _forget(self, environment: Environment) -> int:
        self._uses.pop(environment, None)
        held_bytes = self._charged.pop(environment, 0)
        self.charged_bytes -= held_bytes
        return held_bytes

    def is_crowded(self) -> bool:
        """Whether the next is to wait until something that is on its way out has gone.

        Without that, a host whose memory is used up would end and start environments faster
        than the kernel can take them away.
        """
        return bool(self._ending) and (
            self.charged_bytes + self._ending_bytes > self.limit_bytes
            or len(self._charged) + len(self._ending) > self._environments_max
        )

    def bytes_of(self, environment: Environment) -> int:
        """What it was charged when it was last looked at."""
        return self._charged.get(environment) or self._ending.get(environment, 0)

    def sample(self, environment: Environment) -> int:
        """Look what it is charged now."""
        if environment not in self._charged:
            return 0
        used_bytes = environment.memory_bytes()
        self.charged_bytes += used_bytes - self._charged[environment]
        self._charged[environment] = used_bytes
        self._uses.pop(environment, None)
        if environment.state in _FROZEN:
            self._uses[environment] = environment.uses
        return used_bytes

    def room(self, needed_bytes: int) -> Room:
        """Whether one more of this size may come; alone it may, however large it is."""
        over_bytes, over = self._over(needed_bytes)
        if (over_bytes <= 0 and over <= 0) or not self._charged:
            return Room.FREE
        victims = self._victims(over_bytes, over)
        freed_bytes = sum(victim.memory_bytes for victim in victims)
        enough = freed_bytes >= over_bytes and len(victims) >= over
        enough = enough or len(victims) == len(self._charged)
        return Room.EVICTABLE if enough else Room.NONE

    def make_room(self, needed_bytes: int = 0) -> None:
        """End idle environments, of whichever pool, as many as it takes."""
        over_bytes, over = self._over(needed_bytes)
        if over_bytes <= 0 and over <= 0:
            return
        for victim in self._victims(over_bytes, over):
            self.clock = max(self.clock, victim.priority)
            victim.kept.retire()

    def _over(self, needed_bytes: int) -> tuple[float, int]:
        """By how much memory and how many environments it would be too much with one more."""
        one = 1 if needed_bytes else 0
        return (
            self.charged_bytes + needed_bytes - self.limit_bytes,
            len(self._charged) + one - self._environments_max,
        )

    def _victims(self, needed_bytes: float, needed: int) -> list[Candidate[Environment]]:
        candidates = (one for keeper in self.keepers for one in keeper.evictable())
        return keep_alive.victims(candidates, needed_bytes, needed)

    def _wait(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(sample_every_s, self._look_around)

    def _look_around(self) -> None:
        """Look at some, in turn; those that have grown may be too much, too."""
        self._timer = None
        for _ in range(min(samples_at_a_time, len(self._turns))):
            environment = self._turns.popleft()
            if environment in self._charged:
                self._turns.append(environment)
                if self._may_have_changed(environment):
                    self.sample(environment)
        self.make_room()
        if self._turns:
            self._wait()

    def _may_have_changed(self, environment: Environment) -> bool:
        """Whoever has been frozen ever since has not."""
        return (
            environment.state not in _FROZEN
            or self._uses.get(environment) != environment.uses
            or environment.function.max_concurrency is not None
        )
