"""What is measured of one environment: for the pool, which decides by it whom it keeps."""

from __future__ import annotations

from lambdad.invoke.sandbox import Sandbox
from lambdad.model.clock import Clock


class Figures:
    """Those of one environment.

    Attributes:
        since: when it was asked for, by the monotonic clock.
        start_s: how long it took until it could be leased; 0 before.
        uses: how many invocations it has been given.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.since, self.start_s, self.uses = clock.monotonic(), 0.0, 0
        self._sandbox: Sandbox | None = None
        self._cpu_before_us = 0

    def _has(self, sandbox: Sandbox) -> None:
        """Its sandbox. What was done to have that ready before anybody asked is not its own."""
        self._sandbox = sandbox
        self._cpu_before_us = self._asked("cpu_usage_us")

    def memory_bytes(self) -> int:
        """What it is charged now; nothing before it stands and after it is gone."""
        return self._asked("memory_bytes")

    def cpu_s(self) -> float:
        """The processor time that it has used, for its own start and since."""
        return max(0, self._asked("cpu_usage_us") - self._cpu_before_us) / 1e6

    def _asked(self, figure: str) -> int:
        if self._sandbox is None:
            return 0
        try:
            value: int = getattr(self._sandbox.cgroup, figure)()
        except OSError:  # It has been removed.
            return 0
        return value

    def _stood(self) -> None:
        """It can be leased for the first time."""
        self.start_s = self._clock.monotonic() - self.since
