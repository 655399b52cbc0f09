"""Which idle environment goes first when room is needed: Greedy-Dual. Pure.

Not when one has been idle for too long: that is the same for all, and ``pool_policy`` says it.

An environment is worth what it would cost to make it again, times how often it was used, for
each MiB that it holds. What was worth little and is gone raises the clock, and whoever rests
later starts from there: so what nobody uses any more is overtaken one day, whatever it cost.

Source: Fuerst and Sharma, FaasCache (ASPLOS 2021), after Cherkasova's Greedy-Dual-Size-Frequency.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from lambdad.model.limits import MIB

_Kept = TypeVar("_Kept")


class Candidate(NamedTuple, Generic[_Kept]):
    """What may go: its priority, what it holds, and itself."""

    priority: float
    memory_bytes: int
    kept: _Kept


def priority(clock: float, uses: int, start_s: float, memory_bytes: int) -> float:
    """What it is worth to keep an environment; the lowest goes first.

    Args:
        clock: Greedy-Dual's, when it was last used: the priority of what went last.
        uses: how many invocations it was given.
        start_s: what it took to start it.
        memory_bytes: what it is charged for.
    """
    return clock + uses * start_s * MIB / max(memory_bytes, MIB)


def victims(
    candidates: Iterable[Candidate[_Kept]], needed_bytes: float, needed: int = 0
) -> list[Candidate[_Kept]]:
    """Those to let go, lowest first: as few as free that much memory, and are that many.

    All of them, if that is not enough.
    """
    heap = [(candidate.priority, number, candidate) for number, candidate in enumerate(candidates)]
    heapq.heapify(heap)
    gone: list[Candidate[_Kept]] = []
    freed_bytes = 0
    while heap and (freed_bytes < needed_bytes or len(gone) < needed):
        candidate = heapq.heappop(heap)[2]
        gone.append(candidate)
        freed_bytes += candidate.memory_bytes
    return gone
