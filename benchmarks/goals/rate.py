"""G13: cold starts for as long as one likes: made, invoked, ended, and nothing left of them.

From as many clients as keep both processors busy, each with functions of its own in turn. A client
goes on when no more environments stand than there are clients: so ends keep up with starts, and
what it comes back to has ended meanwhile. Beside the floor, which does one after the other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress

import psutil

from benchmarks.client import Connection, UnexpectedAnswer, connect
from benchmarks.goals import packages
from benchmarks.goals.findings import Finding, Round, Unmeasured, median, medians, ms
from benchmarks.goals.floor import Floor, floor
from benchmarks.goals.interleaving import ROUNDS
from benchmarks.goals.stage import Stage, Target, staged
from benchmarks.servers import process_cpu_s

_CLIENTS, _FUNCTIONS = 4, 24
_LOAD_S, _FLOOR_S, _LOOK_S = 1.5, 0.3, 0.001
_PER_S_MIN = 200
_RATE, _WARM, _FLOOR = "rate", "warm", "floor"
_CPU = {
    "daemon": "processor time of the daemon, each start",
    "zygotes": "processor time of the zygotes, each start",
    "environments": "processor time of the environments, each start",
}


async def measure() -> list[Finding]:
    """Load and floor in turn."""
    async with AsyncExitStack() as stack:
        stage = await stack.enter_async_context(staged(spares=0))
        package = packages.package(packages.NONE)
        names = [f"null{number}" for number in range(_FUNCTIONS)]
        targets = [await stage.deploy(package, name=name) for name in names]
        clients = []
        for number in range(_CLIENTS):
            connection = await connect(stage.port)
            stack.callback(connection.close)
            clients.append((connection, targets[number::_CLIENTS]))
        spawner: Floor | None = None
        with suppress(Unmeasured):  # A step is missing, the figure is not.
            spawner = stack.enter_context(floor())
        rounds = [await _round(stage, clients, spawner) for _ in range(ROUNDS + 1)][1:]
    return [_judged(rounds)]


async def _round(
    stage: Stage, clients: Sequence[tuple[Connection, list[Target]]], spawner: Floor | None
) -> Round:
    before = await stage.leaves.settled()
    logged, cpu_s, since = _inits(stage), _cpu_s(stage), time.perf_counter()
    counts = await asyncio.gather(
        *(
            _ask(stage, connection, targets, len(before) + _CLIENTS, since + _LOAD_S)
            for connection, targets in clients
        )
    )
    await stage.leaves.as_before(before, spares=False)
    took_s = time.perf_counter() - since
    inits = _inits(stage) - logged
    if not inits:
        raise UnexpectedAnswer("the log of the daemon counts no cold start")
    values: Round = {_RATE: [inits / took_s], _WARM: [float(sum(counts) - inits)]}
    for name, total_s in _cpu_s(stage).items():
        values[name] = [(total_s - cpu_s[name]) / inits * 1e3]
    if spawner is not None:
        values[_FLOOR] = [_floor_per_s(spawner)]
    return values


async def _ask(
    stage: Stage, connection: Connection, targets: list[Target], standing: int, end: float
) -> int:
    count = 0
    while time.perf_counter() < end:
        await connection.ask(targets[count % len(targets)].event())
        count += 1
        while len(stage.leaves.names()) > standing and time.perf_counter() < end:  # noqa: ASYNC110  the kernel says nothing
            await asyncio.sleep(_LOOK_S)
    return count


def _inits(stage: Stage) -> int:
    """How many there were by the daemon's own account."""
    return sum(
        len(stage.logged_ms("Init Duration", f"null{number}")) for number in range(_FUNCTIONS)
    )


def _cpu_s(stage: Stage) -> dict[str, float]:
    zygotes = psutil.Process(stage.pid).children()
    return {
        "daemon": process_cpu_s(stage.pid),
        "zygotes": sum(process_cpu_s(zygote.pid) for zygote in zygotes),
        "environments": stage.leaves.cpu_s(),
    }


def _floor_per_s(spawner: Floor) -> float:
    count, since = 0, time.perf_counter()
    while time.perf_counter() < since + _FLOOR_S:
        spawner.start_ms()
        count += 1
    return count / (time.perf_counter() - since)


def _judged(rounds: Sequence[Round]) -> Finding:
    steps = {"invokes that found one warm": f"{median(rounds, _WARM):.0f}"}
    steps |= {text: ms(median(rounds, name)) for name, text in _CPU.items()}
    if _FLOOR in rounds[0]:
        steps["the C floor, one after the other"] = f"{median(rounds, _FLOOR):.0f} /s"
    found = medians(rounds, _RATE)
    what = f"cold starts from {_CLIENTS} clients"
    return Finding("G13", what, "/s", _PER_S_MIN, found, at_least=True, steps=steps)
