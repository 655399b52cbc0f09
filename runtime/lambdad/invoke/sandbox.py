"""The namespaces, cgroup and root of one environment, from the daemon's side.

A thin shell around one channel and one pidfd, both watched by the event loop. Whoever owns it
is told what happens through ``Owner``; what it means is the owner's to decide.
"""

from __future__ import annotations

import asyncio
import os
import socket
from concurrent.futures import Executor
from pathlib import Path
from typing import Protocol

import structlog

from lambdad.invoke.zygotes import Zygote
from lambdad_sandbox import channel, steps, syscalls
from lambdad_sandbox.cgroup import Cgroup
from lambdad_sandbox.errors import StepFailed
from lambdad_sandbox.messages import (
    Become,
    Emptied,
    Entered,
    KillAll,
    Message,
    ProcessExited,
    ProcessStarted,
    Spawned,
    SpawnFailed,
    SpawnRequest,
    StartProcess,
)

_log = structlog.get_logger()


class Owner(Protocol):
    """Who is told what happens in a sandbox."""

    def entered(self, listener: socket.socket) -> None: ...
    def not_entered(self, why: str) -> None: ...
    def process_failed_to_start(self, name: str, errno: int) -> None: ...
    def process_exited(self, name: str, status: int) -> None: ...
    def emptied(self) -> None: ...
    def sandbox_died(self) -> None: ...


class Sandbox:
    """One ``init`` and what it runs; blank at first, and the owner's from ``become`` on.

    Attributes:
        name: the environment's id, and its cgroup's name.
        uid: the user that guests in it are.
        owner: who is told what happens.
    """

    def __init__(self, name: str, uid: int, cgroup: Cgroup, owner: Owner) -> None:
        self.name, self.uid, self.cgroup, self.owner = name, uid, cgroup, owner
        self._loop = asyncio.get_running_loop()
        self._control, self._theirs = channel.pair()
        self._control.setblocking(False)
        self._pidfd: int | None = None
        self._listener: socket.socket | None = None
        self._died: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(self._control.fileno(), self._read)

    def request(self, zygote: Zygote, plan: tuple[steps.Step, ...]) -> None:
        """Ask for the clone; the owner hears if it fails.

        Raises:
            PlatformFault: the zygote cannot be reached.
        """
        named: dict[str, int] = {"control": self._theirs.fileno()}
        if self.cgroup.clone_fd is not None:
            named["cgroup"] = self.cgroup.clone_fd
        named |= {f"tasks{i}": fd for i, fd in enumerate(self.cgroup.attach_fds)}
        try:
            zygote.request(SpawnRequest(steps.pack(plan), tuple(named)), list(named.values()))
        finally:
            self._theirs.close()
            self.cgroup.close_fds()

    def become(self, plan: tuple[steps.Step, ...], code: Path) -> None:
        """Make it one function's; the owner hears when it stands, confined.

        Raises:
            OSError: the code cannot be bound.
        """
        tree = syscalls.read_only_tree(str(code), recursive=True)
        try:
            self._send(Become(steps.pack(plan), ("code",)), (tree,))
        finally:
            os.close(tree)

    def start_process(self, wanted: StartProcess, output: int) -> None:
        """Start a guest process whose standard output and error go to ``output``."""
        self._send(wanted, (output,))

    def kill_all(self) -> None:
        """End every guest process; ``emptied`` follows."""
        self._send(KillAll())

    async def remove(self, kernel: Executor) -> None:
        """End it and leave nothing: processes, mounts, namespaces, cgroup."""
        self._close_control()
        self._theirs.close()
        await self._loop.run_in_executor(kernel, self.cgroup.kill)
        if self._pidfd is not None:
            await self._died
        if self._listener is not None:
            self._listener.close()
        await self._loop.run_in_executor(kernel, self.cgroup.remove)

    def _send(self, message: Message, descriptors: tuple[int, ...] = ()) -> None:
        try:
            channel.send(self._control, message, descriptors)
        except OSError as error:  # It is dying, and its end of the channel is about to say so.
            _log.debug("cannot reach init", environment=self.name, error=str(error))

    def _read(self) -> None:
        while self._control.fileno() >= 0:
            try:
                message, descriptors = channel.receive(self._control)
            except BlockingIOError:
                return
            except OSError:
                message, descriptors = None, []
            if message is None:
                self._close_control()
                if self._pidfd is None:
                    self.owner.not_entered("it ended before it stood")
                return
            self._take(message, descriptors)

    def _take(self, message: Message, descriptors: list[int]) -> None:
        match message:
            case Spawned():
                self._pidfd = descriptors[0]
                self._listener = socket.socket(fileno=descriptors[1])
                self._loop.add_reader(self._pidfd, self._exited)
            case SpawnFailed(step, errno):
                self.owner.not_entered(str(StepFailed(step, errno)))
            case Entered():
                self._entered()
            case ProcessStarted(name, errno):
                if errno:
                    self.owner.process_failed_to_start(name, errno)
            case ProcessExited(name, status):
                self.owner.process_exited(name, status)
            case Emptied():
                self.owner.emptied()

    def _entered(self) -> None:
        assert self._pidfd is not None
        assert self._listener is not None
        doubt = _doubt(self._pidfd)
        if doubt:
            self.owner.not_entered(doubt)
            return
        listener, self._listener = self._listener, None
        self.owner.entered(listener)

    def _close_control(self) -> None:
        if self._control.fileno() >= 0:
            self._loop.remove_reader(self._control.fileno())
            self._control.close()

    def _exited(self) -> None:
        assert self._pidfd is not None
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._died.set_result(None)
        self.owner.sandbox_died()


_CONFINED = {
    "CapInh": "0000000000000000",
    "CapPrm": "0000000000000000",
    "CapEff": "0000000000000000",
    "CapBnd": "0000000000000000",
    "CapAmb": "0000000000000000",
    "NoNewPrivs": "1",
    "Seccomp": "2",
}


def _doubt(pidfd: int) -> str:
    """Look from outside, rather than believe that the calls worked; empty if all is well."""
    try:
        pid = _fields(Path(f"/proc/self/fdinfo/{pidfd}"))["Pid"]
        status = _fields(Path(f"/proc/{pid}/status"))
    except OSError:
        return "the sandbox ended before it was entered"
    for field, wanted in _CONFINED.items():
        if status[field] != wanted:
            return f"cannot trust the sandbox: {field} is {status[field]}"
    if "0" in status["Uid"].split():
        return "cannot trust the sandbox: it runs as root"
    return ""


def _fields(path: Path) -> dict[str, str]:
    """The lines of a file that have a name before their colon, see proc(5)."""
    lines = path.read_text(encoding="ascii", errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}
