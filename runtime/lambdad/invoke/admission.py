"""How many environments start at a time: what the processors can run, and turns for all pools.

Not how many run: an invocation never waits for another one's end. Only starts are paced, since
more of them than processors would but slow down each other, and whoever comes after them.

A start has a place for as long as it needs one. Who waits, sleeps or is stuck gives it back at
the next look; so a start that waits for another one cannot hold it up. Where many starts of one
function sleep, the next ones of it count less before any of them is over.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

# A start from a zygote is over before the first look. Who has used less than this share of a
# processor since the last one does not need it.
look_s, busy_share_min = 0.02, 0.25
# Nobody is slowed down for longer by the start of somebody else.
hold_s_max = 1.0
# Even a start that sleeps all the time takes some work of others.
weight_min, weight_unknown = 0.125, 1.0


class Starting(Protocol):
    """An environment that starts."""

    def cpu_s(self) -> float:
        """Processor time that it has used."""


class Starter(Protocol):
    """A pool: it may start an environment, and says by ``hold`` whether it did."""

    def granted(self) -> None: ...


def weight(cpu_s: float, start_s: float) -> float:
    """How much of a processor a start took: what the next one of the same function counts."""
    if start_s <= 0:
        return weight_unknown
    return min(1.0, max(weight_min, cpu_s / start_s))


def weight_beside(weight: float, asleep: int) -> float:
    """How much the next start counts while so many others of its function sleep."""
    return max(weight_min, weight / (1 + asleep))


def processors() -> int:
    """How many this process may use, see sched_getaffinity(2)."""
    return len(os.sched_getaffinity(0))


@dataclass(slots=True)
class _Place:
    """One start under way; ``seen_cpu_s`` and ``looks`` are of the last look."""

    weight: float
    timer: asyncio.TimerHandle
    seen_cpu_s: float = 0.0
    looks: int = 0


class Admission:
    """The places in which environments start.

    Args:
        cpus: how many processors there are.
        crowded: whether nothing may start until something has gone; see ``look_again``.
    """

    def __init__(self, cpus: float, crowded: Callable[[], bool]) -> None:
        self._cpus, self._crowded = cpus, crowded
        self._loop = asyncio.get_running_loop()
        self._turns: dict[Starter, None] = {}  # Each waits once, however much it wants.
        self._places: dict[Starting, _Place] = {}
        self._asleep: set[Starting] = set()  # they gave theirs back
        self._held = 0.0
        self._granting = False

    @property
    def starting(self) -> int:
        """How many places are taken."""
        return len(self._places)

    def sleeps(self, starting: Starting) -> bool:
        """Whether it starts, and had nothing to do when it was last looked at."""
        return starting in self._asleep

    def ask(self, starter: Starter) -> None:
        """Let it start one environment, now or when it is its turn."""
        self._turns.setdefault(starter)
        self._grant()

    def leave(self, starter: Starter) -> None:
        """It asks no more."""
        self._turns.pop(starter, None)

    def hold(self, starting: Starting, weight: float) -> None:
        """A place is taken, until ``release``, or until it is not needed any more."""
        timer = self._loop.call_later(look_s, self._look, starting)
        self._places[starting] = _Place(weight, timer)
        self._held += weight

    def release(self, starting: Starting) -> None:
        """The start is over; the place may have been given back before."""
        self._asleep.discard(starting)
        self._give_back(starting)

    def look_again(self) -> None:
        """Something has gone."""
        self._grant()

    def _give_back(self, starting: Starting) -> None:
        place = self._places.pop(starting, None)
        if place is None:
            return
        place.timer.cancel()
        self._held = self._held - place.weight if self._places else 0.0
        self._grant()

    def _grant(self) -> None:
        if self._granting:  # Who is granted something may ask again; it has its turn later.
            return
        self._granting = True
        try:
            while self._turns and self._has_place():
                starter = next(iter(self._turns))
                del self._turns[starter]
                starter.granted()
        finally:
            self._granting = False

    def _has_place(self) -> bool:
        if self._crowded():
            return False
        return not self._places or self._held + weight_min <= self._cpus

    def _look(self, starting: Starting) -> None:
        place = self._places[starting]
        place.looks += 1
        used_s = starting.cpu_s() - place.seen_cpu_s
        asleep = used_s < busy_share_min * look_s
        if asleep:
            self._asleep.add(starting)
        if asleep or place.looks * look_s >= hold_s_max:
            self._give_back(starting)
            return
        place.seen_cpu_s += used_s
        place.timer = self._loop.call_later(look_s, self._look, starting)
