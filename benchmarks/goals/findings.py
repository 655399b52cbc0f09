"""What came of a goal: a figure beside its bound, and the steps that it is made of. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

# The values of one round, by the name of what was measured.
Round = dict[str, list[float]]


class Unmeasured(Exception):
    """This host lacks something that a goal needs; the message says what."""


@dataclass(frozen=True)
class Finding:
    """One bound of a goal, and what was found.

    Attributes:
        goal: its number in the design, such as ``G6``.
        what: what the figure is.
        unit: of the figure; ``x`` is a ratio to the reference.
        bound: what the figure is held against.
        rounds: the figure in each round.
        at_least: whether the bound is the least that is wanted, not the most.
        steps: what the figure is made of or explained by, each with its unit.
        missing: what this host lacks, if there is no figure for that.
        fault: what lambdad did instead, if there is no figure for that.
    """

    goal: str
    what: str
    unit: str
    bound: float
    rounds: tuple[float, ...] = ()
    at_least: bool = False
    steps: Mapping[str, str] = field(default_factory=dict)
    missing: str = ""
    fault: str = ""

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rounds)

    @property
    def kept(self) -> bool | None:
        """Whether the median of the rounds keeps it; None if this host cannot say."""
        if not self.rounds:
            return False if self.fault else None
        return self.value >= self.bound if self.at_least else self.value <= self.bound


def medians(rounds: Iterable[Round], name: str) -> tuple[float, ...]:
    """The median of each round."""
    return tuple(statistics.median(one[name]) for one in rounds)


def median(rounds: Iterable[Round], name: str) -> float:
    """The median of the rounds' medians."""
    return statistics.median(medians(rounds, name))


def ratios(rounds: Iterable[Round], name: str, reference: str) -> tuple[float, ...]:
    """A figure by its reference, both of the same round."""
    return tuple(statistics.median(one[name]) / statistics.median(one[reference]) for one in rounds)


def p99(rounds: Iterable[Round], name: str) -> float:
    """Of all rounds together; below a hundred values that is the largest."""
    values = sorted(value for one in rounds for value in one[name])
    return values[min(len(values) - 1, int(len(values) * 0.99))]


def ms(value: float) -> str:
    """Milliseconds, as a step shows them."""
    return f"{value:.2f} ms"
