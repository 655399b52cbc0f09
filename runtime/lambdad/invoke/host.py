"""What environments are made with: one object that the daemon composes, handed to every pool."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lambdad.code.runtimes import interpreter
from lambdad.invoke.zygotes import Zygote, Zygotes
from lambdad.model import limits
from lambdad.model.clock import Clock
from lambdad.model.errors import PlatformFault
from lambdad.model.function import Function
from lambdad_sandbox import plan
from lambdad_sandbox.cgroup import Cgroup, Keeper, Limits
from lambdad_sandbox.features import HostFeatures
from lambdad_sandbox.spec import SandboxSpec
from lambdad_sandbox.steps import Step

if TYPE_CHECKING:
    from lambdad.invoke.environment import Environment


class GuestDoor(Protocol):
    """Serves the Runtime API of an environment; so the data plane itself speaks no HTTP."""

    async def open(self, environment: Environment, listener: Any) -> Callable[[], Awaitable[None]]:
        """Serve on the listener; returns what closes it."""


class Logs(Protocol):
    """Takes the lines of functions."""

    def write(self, function: str, lines: bytes) -> None: ...


class Uids:
    """User ids for environments: each has one of its own, and the one given back last comes
    last, so that a file left behind is nobody's.
    """

    def __init__(self) -> None:
        first = limits.environment_uid_first
        self._free = deque(range(first, first + limits.environments_max))

    def take(self) -> int:
        """A uid that no living environment has.

        Raises:
            PlatformFault: as many environments stand as there are uids.
        """
        if not self._free:
            raise PlatformFault(f"cannot have more than {limits.environments_max} environments")
        return self._free.popleft()

    def give_back(self, uid: int) -> None:
        self._free.append(uid)


@dataclass
class Host:
    """The composition; the small deeds below say how its parts make an environment."""

    keeper: Keeper
    zygotes: Zygotes
    features: HostFeatures
    door: GuestDoor
    logs: Logs
    clock: Clock
    kernel: Executor
    code_path: Callable[[str], Path]
    region: str
    account: str
    uids: Uids = field(default_factory=Uids)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def zygote_of(self, function: Function) -> Zygote | None:
        """The zygote, if it stands already."""
        return self.zygotes.ready(interpreter(function.runtime))

    async def start_zygote_of(self, function: Function) -> Zygote:
        return await self.zygotes.of(interpreter(function.runtime))

    def cgroup_for(self, name: str, function: Function) -> Cgroup:
        memory_mb = function.memory_mb + limits.init_overhead_mb
        return self.keeper.create(
            name,
            Limits(
                memory_bytes=memory_mb * limits.MIB,
                pids=limits.processes_max,
                cpus=limits.cpus(function.memory_mb),
            ),
        )

    def plan_for(self, uid: int, function: Function) -> tuple[Step, ...]:
        return plan.make(
            SandboxSpec(
                uid=uid,
                gid=limits.environment_gid,
                tmp_mb=function.tmp_mb,
                layers=False,
                listen=(limits.runtime_api_host, limits.runtime_api_port),
                open_files=limits.open_files_max,
                processes=limits.processes_max,
            ),
            self.features,
        )

    def code_of(self, function: Function) -> Path:
        return self.code_path(function.tree)

    def command_of(self, function: Function) -> tuple[str, ...]:
        """What the runtime process executes; empty for the client that the zygote has loaded."""
        if interpreter(function.runtime) is None:
            return ("/var/task/bootstrap",)
        wrapped = "AWS_LAMBDA_EXEC_WRAPPER" in (function.environment or {})
        return ("/var/runtime/bootstrap",) if wrapped else ()

    def has_bootstrap(self, function: Function) -> bool:
        return (self.code_of(function) / "bootstrap").exists()

    def background(self, work: Coroutine[Any, Any, None]) -> None:
        """Let it run; ``settled`` waits for all of it."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)
