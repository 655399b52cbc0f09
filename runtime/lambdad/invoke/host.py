"""What environments are made with: one object that the daemon composes, handed to every pool."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from lambdad.code.runtimes import interpreter, runtime_version_arn
from lambdad.invoke import journal, platform_words
from lambdad.invoke.preloading import Preloading
from lambdad.invoke.sandbox import Disk, Network, Owner, Sandbox
from lambdad.invoke.spares import Kind, Spare, Spares
from lambdad.invoke.subscription import Destination, Subscription
from lambdad.invoke.telemetry import Courier
from lambdad.invoke.templates import Template, TemplateKeeper, Templates
from lambdad.invoke.zygotes import Zygotes
from lambdad.model import ids, limits
from lambdad.model.clock import Clock
from lambdad.model.errors import PlatformFault
from lambdad.model.function import Function
from lambdad_sandbox import channel, plan, remote
from lambdad_sandbox.cgroup import Keeper, Limits
from lambdad_sandbox.errors import SandboxError
from lambdad_sandbox.features import HostFeatures
from lambdad_sandbox.messages import KeepTemplate
from lambdad_sandbox.spec import BlankSpec, GuestSpec, SandboxSpec

_log = structlog.get_logger()

if TYPE_CHECKING:
    from lambdad.invoke.environment import Environment

# A layer with this file switches extensions off (internal/lambda/extensions of the Runtime
# Interface Emulator, whose code is AWS's).
_NO_EXTENSIONS = "disable-extensions-jwigqn8j"


class GuestDoor(Protocol):
    """Serves the Runtime API of an environment; so the data plane itself speaks no HTTP."""

    async def open(self, environment: Environment, listener: Any) -> Callable[[], Awaitable[None]]:
        """Serve on the listener; returns what closes it."""

    def courier(
        self, destination: Destination, open_socket: Callable[[], Awaitable[socket.socket]]
    ) -> Courier:
        """What brings telemetry to an extension."""


class Logs(journal.Logs, Protocol):
    """Takes the log events of environments."""

    def close(self, group: str) -> None:
        """Nothing writes to this group; what comes later opens it again."""

    def remove(self, group: str) -> None:
        """Whose log it was is no more."""


class Uids:
    """User ids for environments: each has one of its own, and the one given back last comes
    last, so that a file left behind is nobody's.
    """

    def __init__(self, first: int) -> None:
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


class Networks(Protocol):
    """Network namespaces, made ahead of time."""

    async def take(self) -> Network: ...

    def give_back(self, network: Any) -> None: ...


class Disks(Protocol):
    """File systems for ``/tmp``, made ahead of time."""

    async def prepare(self, tmp_mb: int) -> None: ...

    def take(self, tmp_mb: int) -> Disk | None: ...

    async def make(self, tmp_mb: int) -> Disk: ...

    async def copy(self, disk: Any, *, from_uid: int, to_uid: int) -> Disk: ...

    async def discard(self, disk: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Parts:
    """What the daemon composes.

    Attributes:
        networks: None where each clone has its own, or has the host's.
        disks: None where ``/tmp`` is in memory.
        host_network: whether environments share the host's network.
        first_uid: of as many user ids as there can be environments.
    """

    keeper: Keeper
    zygotes: Zygotes
    preloading: Preloading
    features: HostFeatures
    door: GuestDoor
    logs: Logs
    clock: Clock
    kernel: Executor
    code_path: Callable[[str], Path]
    code_root: Path
    forget_code: Callable[[str], None]
    networks: Networks | None
    disks: Disks | None
    host_network: bool
    first_uid: int


def _memory_bytes(memory_mb: int) -> int:
    """The limit of a cgroup: what the function pays for, and what our PID 1 needs."""
    return (memory_mb + limits.init_overhead_mb) * limits.MIB


_BLANK_LIMITS = Limits(
    memory_bytes=_memory_bytes(limits.memory_mb_min),
    pids=limits.processes_max,
    cpus=limits.init_phase_cpus,
)


class Host:
    """The composition; the small deeds below say how its parts make an environment."""

    def __init__(self, parts: Parts, *, region: str, account: str, spares: int) -> None:
        self._parts, self.region, self.account = parts, region, account
        self.door, self.logs, self.clock = parts.door, parts.logs, parts.clock
        self.forget_code = parts.forget_code
        self._uids = Uids(parts.first_uid)
        network = "host" if parts.host_network else "own" if parts.networks is None else "joined"
        self._blank = BlankSpec(
            listen=(limits.runtime_api_host, limits.runtime_api_port),
            network=network,
            open_files=limits.open_files_max,
            processes=limits.processes_max,
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self.templates: Templates  # They are made with this host, so they come later.
        self.spares = Spares(spares, self.blank_sandbox, self.remove_sandbox, self.background)

    async def make_ready(self, function: Function) -> None:
        """See that environments of this function can be had, quickly.

        Raises:
            ApiError: this host lacks the runtime.
            PlatformFault: its zygote does not start.
        """
        # To find an interpreter may take asking some; the answer is remembered.
        used = await asyncio.to_thread(interpreter, function.runtime)
        await self._parts.zygotes.of(used)
        if used is not None:
            await self._parts.preloading.consider(
                function, used, self.code_of(function), self.layers_of(function)
            )
        if self._parts.disks is not None:
            await self._parts.disks.prepare(function.tmp_mb)
        self.spares.refill(self._kind_of(function))

    async def sandbox_for(
        self,
        function: Function,
        owner: Owner,
        *,
        bare: bool = False,
        template: Template | None = None,
    ) -> Sandbox:
        """A sandbox that is about to be the function's: a spare, or one made now.

        Args:
            function: whose it is to be.
            owner: who is told what happens in it.
            bare: no process will be started in it in the same breath.
            template: whose clone is to run in it, so that it is bare, too.

        Raises:
            PlatformFault, OSError, SandboxError: none can be had.
        """
        kind = self._kind_of(function)
        spare = self.spares.take(kind)
        # What stands by in a spare one would only be waited for in one made now.
        made_now = Kind(kind.interpreter, packages=kind.packages)
        sandbox = spare or await self.blank_sandbox(made_now, owner)
        sandbox.owner = owner
        try:
            if template is not None and template.disk is not None:
                sandbox.disk = await self._copied(template, sandbox.uid)
            await self.dedicate(
                sandbox,
                self.code_of(function),
                function.memory_mb,
                function.tmp_mb,
                self.layers_of(function),
                order_follows=not bare and template is None,
            )
        except (OSError, SandboxError):
            sandbox.owner = Spare()  # The caller hears what went wrong, not that it ended.
            await self.remove_sandbox(sandbox)
            raise
        return sandbox

    async def dedicate(
        self,
        sandbox: Sandbox,
        code: Path,
        memory_mb: int,
        tmp_mb: int,
        layers: Path | None = None,
        *,
        order_follows: bool = True,
    ) -> None:
        """Make a blank sandbox that of the function whose code this is, and whose layers."""
        parts = self._parts
        if parts.disks is not None and sandbox.disk is None:
            sandbox.disk = parts.disks.take(tmp_mb) or await parts.disks.make(tmp_mb)
        spec = SandboxSpec(
            root=parts.features.root,
            code=str(code.relative_to(parts.code_root)),
            tmp_mb=tmp_mb,
            disk=sandbox.disk is not None,
            layers="" if layers is None else str(layers.relative_to(parts.code_root)),
        )
        trees = {"code": code} if layers is None else {"code": code, "layers": layers}
        own = trees if spec.root else {}
        sandbox.become(plan.make_own(spec), own, order_follows=order_follows)
        # While it takes its steps; what is started in it comes after both.
        sandbox.cgroup.grow(_memory_bytes(memory_mb), limits.cpus(memory_mb))

    def _kind_of(self, function: Function) -> Kind:
        """The kind of spare for it.

        A runtime stands by where root confines it, and where it is neither executed nor a clone
        nor about to become several.
        """
        used = interpreter(function.runtime)
        forked = used is not None and not self.command_of(function) and not function.restores
        alone = function.max_concurrency is None
        packages = self._parts.preloading.packages_for(function) if forked else ()
        return Kind(used, forked and alone and self._parts.features.root, packages)

    async def _copied(self, template: Template, uid: int) -> Disk:
        """A disk on which is what a template's init has written, for one more user."""
        assert self._parts.disks is not None
        return await self._parts.disks.copy(template.disk, from_uid=template.uid, to_uid=uid)

    async def template_of(self, function: Function) -> Template | str:
        """What the environments of a version with SnapStart are clones of, or why they are none.

        Raises:
            FunctionError: its init failed.
            PlatformFault: no environment could be had for that.
        """
        return self.templates.ready(function) or await self.templates.of(function)

    async def snapshot(self, function: Function) -> str | None:
        """Have a version with SnapStart ready to be restored; why no clones are made, if so.

        Raises:
            FunctionError, PlatformFault: as ``template_of``.
        """
        found = await self.templates.of(function) if function.restores else None
        return platform_words.no_clones(found) if isinstance(found, str) else None

    def forget_snapshot(self, function: Function) -> None:
        """The version is no more."""
        self.templates.forget(function)

    def stop(self) -> None:
        """Let go of what stands ready, and make nothing ahead any more."""
        self.spares.stop()
        self.templates.stop()

    def keep_template(self, function: Function) -> TemplateKeeper:
        """The keeper of a template of this function.

        Raises:
            PlatformFault: the zygote cannot be reached.
        """
        parts = self._parts
        zygote = parts.zygotes.ready(interpreter(function.runtime))
        if zygote is None:
            raise PlatformFault("cannot make a template: the zygote has ended")
        ours, theirs = channel.pair()
        rlimits = plan.rlimits(self._blank, parts.features)
        try:
            zygote.request(KeepTemplate(rlimits, ("control",)), [theirs.fileno()])
        except PlatformFault:
            ours.close()
            raise
        finally:
            theirs.close()
        return TemplateKeeper(ours, root=parts.features.root)

    def no_template(self, function: Function) -> str:
        """Why a version's environments cannot be clones; empty if they can, as far as is known."""
        if not remote.supported():
            return "clones of a process are made on x86-64 only"
        if self.command_of(function):
            return "its runtime is executed, and only the client that lambdad loads can be cloned"
        if self._parts.host_network:
            return "environments share the network of the host, so each has an address of its own"
        if self.extensions_of(function):
            return "it has extensions, and only one process can be cloned"
        return ""

    async def blank_sandbox(self, kind: Kind, owner: Owner) -> Sandbox:
        """A sandbox that is nobody's yet.

        Raises:
            PlatformFault, OSError, SandboxError: none can be had.
        """
        parts = self._parts
        wanted_of = kind.interpreter, kind.packages
        zygote = parts.zygotes.ready(*wanted_of) or await parts.zygotes.of(*wanted_of)
        uid, name = self._uids.take(), ids.request_id()
        try:
            cgroup = parts.keeper.create(name, _BLANK_LIMITS)
        except (OSError, SandboxError):
            self._uids.give_back(uid)
            raise
        sandbox = Sandbox(name, uid, cgroup, owner)
        try:
            if parts.networks is not None:
                sandbox.network = await parts.networks.take()
            if parts.host_network:
                sandbox.listen_here()
            guest = GuestSpec(parts.features.root, uid, limits.environment_gid)
            wanted = plan.make_blank(self._blank, guest, parts.features)
            last = plan.confine(guest)
            own_network = self._blank.network == "own"
            sandbox.request(zygote, wanted, last, own_network=own_network, parked=kind.parked)
        except (OSError, SandboxError, PlatformFault):
            await self.remove_sandbox(sandbox)
            raise
        return sandbox

    async def remove_sandbox(self, sandbox: Sandbox) -> None:
        """End it and leave nothing."""
        ending = [sandbox.remove(self._parts.kernel)]
        if self._parts.disks is not None and sandbox.disk is not None:
            # At the same time, so that nobody's end waits until files are written that go anyway.
            ending.append(self._parts.disks.discard(sandbox.disk))
        for error in await asyncio.gather(*ending, return_exceptions=True):
            if isinstance(error, (OSError, SandboxError)):
                _log.warning("cannot clean up", environment=sandbox.name, error=str(error))
            elif error is not None:
                raise error
        if self._parts.networks is not None and sandbox.network is not None:
            self._parts.networks.give_back(sandbox.network)
        self._uids.give_back(sandbox.uid)

    @property
    def shares_network(self) -> bool:
        """Whether environments are in the host's own network."""
        return self._parts.host_network

    @property
    def code_root(self) -> Path:
        """The folder of all code."""
        return self._parts.code_root

    def code_of(self, function: Function) -> Path:
        return self._parts.code_path(function.tree)

    def layers_of(self, function: Function) -> Path | None:
        """What ``/opt`` shows; None without layers."""
        if function.layers_tree is None:
            return None
        return self._parts.code_path(function.layers_tree)

    def extensions_of(self, function: Function) -> tuple[str, ...] | None:
        """The names of its external extensions; None if it has switched extensions off.

        Source: runtime-protocol 2.1; files, in the order of their names, and no folders.
        """
        layers = self.layers_of(function)
        if layers is None:
            return ()
        if (layers / _NO_EXTENSIONS).exists():
            return None
        try:
            with os.scandir(layers / "extensions") as entries:
                return tuple(sorted(one.name for one in entries if not one.is_dir()))
        except (FileNotFoundError, NotADirectoryError):
            return ()

    def runtime_version(self, function: Function) -> tuple[str, str] | tuple[None, None]:
        """The version of its runtime and that version's ARN; none if the function brings it."""
        version = platform_words.runtime_version(function.runtime)
        if version is None:
            return None, None
        return version, runtime_version_arn(self.region, function.runtime)

    def courier(
        self, open_socket: Callable[[], Awaitable[socket.socket]], subscription: Subscription
    ) -> Courier:
        """What brings telemetry to a subscriber."""
        return self._parts.door.courier(subscription.destination, open_socket)

    def command_of(self, function: Function) -> tuple[str, ...]:
        """What the runtime process executes; empty for the client that the zygote has loaded."""
        if interpreter(function.runtime) is None:
            return (self._bootstrap(function) or "/var/task/bootstrap",)
        wrapped = "AWS_LAMBDA_EXEC_WRAPPER" in (function.environment or {})
        return ("/var/runtime/bootstrap",) if wrapped else ()

    def has_bootstrap(self, function: Function) -> bool:
        """Whether there is one at all, be it executable or not."""
        return self._bootstrap(function) is not None

    def _bootstrap(self, function: Function) -> str | None:
        """Where it is, inside: the function's own comes before that of a layer (5.6)."""
        layers = self.layers_of(function)
        if os.path.lexists(self.code_of(function) / "bootstrap"):
            return "/var/task/bootstrap"
        if layers is not None and os.path.lexists(layers / "bootstrap"):
            return "/opt/bootstrap"
        return None

    def background(self, work: Awaitable[None]) -> None:
        """Let it run; ``settled`` waits for all of it."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def settled(self) -> None:
        while self._tasks:
            await asyncio.wait(self._tasks)
