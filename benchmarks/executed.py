"""The references for cold starts: what has to be executed where there is no zygote.

None of them is isolated: each is the least that a start costs, without any of what lambdad adds.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_FOLDER = Path(__file__).parent / "functions" / "null"
_EVENT = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
    b"Lambda-Runtime-Aws-Request-Id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\n"
    b"Lambda-Runtime-Deadline-Ms: 4102444800000\r\n"
    b"Lambda-Runtime-Invoked-Function-Arn: arn:aws:lambda:us-east-1:123456789012:function:null\r\n"
    b"\r\n{}"
)


def python_s(*arguments: str) -> float:
    """Seconds that an interpreter takes from its start to its end."""
    since = time.perf_counter()
    os.waitpid(_spawn([sys.executable, *arguments], {}), 0)
    return time.perf_counter() - since


class RuntimeClient:
    """AWS's own runtime client, executed anew for each event, under the least of a Runtime API.

    The same work as AWS's emulator does for a first invocation, without what the emulator takes.
    """

    def __init__(self) -> None:
        self._responded: asyncio.Future[float] | None = None
        self._delivered = False
        self._port = 0

    @staticmethod
    def is_installed() -> bool:
        return importlib.util.find_spec("awslambdaric") is not None

    @asynccontextmanager
    async def served(self) -> AsyncIterator[RuntimeClient]:
        """Its Runtime API."""
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self._port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()

    async def first_response_s(self) -> float:
        """Seconds from the client's start until it began to send its first response."""
        self._responded = asyncio.get_running_loop().create_future()
        self._delivered = False
        variables = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self._port}",
            "LAMBDA_TASK_ROOT": str(_FOLDER),
            "PYTHONPATH": str(_FOLDER),
        }
        handler = "lambda_function.lambda_handler"
        since = time.perf_counter()
        pid = _spawn([sys.executable, "-m", "awslambdaric", handler], variables)
        try:
            return await asyncio.wait_for(self._responded, 10) - since
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)  # noqa: ASYNC222  it has been killed

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One event, then its response, then silence until the client is ended."""
        assert self._responded is not None
        try:
            while not self._responded.done():
                head = await reader.readuntil(b"\r\n\r\n")
                if head.startswith(b"POST"):
                    self._responded.set_result(time.perf_counter())
                elif not self._delivered:
                    self._delivered = True
                    writer.write(_EVENT)
            await reader.read()
        except (ConnectionError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()


def _spawn(command: list[str], variables: dict[str, str]) -> int:
    """posix_spawn(3): a fork would also count how large this process is."""
    quiet = [
        (os.POSIX_SPAWN_OPEN, descriptor, os.devnull, os.O_RDWR, 0) for descriptor in (0, 1, 2)
    ]
    return os.posix_spawn(command[0], command, variables, file_actions=quiet)
