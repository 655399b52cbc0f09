"""The cases: what one round measures, each case beside its references.

A round takes every case in turn, so that a host that slows down slows all of them alike.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from benchmarks.client import Connection, connect
from benchmarks.executed import RuntimeClient, python_s
from benchmarks.servers import Daemon, Server, hello_world, lambdad

ROUNDS = 5
# A cold start rarely follows another: a processor has gone to sleep, caches have forgotten.
PAUSE_S = 0.06
COLD_STARTS = 12  # of each kind in a round
WARM_INVOKES = 500  # in a round, at one connection
THROUGHPUT_S = 0.8  # in a round
CONNECTIONS = 16
COLD_MEMORIES_MB = (1769, 128)
# A processor for each environment: 128 MB are 7 % of one, and no more than that would be seen.
WARM_MEMORY_MB = 1769

PASS, JSON = "exec python -I -S, pass", "exec python -I, import json"
RUNTIME_CLIENT = "exec awslambdaric, response"
INVOKE, HELLO = "warm invoke", "aiohttp hello world"
INVOKE_RATE, HELLO_RATE = f"warm invokes, {CONNECTIONS} conn.", f"aiohttp, {CONNECTIONS} conn."
INVOKE_CPU, HELLO_CPU = "warm invokes, CPU each", "aiohttp, CPU each"

# What one round brings: the values of each case, in its unit.
Round = dict[str, list[float]]
Start = Callable[[], Awaitable[float]]


def cold(memory_mb: int) -> str:
    return f"cold invoke, {memory_mb} MB"


UNITS = {
    **{cold(memory_mb): "ms" for memory_mb in COLD_MEMORIES_MB},
    **dict.fromkeys((PASS, JSON, RUNTIME_CLIENT), "ms"),
    **dict.fromkeys((INVOKE, HELLO), "µs"),
    **dict.fromkeys((INVOKE_RATE, HELLO_RATE), "/s"),
    **dict.fromkeys((INVOKE_CPU, HELLO_CPU), "µs"),
}


class ColdStarts:
    """First invokes of a daemon that keeps nothing, beside what has to be executed instead."""

    def __init__(self, starts: dict[str, Start]) -> None:
        self._starts = starts

    @classmethod
    async def set_up(cls, stack: AsyncExitStack) -> ColdStarts:
        starts: dict[str, Start] = {}
        for memory_mb in COLD_MEMORIES_MB:
            daemon = await stack.enter_async_context(lambdad(memory_mb=memory_mb, idle_s=0))
            starts[cold(memory_mb)] = await stack.enter_async_context(_cold_start(daemon))
        starts[PASS] = lambda: _python_s("-I", "-S", "-c", "pass")
        starts[JSON] = lambda: _python_s("-I", "-c", "import json")
        if RuntimeClient.is_installed():
            client = await stack.enter_async_context(RuntimeClient().served())
            starts[RUNTIME_CLIENT] = client.first_response_s
        return cls(starts)

    async def measure(self) -> Round:
        """One start of each kind after the other, each in a quiet moment of its own."""
        values: Round = {name: [] for name in self._starts}
        for _ in range(COLD_STARTS):
            for name, start_s in self._starts.items():
                await asyncio.sleep(PAUSE_S)
                values[name].append(await start_s() * 1e3)
        return values


@asynccontextmanager
async def _cold_start(daemon: Daemon) -> AsyncIterator[Start]:
    """How to start cold; in the end the daemon's log has to agree that all of it was cold."""
    connection = await connect(daemon.port)
    before = await daemon.leaves.settled()
    count = 0

    async def start_s() -> float:
        nonlocal count, before
        took_s = await connection.timed(daemon.request)
        count += 1
        await daemon.leaves.as_before(before, spares=True)
        before = daemon.leaves.names()
        return took_s

    yield start_s
    connection.close()
    assert daemon.cold_starts() == count, f"{count - daemon.cold_starts()} starts were warm"


async def _python_s(*arguments: str) -> float:
    return python_s(*arguments)


@dataclass(frozen=True)
class _Loaded:
    """A server and the connections to it, with the names of its cases."""

    server: Server
    connections: list[Connection]
    latency: str
    rate: str
    cpu: str

    async def one_connection(self) -> Round:
        connection, request = self.connections[0], self.server.request
        took_s = [await connection.timed(request) for _ in range(WARM_INVOKES)]
        return {self.latency: [one_s * 1e6 for one_s in took_s]}

    async def all_connections(self) -> Round:
        """As many requests as can be had, and what each cost the server in processor time."""
        cpu_s, since = self.server.cpu_s(), time.perf_counter()
        counts = await asyncio.gather(
            *(self._ask_until(connection, since + THROUGHPUT_S) for connection in self.connections)
        )
        took_s, count = time.perf_counter() - since, sum(counts)
        cpu_us = (self.server.cpu_s() - cpu_s) * 1e6
        return {self.rate: [count / took_s], self.cpu: [cpu_us / count]}

    async def _ask_until(self, connection: Connection, end: float) -> int:
        count = 0
        while time.perf_counter() < end:
            await connection.ask(self.server.request)
            count += 1
        return count


class WarmInvokes:
    """Invokes of environments that wait for them, beside aiohttp's hello world."""

    def __init__(self, loaded: list[_Loaded]) -> None:
        self._loaded = loaded

    @classmethod
    async def set_up(cls, stack: AsyncExitStack) -> WarmInvokes:
        daemon = await stack.enter_async_context(lambdad(memory_mb=WARM_MEMORY_MB, idle_s=600))
        hello = stack.enter_context(hello_world())
        loaded = []
        for server, names in (
            (daemon, (INVOKE, INVOKE_RATE, INVOKE_CPU)),
            (hello, (HELLO, HELLO_RATE, HELLO_CPU)),
        ):
            connections = [await connect(server.port) for _ in range(CONNECTIONS)]
            for connection in connections:
                stack.callback(connection.close)
            loaded.append(_Loaded(server, connections, *names))
        return cls(loaded)

    async def measure(self) -> Round:
        """The load has a processor of its own, subject and reference share the others.

        Left alone, a small server and its client end up on one processor in some rounds and not
        in others, and answer in 30 µs or in 100.
        """
        processors = os.sched_getaffinity(0)
        if len(processors) > 1:
            os.sched_setaffinity(0, {min(processors)})
            for one in self._loaded:
                one.server.pin(processors - {min(processors)})
        values: Round = {}
        try:
            for one in self._loaded:
                values |= await one.one_connection()
            for one in self._loaded:
                values |= await one.all_connections()
        finally:
            os.sched_setaffinity(0, processors)
        return values


async def rounds() -> list[Round]:
    """All rounds; one more, the first, is thrown away: it fills caches and starts environments."""
    async with AsyncExitStack() as stack:
        cold_starts = await ColdStarts.set_up(stack)
        warm_invokes = await WarmInvokes.set_up(stack)
        measured = [
            await cold_starts.measure() | await warm_invokes.measure() for _ in range(ROUNDS + 1)
        ]
    return measured[1:]
