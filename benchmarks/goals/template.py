"""G7, G8 and G9: cold starts from a template, whatever it imports, with a spare and without.

Each step of the ladder beside the same handler in an interpreter that is executed for it. Judged
up to the handler's first line (G7, G8), as the goals have it, or up to the answer (G9).
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from benchmarks.client import UnexpectedAnswer
from benchmarks.goals import packages
from benchmarks.goals.cold import cold_start, parts, to_handler
from benchmarks.goals.doors import beyond, doors, steps
from benchmarks.goals.executing import first_answer_ms
from benchmarks.goals.findings import Finding, Round, Unmeasured, median, medians, ms, p99, ratios
from benchmarks.goals.interleaving import Case, interleaved
from benchmarks.goals.packages import BOTO3, LADDER, PANDAS, Package
from benchmarks.goals.stage import PAUSE_S, Stage, staged

_SAMPLES = 4
_SPARE_MS_MAX = 0.6
# The formula of G8: a fork copies page tables.
_FORK_MS, _FORK_MS_PER_MB, _FORK_MS_PER_AREA = 3.5, 0.025, 0.002
_PANDAS_MS_MAX = 6
_RATIOS_MAX = {BOTO3: 1 / 30, PANDAS: 1 / 60}


@dataclass
class Rungs:
    """What is known of the steps of the ladder.

    Attributes:
        forks: what a fork of each has to copy, as its own process counts it.
        restores_ms: Restore Duration of REPORT, by stage and step.
        missing: steps that this host cannot have, and why.
        faults: steps that lambdad has no template for, and why.
    """

    forks: dict[str, Mapping[str, float]] = field(default_factory=dict)
    restores_ms: dict[str, float] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


def spareless(rung: str) -> str:
    return f"{rung} without a spare"


def spare(rung: str) -> str:
    return f"{rung} with a spare"


def executed(rung: str) -> str:
    return f"{rung} executed"


def fork_ms_max(copied: Mapping[str, float]) -> float:
    """What a start without a spare may take, by what there is to copy (G8)."""
    per_mb, per_area = _FORK_MS_PER_MB, _FORK_MS_PER_AREA
    return _FORK_MS + per_mb * copied["anonymous_mb"] + per_area * copied["areas"]


async def measure() -> list[Finding]:
    """All steps that can be had, in turn."""
    rungs = Rungs()
    async with AsyncExitStack() as stack:
        on_demand = await stack.enter_async_context(staged(spares=0))
        prepared = await stack.enter_async_context(staged(spares=1))
        cases: list[Case] = []
        for rung in LADDER:
            try:
                cases += await _cases(rung, on_demand, prepared, rungs)
            except Unmeasured as reason:
                rungs.missing[rung] = str(reason)
            except UnexpectedAnswer as reason:
                rungs.faults[rung] = str(reason)
        if cases:
            cases += await stack.enter_async_context(doors())
            await prepared.leaves.settled()
        rounds = await interleaved(cases, samples=_SAMPLES)
        for rung in rungs.forks:
            for name, stage in ((spareless(rung), on_demand), (spare(rung), prepared)):
                logged_ms = stage.logged_ms("Restore Duration", rung)
                rungs.restores_ms[name] = statistics.median(logged_ms)
    return [finding for rung in LADDER for finding in _judged(rung, rounds, rungs)]


async def _cases(rung: str, on_demand: Stage, prepared: Stage, rungs: Rungs) -> list[Case]:
    package = packages.package(rung)
    target = await on_demand.deploy(package, snap_start=True)
    spared = await prepared.deploy(package, snap_start=True)
    before = await on_demand.leaves.settled()
    rungs.forks[rung] = (await on_demand.invoke(target, ask="fork")).answer
    await on_demand.leaves.as_before(before, spares=False)
    return [
        cold_start(spareless(rung), on_demand, target),
        cold_start(spare(rung), prepared, spared),
        _executed(rung, package),
    ]


def _executed(rung: str, package: Package) -> Case:
    async def case() -> Mapping[str, float]:
        await asyncio.sleep(PAUSE_S)
        return {executed(rung): first_answer_ms(package)}

    return case


def _judged(rung: str, rounds: Sequence[Round], rungs: Rungs) -> list[Finding]:
    copied = rungs.forks.get(rung, {"anonymous_mb": 0, "areas": 0})
    bounds = [
        ("G7", f"{spare(rung)}, sent to handler, without HTTP", "ms", _SPARE_MS_MAX),
        ("G8", f"{spareless(rung)}, sent to handler", "ms", fork_ms_max(copied)),
    ]
    if rung == PANDAS:
        bounds.append(("G8", f"{spareless(rung)}, sent to handler", "ms", _PANDAS_MS_MAX))
    if rung in _RATIOS_MAX:
        bounds.append(("G9", f"{spareless(rung)} ÷ {executed(rung)}", "x", _RATIOS_MAX[rung]))
    missing, fault = rungs.missing.get(rung, ""), rungs.faults.get(rung, "")
    if missing or fault:
        return [Finding(*bound, missing=missing, fault=fault) for bound in bounds]
    found = {
        "G7": beyond(rounds, to_handler(spare(rung))),
        "G8": medians(rounds, to_handler(spareless(rung))),
        "G9": ratios(rounds, spareless(rung), executed(rung)),
    }
    profiles = _profiles(rung, rounds, rungs)
    return [Finding(*bound, found[bound[0]], steps=profiles[bound[0]]) for bound in bounds]


def _profiles(rung: str, rounds: Sequence[Round], rungs: Rungs) -> dict[str, dict[str, str]]:
    restored = {
        name: {
            **parts(rounds, name),
            "sent to the handler's first line, p99": ms(p99(rounds, to_handler(name))),
            "of it, the restore (REPORT)": ms(rungs.restores_ms[name]),
            **steps(rounds),
        }
        for name in (spare(rung), spareless(rung))
    }
    copied = rungs.forks[rung]
    fork = {
        "page tables to copy": f"{copied['anonymous_mb']:.0f} MB anonymous",
        "areas to copy": f"{copied['areas']:.0f}",
    }
    whole = {name: ms(median(rounds, name)) for name in (spareless(rung), executed(rung))}
    return {
        "G7": restored[spare(rung)],
        "G8": {**fork, **restored[spareless(rung)]},
        "G9": {f"{name}, to the answer": value for name, value in whole.items()},
    }
