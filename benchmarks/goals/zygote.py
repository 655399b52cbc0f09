"""G6: a cold start of the null function by the zygote, forked for it and with a spare.

Beside the floor of the same isolation in C. What the client sees is judged, HTTP at both ends
included; the steps say what that adds.
"""

from __future__ import annotations

import asyncio
import statistics
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack

from benchmarks.goals import packages
from benchmarks.goals.cold import cold_start, parts
from benchmarks.goals.doors import doors, steps
from benchmarks.goals.findings import Finding, Round, Unmeasured, median, medians, ms, ratios
from benchmarks.goals.floor import floor
from benchmarks.goals.interleaving import Case, interleaved
from benchmarks.goals.stage import PAUSE_S, staged

_SAMPLES = 8
_FORKED, _SPARE, _FLOOR = "forked", "with a spare", "C floor"
_FORKED_MS_MAX, _FLOORS_MAX, _SPARE_MS_MAX = 4, 5, 1.8


async def measure() -> list[Finding]:
    """Both ways to start, the floor and the doors, in turn."""
    package = packages.package(packages.NONE)
    async with AsyncExitStack() as stack:
        cases, missing = [], ""
        try:
            cases.append(_floor(stack))
        except Unmeasured as reason:
            missing = str(reason)
        stages = {
            _FORKED: await stack.enter_async_context(staged(spares=0)),
            _SPARE: await stack.enter_async_context(staged(spares=1)),
        }
        for name, stage in stages.items():
            target = await stage.deploy(package)
            await stage.leaves.settled()
            cases.append(cold_start(name, stage, target))
        cases += await stack.enter_async_context(doors())
        rounds = await interleaved(cases, samples=_SAMPLES)
        inits_ms = {
            name: statistics.median(stage.logged_ms("Init Duration", package.name))
            for name, stage in stages.items()
        }
    return _judged(rounds, inits_ms, missing)


def _floor(stack: AsyncExitStack) -> Case:
    spawner = stack.enter_context(floor())

    async def case() -> Mapping[str, float]:
        await asyncio.sleep(PAUSE_S)
        return {_FLOOR: spawner.start_ms()}

    return case


def _judged(rounds: Sequence[Round], inits_ms: Mapping[str, float], missing: str) -> list[Finding]:
    ratio = Finding("G6", "forked ÷ C floor", "x", _FLOORS_MAX, missing=missing)
    if not missing:
        found = ratios(rounds, _FORKED, _FLOOR)
        shown = {"the C floor": ms(median(rounds, _FLOOR))}
        ratio = Finding("G6", ratio.what, "x", _FLOORS_MAX, found, steps=shown)
    findings = [ratio]
    for name, at_most in ((_FORKED, _FORKED_MS_MAX), (_SPARE, _SPARE_MS_MAX)):
        profile = {
            **parts(rounds, name),
            "of it, sandbox and init phase (REPORT)": ms(inits_ms[name]),
            **steps(rounds),
        }
        whole = medians(rounds, name)
        findings.append(
            Finding("G6", f"{name}, sent to answer", "ms", at_most, whole, steps=profile)
        )
    return findings
