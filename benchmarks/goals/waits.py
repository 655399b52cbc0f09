"""G19: no call on the path of a sporadic cold start takes longer than two milliseconds.

A call that waits for an RCU grace period takes 7 to 15 ms, each time, when nobody else is busy.
Looked at are all calls of the daemon, of its zygotes and of what they start that begin and end
between a request and its answer, save those whose purpose is to wait. The daemon's threads beside
its loop make things ahead of time; what they call is shown, and not judged. A call can also be
slow for being put aside by the scheduler: judged is the slowest of each round, by the median of
rounds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace

from benchmarks.client import UnexpectedAnswer
from benchmarks.goals import packages
from benchmarks.goals.findings import Finding, ms
from benchmarks.goals.interleaving import ROUNDS
from benchmarks.goals.stage import Stage, Target, staged
from benchmarks.goals.tracing import Called, Tracer, tracer

_SAMPLES = 4
_MS_MAX = 2
_SHOWN = 5
_WAITING = frozenset(
    {
        "accept", "accept4", "clock_nanosleep", "epoll_pwait", "epoll_pwait2", "epoll_wait",
        "futex", "nanosleep", "pause", "poll", "ppoll", "pselect6", "read", "recvfrom", "recvmsg",
        "rt_sigsuspend", "rt_sigtimedwait", "select", "wait4", "waitid",
    }
)  # fmt: skip


async def measure() -> list[Finding]:
    """A start by the zygote and a restore, neither of them prepared."""
    forked = Finding("G19", "forked: the slowest call", "ms", _MS_MAX)
    restored = Finding("G19", "restored: the slowest call", "ms", _MS_MAX)
    async with AsyncExitStack() as stack:
        followed = stack.enter_context(tracer())
        stage = await stack.enter_async_context(staged(spares=0))
        package = packages.package(packages.NONE)
        target = await stage.deploy(package)
        findings = [await _judged(forked, stage, target, followed)]
        try:
            version = await stage.deploy(package, name="restored", snap_start=True)
        except UnexpectedAnswer as reason:
            return [*findings, replace(restored, fault=str(reason))]
        return [*findings, await _judged(restored, stage, version, followed)]


async def _judged(finding: Finding, stage: Stage, target: Target, followed: Tracer) -> Finding:
    await stage.leaves.settled()
    await stage.cold(target)
    followed.follow(stage.pid)
    followed.calls()
    rounds = [
        [called for _ in range(_SAMPLES) for called in await _start(stage, target, followed)]
        for _ in range(ROUNDS)
    ]
    beside = stage.threads_beside()
    on_path = [[called for called in one if called.task not in beside] for one in rounds]
    slowest = tuple(_slowest_ms(one) for one in on_path)
    ahead_ms = max(
        _slowest_ms([called for called in one if called.task in beside]) for one in rounds
    )
    return replace(finding, rounds=slowest, steps=_steps(on_path, ahead_ms))


def _slowest_ms(calls: Sequence[Called]) -> float:
    return max((called.took_ms for called in calls), default=0)


async def _start(stage: Stage, target: Target, followed: Tracer) -> list[Called]:
    """The calls of one start that are no waits."""
    times = await stage.cold(target)
    sent_s, answered_s = times.sent_s, times.sent_s + times.total / 1e3
    return [
        called
        for called in followed.calls()
        if called.name not in _WAITING
        if called.began_s >= sent_s
        if called.ended_s <= answered_s
    ]


def _steps(rounds: Sequence[Sequence[Called]], ahead_ms: float) -> dict[str, str]:
    """The slowest kinds of call, and how many there were at all."""
    kinds: dict[str, list[float]] = defaultdict(list)
    for one in rounds:
        for called in one:
            kinds[called.name].append(called.took_ms)
    slowest = sorted(kinds, key=lambda name: max(kinds[name]), reverse=True)[:_SHOWN]
    count = sum(map(len, kinds.values()))
    above = sum(took_ms > _MS_MAX for kind in kinds.values() for took_ms in kind)
    return {
        "looked at by": "the kernel's tracer, raw_syscalls",
        "calls of a start": f"{count / (ROUNDS * _SAMPLES):.0f}",
        f"of {ROUNDS * _SAMPLES} starts, calls above {_MS_MAX} ms": f"{above}",
        **{f"{name}, the slowest": ms(max(kinds[name])) for name in slowest},
        "the slowest of the daemon's threads that make things ahead": ms(ahead_ms),
    }
