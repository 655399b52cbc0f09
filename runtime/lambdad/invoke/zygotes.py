"""The daemon's end of the zygotes: one per interpreter, one for all that is executed.

The daemon never forks: a zygote is spawned (posix_spawn) with an empty environment and one
descriptor, and everything else is asked of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path

import structlog

from lambdad.code.runtimes import Interpreter
from lambdad.model import limits
from lambdad.model.errors import PlatformFault
from lambdad_sandbox import channel, plan, steps
from lambdad_sandbox.features import HostFeatures
from lambdad_sandbox.messages import Entered, KeepTemplate, SpawnFailed, SpawnRequest
from lambdad_sandbox.spec import RootSpec

_log = structlog.get_logger()

START_S_MAX = 30.0


@dataclass(frozen=True, slots=True)
class Payload:
    """Folders that zygotes need: the guest's files, the zygote's own, a place for roots, and
    all code, for zygotes that are not root's.
    """

    guest: Path
    machinery: Path
    roots: Path
    code: Path


# An interpreter, and what is loaded besides the runtime client.
_Key = tuple[Interpreter | None, tuple[str, ...]]


class Zygote:
    """One fork server, from the daemon's side.

    Attributes:
        loaded: the top-level modules that it has loaded with its packages.
    """

    def __init__(self, pid: int, end: socket.socket) -> None:
        self.pid, self._end = pid, end
        self.loaded: frozenset[str] = frozenset()
        self.pidfd = os.pidfd_open(pid)

    def request(self, message: SpawnRequest | KeepTemplate, descriptors: list[int]) -> None:
        """Ask for an environment or a template; the answer comes on the channel sent along.

        Raises:
            PlatformFault: the zygote is dead or does not keep up.
        """
        try:
            channel.send(self._end, message, descriptors)
        except OSError as error:
            raise PlatformFault(f"cannot reach the zygote: {error}") from error

    def stop(self) -> None:
        """End it and every environment that was cloned from it; wait until it has."""
        self._end.close()
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.pidfd)


class Zygotes:
    """All zygotes, started when a function first needs one."""

    def __init__(
        self,
        payload: Payload,
        features: HostFeatures,
        own: Interpreter,
        *,
        resolv_conf: str,
        first_uid: int,
    ) -> None:
        self._payload, self._features, self._own = payload, features, own
        self._resolv_conf, self._first_uid = resolv_conf, first_uid
        self._starting: dict[_Key, asyncio.Task[Zygote]] = {}

    async def of(self, interpreter: Interpreter | None, packages: tuple[str, ...] = ()) -> Zygote:
        """The zygote of an interpreter; of ``None``, the one for what is executed.

        Args:
            interpreter: a Python of the host's.
            packages: what it has loaded besides the runtime client.

        Raises:
            PlatformFault: it does not start, with the step that failed.
        """
        key = interpreter, packages
        task = self._starting.get(key)
        if task is None or (task.done() and task.exception() is not None):
            task = asyncio.get_running_loop().create_task(self._start(*key))
            self._starting[key] = task
        return await asyncio.shield(task)

    def ready(
        self, interpreter: Interpreter | None, packages: tuple[str, ...] = ()
    ) -> Zygote | None:
        """The zygote, if it stands already: the way that costs nothing."""
        task = self._starting.get((interpreter, packages))
        if task is None or not task.done() or task.cancelled() or task.exception():
            return None
        return task.result()

    async def stop(self) -> None:
        for key, task in list(self._starting.items()):
            if not task.done():
                task.cancel()
                await asyncio.wait([task])
            self._forget(key)

    def _forget(self, key: _Key) -> None:
        task = self._starting.pop(key)
        if not task.cancelled() and task.exception() is None:
            asyncio.get_running_loop().remove_reader(task.result().pidfd)
            task.result().stop()

    def _died(self, key: _Key) -> None:
        """A zygote ended by itself, and its environments with it; the next use starts another."""
        _log.error("zygote died", runtime=name_of(*key))
        self._forget(key)

    async def _start(self, interpreter: Interpreter | None, packages: tuple[str, ...]) -> Zygote:
        used = interpreter or self._own
        root = self._payload.roots / name_of(interpreter, packages)
        root.mkdir(exist_ok=True)
        spec = RootSpec(
            mount_point=str(root),
            interpreter=str(used.prefix),
            executable=used.inside,
            preload="bootstrap" if interpreter else "",
            packages=packages,
            guest=str(self._payload.guest),
            machinery=str(self._payload.machinery),
            code=str(self._payload.code),
            resolv_conf=self._resolv_conf,
            uids=(self._first_uid, limits.environments_max),
            gid=limits.environment_gid,
        )
        packed = steps.pack(plan.make_root(spec, self._features))
        zygote, end = _spawn(self._own, self._payload.machinery)
        try:
            channel.send(end, SpawnRequest(packed, (), own_network=False))
            zygote.loaded = await asyncio.wait_for(_entered(end), START_S_MAX)
        except (OSError, TimeoutError, PlatformFault) as error:
            zygote.stop()
            raise PlatformFault(f"cannot start the zygote of {root.name}: {error}") from error
        key = interpreter, packages
        asyncio.get_running_loop().add_reader(zygote.pidfd, self._died, key)
        _log.info("zygote ready", runtime=root.name, pid=zygote.pid)
        return zygote


def name_of(interpreter: Interpreter | None, packages: tuple[str, ...] = ()) -> str:
    """What the zygote is called, and the folder of its root."""
    plain = f"python{interpreter.version}" if interpreter else "exec"
    return "+".join((plain, *packages))


def _spawn(own: Interpreter, machinery: Path) -> tuple[Zygote, socket.socket]:
    ours, theirs = channel.pair()
    command = [str(own.executable), "-I", "-S", "-B", str(machinery), "enter"]
    pid = os.posix_spawn(
        command[0],
        command,
        {},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, 2, 1),
            (os.POSIX_SPAWN_DUP2, theirs.fileno(), 3),
        ],
    )
    theirs.close()
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1024 * 1024)
    ours.setblocking(False)
    return Zygote(pid, ours), ours


async def _entered(end: socket.socket) -> frozenset[str]:
    """Wait for the first word of a zygote: what it has loaded."""
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(end.fileno(), readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(end.fileno())
    message, _ = channel.receive(end)
    if isinstance(message, SpawnFailed):
        raise PlatformFault(f"cannot {message.step}: {os.strerror(message.errno)}")
    if not isinstance(message, Entered):
        raise PlatformFault("it ended without a word; its standard error says why")
    return frozenset(message.loaded)
