"""Rounds of cases in turn, so that a host that slows down slows subject and reference alike."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping

from benchmarks.goals.findings import Round

ROUNDS = 5

# Measures once; what it brings by name, one or several.
Case = Callable[[], Awaitable[Mapping[str, float]]]


async def interleaved(cases: list[Case], *, samples: int, rounds: int = ROUNDS) -> list[Round]:
    """All rounds; one sample of each before them is thrown away, as it fills caches."""
    await _round(cases, 1)
    return [await _round(cases, samples) for _ in range(rounds)]


async def _round(cases: list[Case], samples: int) -> Round:
    values: Round = defaultdict(list)
    for _ in range(samples):
        for case in cases:
            for name, value in (await case()).items():
                values[name].append(value)
    return values
