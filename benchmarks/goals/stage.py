"""A daemon for goals: functions of the ladder deployed to it, and its environments counted.

The daemon is asked for nothing but what its users may ask. How many environments there are is
read from the cgroups, which the kernel keeps: each environment, spare and template has a leaf.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.client import Connection, UnexpectedAnswer, connect, request
from benchmarks.goals.packages import Package
from benchmarks.leaves import Leaves
from benchmarks.servers import API, serving
from lambdad.ground import subtree

PAUSE_S = 0.06  # a cold start rarely follows another
MEMORY_MB = 1769  # a processor for each environment
_DEPLOY_S_MAX, _LOOK_S = 60, 0.01


@dataclass(frozen=True)
class Target:
    """A function, or a version of one, that can be invoked.

    Attributes:
        path: of its invocations.
    """

    path: str

    def event(self, **event: Any) -> bytes:
        """The request with this event."""
        path, mark, qualifier = self.path.partition("?")
        return request("POST", f"{path}/invocations{mark}{qualifier}", event)

    @property
    def latest(self) -> Target:
        """The function itself, which is never restored."""
        return Target(self.path.partition("?")[0])

    @property
    def dry_run(self) -> bytes:
        """A request that is read, checked and answered, and runs nothing."""
        head, separator, body = self.event().partition(b"\r\n\r\n")
        return head + b"\r\nX-Amz-Invocation-Type: DryRun" + separator + body


@dataclass(frozen=True)
class Times:
    """One invocation, in milliseconds: the whole, and how far into it the handler was.

    Attributes:
        sent_s: when, by ``time.monotonic``.
        to_import: until the module of the handler began to be imported; before it was sent, if
            that is negative.
        answer: what the handler said.
    """

    sent_s: float
    to_import: float
    to_handler: float
    total: float
    answer: dict[str, Any]


class Stage:
    """One daemon.

    Attributes:
        pid: the daemon's.
        port: of its API.
        state: its state directory.
        leaves: its environments, spares and templates.
    """

    def __init__(
        self, pid: int, port: int, state: Path, connection: Connection, *, spares: bool
    ) -> None:
        self.pid, self.port, self.state = pid, port, state
        self.leaves = Leaves.of(subtree(state))
        self._connection, self._spares = connection, spares

    async def deploy(self, package: Package, *, name: str = "", snap_start: bool = False) -> Target:
        """A function that can be invoked, or a version of it that is restored.

        Raises:
            UnexpectedAnswer: the daemon does not make it ready, or has no template for it.
        """
        name = name or package.name
        document = {
            "FunctionName": name,
            "Runtime": f"python{package.python.version}",
            "Role": "arn:aws:iam::123456789012:role/benchmarks",
            "Handler": "lambda_function.lambda_handler",
            "Code": {"ZipFile": base64.b64encode(package.zipped()).decode()},
            "MemorySize": MEMORY_MB,
            "Timeout": 60,
        }
        if snap_start:
            document["SnapStart"] = {"ApplyOn": "PublishedVersions"}
        path = f"{API}/{name}"
        await self.ask(request("POST", API, document))
        await self._active(f"{path}/configuration")
        if not snap_start:
            return Target(path)
        version = json.loads(await self.ask(request("POST", f"{path}/versions", {})))["Version"]
        made = await self._active(f"{path}/configuration?Qualifier={version}")
        if made["SnapStart"]["OptimizationStatus"] != "On":
            raise UnexpectedAnswer(f"SnapStart is off: {_reason(made)}")
        return Target(f"{path}?Qualifier={version}")

    async def _active(self, path: str) -> dict[str, Any]:
        configuration: dict[str, Any] = {}
        end = time.monotonic() + _DEPLOY_S_MAX
        while configuration.get("State") != "Active":
            configuration = json.loads(await self.ask(request("GET", path)))
            if configuration["State"] == "Failed" or time.monotonic() > end:
                raise UnexpectedAnswer(
                    f"{path} is {configuration['State']}: {_reason(configuration)}"
                )
            await asyncio.sleep(_LOOK_S)
        return configuration

    async def ask(self, asked: bytes) -> bytes:
        """The body of the answer."""
        return await self._connection.ask(asked)

    async def invoke(self, target: Target, **event: Any) -> Times:
        """One request, timed from the moment that it is sent; both ends have the same clock."""
        asked = target.event(**event)
        sent_ns = time.monotonic_ns()
        answer = json.loads(await self._connection.ask(asked))
        answered_ns = time.monotonic_ns()
        return Times(
            sent_ns / 1e9,
            (answer["imported_ns"] - sent_ns) / 1e6,
            (answer["called_ns"] - sent_ns) / 1e6,
            (answered_ns - sent_ns) / 1e6,
            answer,
        )

    async def cold(self, target: Target, **event: Any) -> Times:
        """A sporadic cold start; afterwards all is as before.

        Raises:
            Unsettled: it is not.
        """
        before = self.leaves.names()
        await asyncio.sleep(PAUSE_S)
        times = await self.invoke(target, **event)
        await self.leaves.as_before(before, spares=self._spares)
        return times

    def threads_beside(self) -> frozenset[int]:
        """The daemon's threads that are not its loop."""
        tasks = Path(f"/proc/{self.pid}/task").iterdir()
        return frozenset(int(task.name) for task in tasks) - {self.pid}

    def logged_ms(self, what: str, name: str) -> list[float]:
        """Every duration called *what* in the REPORT lines of the function *name*."""
        pattern = re.compile(rb"\t" + what.encode() + rb": ([0-9.]+) ms")
        segments = sorted((self.state / "logs").glob(f"*,{name}/*.segment"))
        return [float(one) for path in segments for one in pattern.findall(path.read_bytes())]


def _reason(configuration: dict[str, Any]) -> str:
    reason: str = configuration.get("StateReason", "no reason is given")
    return reason


@asynccontextmanager
async def staged(*, spares: int, idle_s: float = 0) -> AsyncIterator[Stage]:
    """A daemon with so many spares, which keeps a used environment for *idle_s*."""
    with serving("--spares", str(spares), "--idle-s", str(idle_s)) as (pid, port, state):
        connection = await connect(port)
        try:
            yield Stage(pid, port, state, connection, spares=spares > 0)
        finally:
            connection.close()
