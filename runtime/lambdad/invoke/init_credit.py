"""The processor time that an environment may use before its cap takes hold.

AWS lends the init phase more than a small function pays for. A forked runtime uses little of
it, so what is left carries the environment through its first work: until it has used
``init_phase_cpu_s`` it may have a whole processor, then what its memory buys. Its share under
contention is its own from the start.
"""

from __future__ import annotations

import asyncio

from lambdad.model import limits
from lambdad_sandbox.cgroup import Cgroup

# A little that is left of the credit may last: who sleeps uses none, and is not watched closer.
_LOOKS_APART_S = 0.05


class InitCredit:
    """Lifts and lowers the cap of one environment.

    Time is counted as if a processor had been used all along; only when that says the credit is
    spent is the kernel asked how much it really was.

    Args:
        cgroup: of the environment; its cap is that of a blank sandbox, ``init_phase_cpus``.
        cpus: what its memory buys.
    """

    def __init__(self, cgroup: Cgroup, cpus: float) -> None:
        self._cgroup, self._cpus = cgroup, cpus
        self._loop = asyncio.get_running_loop()
        self._left_s = limits.init_phase_cpu_s if cpus < limits.init_phase_cpus else 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._cap = limits.init_phase_cpus
        self.lift()

    def lift(self) -> None:
        """Take the cap off: init is about to run, or what runs is to die soon."""
        self._cap_at(max(self._cpus, limits.init_phase_cpus))

    def init_took(self, took_s: float) -> None:
        """Init is over, after so many seconds."""
        self._use(took_s)

    def working(self) -> None:
        """An event is out."""
        if self._left_s > 0:
            look_in_s = max(self._left_s, _LOOKS_APART_S)
            self._timer = self._loop.call_later(look_in_s, self._spent)

    def worked(self, took_s: float) -> None:
        """It is answered, after so many seconds."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._use(took_s)

    def _use(self, took_s: float) -> None:
        self._left_s -= took_s
        if self._left_s <= 0:
            self._settle()

    def _settle(self) -> None:
        """By the count it is spent: ask, unless the cap stays, and put that on if it is so."""
        if self._cap == self._cpus:
            return
        used_s = self._cgroup.cpu_usage_us() / 1e6
        self._left_s = max(0.0, limits.init_phase_cpu_s - used_s)
        if not self._left_s:
            self._cap_at(self._cpus)

    def _cap_at(self, cpus: float) -> None:
        """Say so to the kernel only if it is news: it takes 0.2 ms over each."""
        if cpus != self._cap:
            self._cgroup.cap_cpus(cpus)
            self._cap = cpus

    def _spent(self) -> None:
        self._timer = None
        self._settle()
        self.working()
