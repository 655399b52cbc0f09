"""A throw-away environment at start, in which everything is tried that must fail.

What a host promises by its version it may still not do: another security module, a container
around it, a patched kernel. So nothing is believed before it has been tried.
"""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

from lambdad.code.runtimes import Interpreter
from lambdad.invoke.host import Host
from lambdad.invoke.spares import Kind
from lambdad.model import limits
from lambdad.model.errors import PlatformFault
from lambdad_bootstrap import probe
from lambdad_sandbox.errors import SandboxError
from lambdad_sandbox.messages import StartProcess

_PROBE_S_MAX = 30.0
_ANSWER_BYTES_MAX = 64 * 1024  # what a pipe holds, so that nobody has to read meanwhile


class _Owner:
    """Waits for the end of the one process that is run."""

    def __init__(self) -> None:
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def entered(self, listener: socket.socket) -> None:
        listener.close()

    def not_entered(self, why: str) -> None:
        self._fail(why)

    def process_failed_to_start(self, name: str, errno: int) -> None:
        self._fail(f"cannot execute the {name}: {os.strerror(errno)}")

    def process_exited(self, name: str, status: int) -> None:
        del name
        if not self.ended.done():
            self.ended.set_result(status)

    def emptied(self) -> None:
        """Nothing was asked to be emptied."""

    def memory_ran_out(self) -> None:
        """It is about to die of it."""

    def sandbox_died(self) -> None:
        self._fail("it ended")

    def _fail(self, why: str) -> None:
        if not self.ended.done():
            self.ended.set_exception(PlatformFault(why))


async def broken_promises(host: Host, own: Interpreter, canary: Path) -> list[tuple[str, str]]:
    """Try everything; the promises that do not hold here, each with what could be done.

    Args:
        host: what environments are made with.
        own: the interpreter to try with.
        canary: a file with something in it that no environment may read.

    Raises:
        PlatformFault: an environment cannot be made at all.
    """
    owner = _Owner()
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    try:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = "" if host.shares_network else str(listening.getsockname()[1])
            command = (own.inside, "-I", "-S", "-c", _source(), str(canary), port)
            wanted = StartProcess("probe", command, {}, "/", ("stdout",))
            said = await _run(host, own, owner, wanted, (read_end, write_end))
    except (OSError, SandboxError, TimeoutError) as error:
        raise PlatformFault(f"cannot make an environment: {error}") from error
    finally:
        os.close(read_end)
        os.close(write_end)
    *lines, last = said.splitlines() or [""]
    if last != "done":
        raise PlatformFault(f"cannot make an environment: the probe said {said[-200:]!r}")
    return [(promise, deed) for promise, _, deed in (line.partition("\t") for line in lines)]


async def _run(
    host: Host, own: Interpreter, owner: _Owner, wanted: StartProcess, pipe: tuple[int, int]
) -> str:
    """Run one process to its end in a sandbox of its own; what it said."""
    sandbox = await host.blank_sandbox(Kind(own), owner)
    try:
        await host.dedicate(
            sandbox, host.code_root, limits.memory_mb_default, limits.tmp_mb_default
        )
        sandbox.start_process(wanted, pipe[1:])
        await asyncio.wait_for(owner.ended, _PROBE_S_MAX)
    finally:
        await host.remove_sandbox(sandbox)
    os.set_blocking(pipe[0], False)
    return os.read(pipe[0], _ANSWER_BYTES_MAX).decode(errors="replace")


def _source() -> str:
    return Path(probe.__file__).read_text(encoding="utf-8")
