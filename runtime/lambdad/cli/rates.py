"""What a daemon did between two censuses, function by function. Pure: two documents in, rows out.

How a census looks is said in ``lambdad.api.admin`` and ``lambdad.invoke.census``.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lambdad.invoke.lifecycle import State
from lambdad.model.function import LATEST

Census = Mapping[str, Any]

_COUNTERS = ("invocations", "cold", "restored", "throttled")
# In these an environment takes invocations, or is at one.
_READY = frozenset({State.IDLE, State.SNAPSHOT, State.RESTORE, State.INVOKE, State.NEEDS_INIT})
_ORDER = (
    State.INVOKE, State.RESTORE, State.INIT, State.STARTING, State.IDLE, State.SNAPSHOT,
    State.NEEDS_INIT, State.RESET, State.SHUTDOWN, State.GONE,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Deeds:
    """What was done in an interval.

    Attributes:
        cold: the fraction of the invocations that waited for an init; None without any.
        restored: the fraction that waited for a restore only.
    """

    invocations_per_s: float
    throttled_per_s: float
    cold: float | None
    restored: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One version of one function: how it stands, and what it did.

    Attributes:
        name: as clients call it: ``hello``, or ``hello:3`` for a version.
        environments: as the census has them, those at work first.
        running: invocations under way, as concurrency counts them.
        waiting: those of them that have no environment yet.
        reserved: how many invocations the function may run; None where it shares with others.
        provisioned: environments made ahead that are ready, and how many were asked for.
    """

    name: str
    environments: tuple[Mapping[str, Any], ...]
    running: int
    waiting: int
    reserved: int | None
    provisioned: tuple[int, int]
    deeds: Deeds

    @property
    def memory_bytes(self) -> int:
        """What its environments are charged."""
        return sum(one["memory_bytes"] for one in self.environments)


@dataclass(frozen=True, slots=True)
class Activity:
    """A daemon between two censuses.

    Attributes:
        over_s: how long that was.
        since_start: whether it was all of the daemon's life so far.
        deeds: of all functions together.
        rows: one a version, the most active first.
    """

    over_s: float
    since_start: bool
    deeds: Deeds
    rows: tuple[Row, ...]


def activity(before: Census | None, now: Census) -> Activity:
    """What was done from one census to the next.

    Args:
        before: None, or one of a daemon that has ended since, gives what was done since the
            daemon's start.
        now: the later one.
    """
    if before is not None and before["started"] != now["started"]:
        before = None
    over_s = now["up_s"] - (before["up_s"] if before is not None else 0.0)
    was, done = _counted(before["functions"] if before else ()), _counted(now["functions"])
    done = {place: _minus(counts, was.get(place)) for place, counts in done.items()}
    pools = defaultdict(list)
    for pool in now["functions"]:
        pools[pool["function"], pool["version"]].append(pool)
    reserved = now["concurrency"]["reserved"]
    rows = [
        _row(place, pools[place], _deeds(counts, over_s), reserved.get(place[0]))
        for place, counts in done.items()
    ]
    total: Counter[str] = Counter()
    for counts in done.values():
        total.update(counts)
    rows.sort(key=_activity_first)
    return Activity(over_s, before is None, _deeds(total, over_s), tuple(rows))


def states(environments: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How many environments are in which state, the states at work first."""
    counted = Counter(one["state"] for one in environments)
    return {state: counted[state] for state in sorted(counted, key=_rank)}


def _counted(pools: Iterable[Mapping[str, Any]]) -> dict[tuple[str, str], Counter[str]]:
    """The totals by function and version: one that was just updated has an old pool, too."""
    totals: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for pool in pools:
        totals[pool["function"], pool["version"]].update({name: pool[name] for name in _COUNTERS})
    return totals


def _minus(counts: Counter[str], were: Counter[str] | None) -> Counter[str]:
    """What was added; totals that fell are those of a function made anew."""
    if were is None or any(counts[name] < were[name] for name in _COUNTERS):
        return counts
    return counts - were


def _deeds(counts: Counter[str], over_s: float) -> Deeds:
    invocations = counts["invocations"]
    return Deeds(
        invocations_per_s=invocations / over_s if over_s > 0 else 0.0,
        throttled_per_s=counts["throttled"] / over_s if over_s > 0 else 0.0,
        cold=counts["cold"] / invocations if invocations else None,
        restored=counts["restored"] / invocations if invocations else None,
    )


def _row(
    place: tuple[str, str], pools: list[Mapping[str, Any]], deeds: Deeds, reserved: int | None
) -> Row:
    name, version = place
    everyone = [one for pool in pools for one in pool["environments"]]
    made_ahead = sum(one["provisioned"] and one["state"] in _READY for one in everyone)
    return Row(
        name=name if version == LATEST else f"{name}:{version}",
        environments=tuple(sorted(everyone, key=_work_first)),
        running=sum(pool["running"] + pool["waiting"] for pool in pools),
        waiting=sum(pool["waiting"] for pool in pools),
        reserved=reserved,
        provisioned=(made_ahead, sum(pool["provisioned_requested"] for pool in pools)),
        deeds=deeds,
    )


def _activity_first(row: Row) -> tuple[float, int, str]:
    """Each invocation of a second counts one, and so does each that runs; then memory."""
    deeds = row.deeds
    busy = deeds.invocations_per_s + deeds.throttled_per_s + row.running
    return -busy, -row.memory_bytes, row.name


def _work_first(environment: Mapping[str, Any]) -> tuple[int, float, str]:
    """In the order of the states, of those at rest the last used first."""
    return _rank(environment["state"]), environment["idle_s"] or 0.0, environment["id"]


def _rank(state: str) -> int:
    """At work, coming to be, at rest, ending; then what a newer daemon may have."""
    return _ORDER.index(State(state)) if state in _ORDER else len(_ORDER)
