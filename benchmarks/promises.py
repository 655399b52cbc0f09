"""What SPECIFICATION.md promises, as numbers that a run can keep or break. Pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from benchmarks.measures import HELLO, INVOKE, RUNTIME_CLIENT, Round, cold


@dataclass(frozen=True)
class Promise:
    """A case's median, or its ratio to that of a reference, is at most this."""

    case: str
    reference: str | None
    at_most: float

    def __str__(self) -> str:
        return f"{self.case} ÷ {self.reference}" if self.reference else self.case


PROMISES = (
    Promise(cold(1769), RUNTIME_CLIENT, 0.1),
    Promise(cold(1769), None, 8),
    Promise(INVOKE, HELLO, 5),
)


def medians(rounds: list[Round], case: str) -> list[float]:
    """The median of each round."""
    return [statistics.median(values[case]) for values in rounds]


def ratios(rounds: list[Round], case: str, reference: str) -> list[float]:
    """A case by its reference, both of the same round."""
    pairs = zip(medians(rounds, case), medians(rounds, reference), strict=True)
    return [value / other for value, other in pairs]


def kept(promise: Promise, rounds: list[Round]) -> bool | None:
    """Whether the median of the rounds keeps it; None if the reference was not to be had."""
    if promise.reference is None:
        return statistics.median(medians(rounds, promise.case)) <= promise.at_most
    if promise.reference not in rounds[0]:
        return None
    found = ratios(rounds, promise.case, promise.reference)
    return statistics.median(found) <= promise.at_most
