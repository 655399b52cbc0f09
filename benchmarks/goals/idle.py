"""G12: how many idle environments a GiB holds, by what the kernel charges their cgroups.

As many of each kind stand at once, each after one invoke that did nothing, frozen; a figure is
the median of what they are charged. The reference is the same handler in an executed interpreter,
in a cgroup of its own. What a template is charged comes once for all of its environments.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.client import UnexpectedAnswer, connect
from benchmarks.goals import packages
from benchmarks.goals.executing import in_cgroup
from benchmarks.goals.findings import Finding, Unmeasured
from benchmarks.goals.packages import BOTO3, NONE, PANDAS, Package
from benchmarks.goals.stage import Stage, Target, staged
from benchmarks.leaves import Unsettled, charge_bytes
from lambdad_sandbox import cgroup
from lambdad_sandbox.cgroup import ending

_GIB, _MIB = 1 << 30, 1 << 20
_KEEP_S = 600


@dataclass(frozen=True)
class Rung:
    """A step of the ladder.

    Attributes:
        count: how many stand at once.
        hold_s: for how long each is busy, so that none serves for two.
        per_gib_min: what a GiB has to hold of those that are restored.
        executed_min: how many times as many as executed ones.
    """

    name: str
    count: int
    hold_s: float
    per_gib_min: int
    executed_min: float


RUNGS = (
    Rung(NONE, 16, 1.5, 900, 3.5),
    Rung(BOTO3, 6, 3, 550, 12),
    Rung(PANDAS, 4, 6, 450, 18),
)


@dataclass(frozen=True)
class Charges:
    """Bytes that each of a kind is charged.

    Attributes:
        template: what comes once for all that are restored.
        parts: of a restored one, what the charge is made of.
    """

    executed: Sequence[int]
    forked: Sequence[int]
    restored: Sequence[int]
    template: int
    parts: Mapping[str, int]


async def measure() -> list[Finding]:
    """Each step of the ladder by itself: they have nothing to do with each other."""
    findings = []
    for rung in RUNGS:
        try:
            findings += _judged(rung, await _charges(rung))
        except Unmeasured as reason:
            findings += [replace(bound, missing=str(reason)) for bound in _bounds(rung)]
        except (UnexpectedAnswer, Unsettled) as reason:
            findings += [replace(bound, fault=str(reason)) for bound in _bounds(rung)]
    return findings


async def _charges(rung: Rung) -> Charges:
    package = packages.package(rung.name)
    executed = _executed(package, rung.count)
    async with staged(spares=0, idle_s=_KEEP_S) as stage:
        before = await stage.leaves.settled()
        target = await stage.deploy(package, snap_start=True)
        templates = await stage.leaves.settled() - before
        restored = await _idle(stage, target, rung)
        forked = await _idle(stage, target.latest, rung)
        # Read when all stand: what the kernel lends a group in advance has gone back by then.
        return Charges(
            executed,
            [stage.leaves.charge_bytes(name) for name in forked],
            [stage.leaves.charge_bytes(name) for name in restored],
            sum(stage.leaves.charge_bytes(name) for name in templates),
            stage.leaves.parts(min(restored)),
        )


async def _idle(stage: Stage, target: Target, rung: Rung) -> frozenset[str]:
    """The leaves of so many that have come to be at once, and have nothing to do any more."""
    before = await stage.leaves.settled()
    until_ns = time.monotonic_ns() + int(rung.hold_s * 1e9)
    connections = [await connect(stage.port) for _ in range(rung.count)]
    await asyncio.gather(*(one.ask(target.event(until_ns=until_ns)) for one in connections))
    for connection in connections:
        connection.close()
    leaves = await stage.leaves.settled() - before
    if len(leaves) != rung.count:
        raise Unsettled(f"{len(leaves)} environments came of {rung.count} invokes at once")
    return leaves


def _executed(package: Package, count: int) -> list[int]:
    """What so many executed ones are charged, all alive at the same time."""
    found = cgroup.detect()
    if found.version is None:
        raise Unmeasured(found.reason)
    with contextlib.ExitStack() as stack:
        directories = []
        for number in range(count):
            name = f"lambdad-bench-{os.getpid()}-{number}"
            directory = stack.enter_context(_directory(found.tops["memory"] / name))
            stack.enter_context(in_cgroup(package, directory))
            directories.append(directory)
        return [charge_bytes(directory) for directory in directories]


@contextlib.contextmanager
def _directory(path: Path) -> Iterator[Path]:
    path.mkdir()
    try:
        yield path
    finally:
        ending.remove_directory(path)


def _bounds(rung: Rung) -> list[Finding]:
    return [
        Finding(
            "G12",
            f"{rung.name}: restored ÷ executed, of a GiB",
            "x",
            rung.executed_min,
            at_least=True,
        ),
        Finding(
            "G12",
            f"{rung.name}: restored, of a GiB",
            "environments",
            rung.per_gib_min,
            at_least=True,
        ),
    ]


def _judged(rung: Rung, charges: Charges) -> list[Finding]:
    executed = statistics.median(charges.executed)
    kernel = statistics.median(charges.restored) - sum(charges.parts.values())
    profile = {
        "a GiB holds, executed": f"{_GIB / executed:.0f}",
        "a GiB holds, forked by the zygote": f"{_GIB / statistics.median(charges.forked):.0f}",
        "one executed": _mib(executed),
        "one forked by the zygote": _mib(statistics.median(charges.forked)),
        "one restored": _mib(statistics.median(charges.restored)),
        **{f"of it, {part}": _mib(size) for part, size in charges.parts.items()},
        **({} if "kernel" in charges.parts else {"of it, the kernel's own": _mib(kernel)}),
        "the template, once": _mib(charges.template),
    }
    ratio, count = _bounds(rung)
    return [
        replace(ratio, rounds=tuple(executed / one for one in charges.restored), steps=profile),
        replace(count, rounds=tuple(_GIB / one for one in charges.restored), steps=profile),
    ]


def _mib(size: float) -> str:
    return f"{size / _MIB:.2f} MiB"
