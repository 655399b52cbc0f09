"""What HTTP costs at both doors, where nothing has to be started: the steps of G6 and G7.

The API's door is asked for a dry run, which is read, checked and answered. The Runtime API's is
asked from inside, for a page that there is not. Each is sporadic, as cold starts are.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from benchmarks.goals import packages
from benchmarks.goals.findings import Round, median, medians, ms
from benchmarks.goals.interleaving import Case
from benchmarks.goals.stage import PAUSE_S, staged

_DRY_RUN, _WARM, _WARM_TO_HANDLER = "dry run", "warm", "warm to handler"
_CONNECT, _EXCHANGE = "connect", "exchange"
_KEEP_S = 600


@asynccontextmanager
async def doors() -> AsyncIterator[list[Case]]:
    """The cases, over a daemon of their own that keeps its environment."""
    async with staged(spares=0, idle_s=_KEEP_S) as stage:
        target = await stage.deploy(packages.package(packages.NONE))

        async def dry_run() -> Mapping[str, float]:
            await asyncio.sleep(PAUSE_S)
            since = time.perf_counter()
            await stage.ask(target.dry_run)
            return {_DRY_RUN: (time.perf_counter() - since) * 1e3}

        async def warm() -> Mapping[str, float]:
            await asyncio.sleep(PAUSE_S)
            times = await stage.invoke(target)
            return {_WARM: times.total, _WARM_TO_HANDLER: times.to_handler}

        async def inside() -> Mapping[str, float]:
            answer = (await stage.invoke(target, ask="exchange")).answer
            return {name: answer[f"{name}_us"] / 1e3 for name in (_CONNECT, _EXCHANGE)}

        await stage.invoke(target)
        yield [dry_run, warm, inside]


def beyond(rounds: Sequence[Round], to_handler: str) -> tuple[float, ...]:
    """What a restore takes beside HTTP, in each round.

    HTTP's part is what a warm invoke takes to its handler, and one more request of the runtime:
    the one by which it asks to be restored.
    """
    parts = (medians(rounds, name) for name in (to_handler, _WARM_TO_HANDLER, _EXCHANGE))
    return tuple(whole - warm - exchange for whole, warm, exchange in zip(*parts, strict=True))


def steps(rounds: Sequence[Round]) -> dict[str, str]:
    """What the doors add, to be shown beside any start."""
    names = {
        "HTTP of the client, both ways (dry run)": _DRY_RUN,
        "HTTP of the Runtime API: a connection": _CONNECT,
        "HTTP of the Runtime API: a request and its answer": _EXCHANGE,
        "a warm invoke, as sporadic: sent to handler": _WARM_TO_HANDLER,
        "a warm invoke, as sporadic: sent to answer": _WARM,
    }
    return {text: ms(median(rounds, name)) for text, name in names.items()}
