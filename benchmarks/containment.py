"""How much slower a function's neighbour gets while it takes whatever it gets.

``python -m benchmarks.containment``; a run takes some three minutes. Exit status: 0 when the
neighbour's p50 stays within the promise beside each bomb, 1 when not. Why a host of one's own is
needed, and what the bombs are, stands in SPECIFICATION.md and with the bombs.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import runpy
import statistics
import sys
import time
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks import host
from benchmarks.client import Connection, UnexpectedAnswer, connect, request
from benchmarks.measures import WARM_MEMORY_MB, Round
from benchmarks.promises import Promise, kept, medians, ratios
from benchmarks.report import append
from benchmarks.servers import Daemon, lambdad

RESULTS = Path("build/bench/containment.jsonl")
RATIO_MAX = 3
ROUNDS = 3
QUIET_INVOKES = 300  # of the neighbour, before each bomb
LEAD_S, BESIDE_S = 0.5, 1.5  # until a bomb has got all it can, and that the neighbour is timed
TIMEOUT_S = 3  # of a bomb
ENDING_S_MAX = 20  # until nothing is left of a bomb; what takes longer is a fault, no figure

_SOURCE = Path(__file__).parent.parent / "tests/soak/functions/bombs/lambda_function.py"
_API = "/2015-03-31/functions"
_BOMBS = f"{_API}/bombs"


def before(bomb: str) -> str:
    return f"neighbour before {bomb}"


def beside(bomb: str) -> str:
    return f"neighbour beside {bomb}"


def promises(bombs: list[str]) -> list[Promise]:
    return [Promise(beside(bomb), before(bomb), RATIO_MAX) for bomb in bombs]


class Neighbourhood:
    """One daemon: the neighbour runs nothing but the null function, beside it are bombs."""

    def __init__(self, daemon: Daemon, neighbour: Connection, bomber: Connection) -> None:
        self._daemon, self._neighbour, self._bomber = daemon, neighbour, bomber

    async def measure(self, bomb: str) -> Round:
        """The neighbour's milliseconds, before the bomb and beside it."""
        quiet_s = [await self._ask() for _ in range(QUIET_INVOKES)]
        async with self._going(bomb):
            await asyncio.sleep(LEAD_S)
            since, beside_s = time.perf_counter(), list[float]()
            while time.perf_counter() < since + BESIDE_S:
                beside_s.append(await self._ask())
        return {before(bomb): [one * 1e3 for one in quiet_s]} | {
            beside(bomb): [one * 1e3 for one in beside_s]
        }

    async def _ask(self) -> float:
        return await self._neighbour.timed(self._daemon.request)

    @asynccontextmanager
    async def _going(self, bomb: str) -> AsyncIterator[None]:
        """Bomb after bomb; what is left of them goes with their environment."""
        task = asyncio.create_task(self._bombs(bomb, time.perf_counter() + LEAD_S + BESIDE_S))
        try:
            yield
        finally:
            await task
            change = {"Description": f"{bomb} {time.perf_counter()}"}
            environments = self._daemon.leaves.names()  # The neighbour's are among them, and stay.
            async with asyncio.timeout(ENDING_S_MAX):
                await self._bomber.ask(request("PUT", f"{_BOMBS}/configuration", change))
                await self._settled()
                while environments <= self._daemon.leaves.names():  # noqa: ASYNC110  they are another process's
                    await asyncio.sleep(0.05)

    async def _bombs(self, bomb: str, end: float) -> None:
        event = {"bomb": bomb, "seconds": LEAD_S + BESIDE_S}
        while time.perf_counter() < end:
            await self._bombed(request("POST", f"{_BOMBS}/invocations", event))
        await self._bomber.ask(request("POST", f"{_BOMBS}/invocations", {}))

    async def _bombed(self, invoke: bytes) -> None:
        """How a bomb ends is its own business, as long as it is the function's end."""
        try:
            await self._bomber.ask(invoke)
        except UnexpectedAnswer as answer:
            if not str(answer).startswith("HTTP/1.1 200"):
                raise

    async def deploy(self) -> None:
        """The function of all the bombs."""
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            archive.write(_SOURCE, _SOURCE.name)
        document = {
            "FunctionName": "bombs",
            "Runtime": f"python3.{sys.version_info.minor}",
            "Role": "arn:aws:iam::123456789012:role/benchmarks",
            "Handler": "lambda_function.handler",
            "Code": {"ZipFile": base64.b64encode(package.getvalue()).decode()},
            "MemorySize": WARM_MEMORY_MB,
            "Timeout": TIMEOUT_S,
        }
        await self._bomber.ask(request("POST", _API, document))
        await self._settled()

    async def _settled(self) -> None:
        """Until the function of the bombs is as it was last asked to be."""
        ask = request("GET", f"{_BOMBS}/configuration")
        while json.loads(await self._bomber.ask(ask)).get("LastUpdateStatus") != "Successful":  # noqa: ASYNC110  it is another process's
            await asyncio.sleep(0.05)


async def measured(bombs: list[str]) -> list[Round]:
    """All rounds; in each, every bomb goes off in turn."""
    async with lambdad(memory_mb=WARM_MEMORY_MB, idle_s=600) as daemon:
        neighbour, bomber = await connect(daemon.port), await connect(daemon.port)
        there = Neighbourhood(daemon, neighbour, bomber)
        await there.deploy()
        rounds = []
        for _ in range(ROUNDS):
            one: Round = {}
            for bomb in bombs:
                one |= await there.measure(bomb)
            rounds.append(one)
        neighbour.close()
        bomber.close()
    return rounds


def show(bombs: list[str], rounds: list[Round]) -> None:
    title = f"a neighbour's p50, medians of {ROUNDS} rounds; at most {RATIO_MAX} times as long"
    table = Table(title=title, title_justify="left", title_style="bold", box=None)
    table.add_column("bomb")
    for name in ("ratio", "min", "max", "before", "beside", "slowest"):
        table.add_column(name, justify="right")
    table.add_column("")
    for bomb, promise in zip(bombs, promises(bombs), strict=True):
        found = ratios(rounds, beside(bomb), before(bomb))
        times = [
            *(statistics.median(medians(rounds, case(bomb))) for case in (before, beside)),
            max(value for one in rounds for value in one[beside(bomb)]),
        ]
        table.add_row(
            bomb,
            *(f"{ratio:.2f}" for ratio in (statistics.median(found), min(found), max(found))),
            *(f"{time_ms:.2f} ms" for time_ms in times),
            "kept" if kept(promise, rounds) else "BROKEN",
        )
    Console(width=100, highlight=False).print(table)


def record(bombs: list[str], rounds: list[Round], pressures: list[dict[str, float]]) -> None:
    """Append one JSON line."""
    append(
        RESULTS,
        facts=host.facts(),
        pressure=pressures,
        medians_ms={case: medians(rounds, case) for case in rounds[0]},
        promises={str(promise): kept(promise, rounds) for promise in promises(bombs)},
    )


def main() -> int:
    bombs = list(runpy.run_path(str(_SOURCE))["BOMBS"])
    pressures = [host.pressure()]
    rounds = uvloop.run(measured(bombs))
    pressures.append(host.pressure())
    record(bombs, rounds, pressures)
    show(bombs, rounds)
    return 0 if all(kept(promise, rounds) for promise in promises(bombs)) else 1


if __name__ == "__main__":
    sys.exit(main())
