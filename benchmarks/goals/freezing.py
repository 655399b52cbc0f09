"""G15: what freezing adds to the first invoke after a pause.

In pairs of invokes of the same environment: as lambdad left it, frozen; and let go on behind
lambdad's back before the invoke, so that its own thaw finds nothing to do. The difference is what
the kernel takes to let processes go on; the thaw that finds nothing to do is added to it. Freezing
itself comes after the answer.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence

from benchmarks.goals import packages
from benchmarks.goals.findings import Finding, Round, median
from benchmarks.goals.interleaving import Case, interleaved
from benchmarks.goals.stage import PAUSE_S, Stage, Target, staged

_SAMPLES = 25
_KEEP_S = 600
_FROZEN, _AWAKE, _IDLE_THAW = "frozen", "awake", "a thaw of what is not frozen"
_THAW, _FREEZE = "a thaw", "a freeze"
_US_MAX = {"v2": 40, "v1": 80}


async def measure() -> list[Finding]:
    """Frozen and awake in turn, sent to handler."""
    async with staged(spares=0, idle_s=_KEEP_S) as stage:
        before = await stage.leaves.settled()
        target = await stage.deploy(packages.package(packages.NONE))
        await stage.invoke(target)
        (leaf,) = await stage.leaves.settled() - before
        cases = [_frozen(stage, target), _awake(stage, target, leaf)]
        rounds = await interleaved(cases, samples=_SAMPLES)
        return [_judged(rounds, _US_MAX[stage.leaves.version])]


def _frozen(stage: Stage, target: Target) -> Case:
    async def case() -> Mapping[str, float]:
        await asyncio.sleep(PAUSE_S)
        return {_FROZEN: (await stage.invoke(target)).to_handler * 1e3}

    return case


def _awake(stage: Stage, target: Target, leaf: str) -> Case:
    def set_us(*, frozen: bool) -> float:
        since_ns = time.monotonic_ns()
        stage.leaves.set_frozen(leaf, frozen=frozen)
        return (time.monotonic_ns() - since_ns) / 1e3

    async def case() -> Mapping[str, float]:
        await asyncio.sleep(PAUSE_S / 2)
        values = {_THAW: set_us(frozen=False), _IDLE_THAW: set_us(frozen=False)}
        values |= {_FREEZE: set_us(frozen=True)}
        set_us(frozen=False)
        await asyncio.sleep(PAUSE_S / 2)
        return {**values, _AWAKE: (await stage.invoke(target)).to_handler * 1e3}

    return case


def _judged(rounds: Sequence[Round], us_max: float) -> Finding:
    added = tuple(
        statistics.median(
            frozen - awake for frozen, awake in zip(one[_FROZEN], one[_AWAKE], strict=True)
        )
        + statistics.median(one[_IDLE_THAW])
        for one in rounds
    )
    names = {
        "frozen, sent to handler": _FROZEN,
        "awake, sent to handler": _AWAKE,
        "the kernel's thaw, from outside": _THAW,
        "the same, with nothing to thaw": _IDLE_THAW,
        "the kernel's freeze, from outside": _FREEZE,
    }
    steps = {text: f"{median(rounds, name):.0f} µs" for text, name in names.items()}
    return Finding("G15", "freezing adds to the next invoke", "µs", us_max, added, steps=steps)
