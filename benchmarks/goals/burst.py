"""G14: a hundred first invokes of one function with a template, all at once.

Judged is when the last answer has come, by what a fork of this template may cost (G8) and by how
many processors there are. Whether each got an environment of its own is lambdad's business.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import replace

from benchmarks.client import connect
from benchmarks.goals import packages
from benchmarks.goals.findings import Finding, Unmeasured, ms
from benchmarks.goals.stage import Stage, Target, staged
from benchmarks.goals.template import fork_ms_max

_INVOKES, _BURSTS = 100, 3
_EXTRA_MS = 50


async def measure() -> list[Finding]:
    """Some bursts, each when nothing is left of the one before."""
    finding = Finding("G14", f"{_INVOKES} at once: the last answer", "ms", _EXTRA_MS)
    try:
        package = packages.package(packages.PANDAS)
    except Unmeasured as reason:
        return [replace(finding, missing=str(reason))]
    async with staged(spares=0) as stage:
        target = await stage.deploy(package, snap_start=True)
        before = await stage.leaves.settled()
        fork_ms = fork_ms_max((await stage.invoke(target, ask="fork")).answer)
        await stage.leaves.as_before(before, spares=False)
        bursts = [await _burst(stage, target) for _ in range(_BURSTS)]
        restores = len(stage.logged_ms("Restore Duration", package.name)) - 1
    processors = len(os.sched_getaffinity(0))
    steps = {
        "a fork of this template may cost (G8)": ms(fork_ms),
        "processors": f"{processors}",
        "the median answer": ms(sorted(bursts[0])[_INVOKES // 2]),
        "environments made for a burst": f"{restores / _BURSTS:.0f}",
        "errors": "none",
    }
    bound = _INVOKES * fork_ms / processors + _EXTRA_MS
    last = tuple(max(burst) for burst in bursts)
    return [replace(finding, bound=bound, rounds=last, steps=steps)]


async def _burst(stage: Stage, target: Target) -> Sequence[float]:
    """Milliseconds until each answer.

    Raises:
        UnexpectedAnswer: one of them was an error.
    """
    before = await stage.leaves.settled()
    connections = [await connect(stage.port) for _ in range(_INVOKES)]
    since = time.perf_counter()

    async def answered_ms(number: int) -> float:
        await connections[number].ask(target.event())
        return (time.perf_counter() - since) * 1e3

    try:
        return await asyncio.gather(*(answered_ms(number) for number in range(_INVOKES)))
    finally:
        for connection in connections:
            connection.close()
        await stage.leaves.as_before(before, spares=False)
