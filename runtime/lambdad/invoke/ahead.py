"""Environments that start ahead of need: of a published version with a snapshot, where each is
cheap and the first invocation need not wait for it.

Not what they start from, and not when there is room for one: ``pool_policy`` says that.
"""

from __future__ import annotations

from collections import deque

from lambdad.invoke.environment import Environment
from lambdad.invoke.pool_policy import arrivals_remembered, is_frequent
from lambdad.model.clock import Clock
from lambdad.model.function import Function


class Ahead:
    """Those of a pool that nobody has used yet.

    Args:
        function: its own; of one without a snapshot there are none.
        count: how many there may be.
        clock: tells how often they are used.

    Attributes:
        applies: whether there may be any.
        environments: those that stand or start.
    """

    def __init__(self, function: Function, count: int, clock: Clock) -> None:
        self.applies = function.restores and count > 0
        self.environments: set[Environment] = set()
        self._count, self._clock = count, clock
        self._made, self._useless = clock.monotonic(), False
        self._arrivals: deque[float] = deque(maxlen=arrivals_remembered)

    def arrived(self) -> None:
        """An invocation has come."""
        self._arrivals.append(self._clock.monotonic())

    @property
    def wanted(self) -> int:
        """How many there are to be now."""
        if not self.applies or self._useless:
            return 0
        frequent = is_frequent(self._arrivals, self._made, self._clock.monotonic())
        return self._count if frequent else 0

    def used(self, environment: Environment) -> bool:
        """It has its first event; whether it was one of these."""
        was = environment in self.environments
        self.environments.discard(environment)
        return was

    def failed(self, environment: Environment) -> None:
        """It did not come up, or not for long: no more of them until one of this version does."""
        self._useless |= environment in self.environments
        self.environments.discard(environment)

    def succeeded(self) -> None:
        """One of this version has come up."""
        self._useless = False
