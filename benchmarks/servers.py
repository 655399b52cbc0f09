"""The processes under load: lambdad with the null function, and aiohttp's hello world.

Each is started for one run, asked for nothing but what its users may ask, and ended with it.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.client import connect, request
from benchmarks.leaves import Leaves
from lambdad.ground import subtree

_FUNCTIONS = Path(__file__).parent / "functions"
_READY = "lambdad is ready: "
API = "/2015-03-31/functions"


@dataclass(frozen=True)
class Server:
    """A process that listens.

    Attributes:
        pid: of the process; the CPU time of its descendants counts as its own.
        request: what the load sends.
    """

    pid: int
    port: int
    request: bytes

    def pin(self, processors: set[int]) -> None:
        """Keep it, and what it will start, to these processors."""
        process = psutil.Process(self.pid)
        for one in (process, *process.children(recursive=True)):
            os.sched_setaffinity(one.pid, processors)

    def cpu_s(self) -> float:
        """Processor time that it and its living descendants have had."""
        process = psutil.Process(self.pid)
        return sum(process_cpu_s(one.pid) for one in (process, *process.children(recursive=True)))


@dataclass(frozen=True)
class Daemon(Server):
    """lambdad, with one function deployed.

    Attributes:
        leaves: of its environments and spares.
    """

    logs: Path
    leaves: Leaves

    def cold_starts(self) -> int:
        """How many there were by its own account."""
        segments = self.logs.rglob("*.segment")
        return sum(segment.read_bytes().count(b"Init Duration") for segment in segments)


@asynccontextmanager
async def lambdad(*, memory_mb: int, idle_s: float) -> AsyncIterator[Daemon]:
    """A daemon that keeps idle environments for ``idle_s``, with the null function."""
    with serving("--idle-s", str(idle_s)) as (pid, port, state):
        await _deploy(port, memory_mb)
        invoke = request("POST", f"{API}/null/invocations", {})
        yield Daemon(pid, port, invoke, state / "logs", Leaves.of(subtree(state)))


@contextmanager
def serving(*options: str) -> Iterator[tuple[int, int, Path]]:
    """A daemon without a function: its pid, its port, its state directory."""
    with tempfile.TemporaryDirectory(prefix="lambdad-bench-") as folder:
        lambdad_command = str(Path(sys.executable).with_name("lambdad"))
        command = [lambdad_command, "serve", "--port", "0", "--state-dir", folder, *options]
        with _running(command) as (pid, line):
            port = int(line.removeprefix(_READY).rpartition(":")[2])
            yield pid, port, Path(folder)


@contextmanager
def hello_world() -> Iterator[Server]:
    with _running([sys.executable, "-m", "benchmarks.hello"]) as (pid, line):
        yield Server(pid, int(line), request("GET", "/"))


@contextmanager
def _running(command: list[str]) -> Iterator[tuple[int, str]]:
    """A process, and the first line that it prints."""
    with tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline().strip()
            if not line:
                errors.seek(0)
                sys.exit(errors.read().strip() or f"{command[0]} does not start")
            yield process.pid, line
        finally:
            process.terminate()
            process.communicate()


async def _deploy(port: int, memory_mb: int) -> None:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.write(_FUNCTIONS / "null" / "lambda_function.py", "lambda_function.py")
    document: dict[str, Any] = {
        "FunctionName": "null",
        "Runtime": f"python3.{sys.version_info.minor}",
        "Role": "arn:aws:iam::123456789012:role/benchmarks",
        "Handler": "lambda_function.lambda_handler",
        "Code": {"ZipFile": base64.b64encode(content.getvalue()).decode()},
        "MemorySize": memory_mb,
    }
    connection = await connect(port)
    await connection.ask(request("POST", API, document))
    configuration = request("GET", f"{API}/null/configuration")
    while json.loads(await connection.ask(configuration))["State"] != "Active":  # noqa: ASYNC110  it is another process's
        await asyncio.sleep(0.05)
    connection.close()


def process_cpu_s(pid: int) -> float:
    """In nanoseconds, as schedstat counts; what psutil reads counts in hundredths of a second."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(task.read_text().split()[0]) for task in tasks) / 1e9
