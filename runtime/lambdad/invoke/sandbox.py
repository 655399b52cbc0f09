"""The namespaces, cgroup and root of one environment, from the daemon's side.

A thin shell around one channel and one pidfd, both watched by the event loop. Whoever owns it
is told what happens through ``Owner``; what it means is the owner's to decide. What comes out
of it is not believed: a descriptor is used after it has been looked at.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Protocol

import structlog

from lambdad.invoke.inner_sockets import InnerSockets
from lambdad.invoke.zygotes import Zygote
from lambdad.model import limits
from lambdad_sandbox import channel, steps, syscalls
from lambdad_sandbox.cgroup import Cgroup
from lambdad_sandbox.errors import StepFailed, UnexpectedMessage
from lambdad_sandbox.messages import (
    Become,
    Emptied,
    Entered,
    Forked,
    ForkInto,
    KillAll,
    Message,
    OpenSocket,
    ProcessExited,
    ProcessStarted,
    SignalProcess,
    SocketOpened,
    Spawned,
    SpawnFailed,
    SpawnRequest,
    StartProcess,
)

_log = structlog.get_logger()

_SECOND_LOOK_S = 0.01
_RUNTIME = "runtime"

Ask = Callable[[Message, Sequence[int]], None]


class Network(Protocol):
    """A network namespace, as its descriptor."""

    @property
    def fd(self) -> int: ...


class Disk(Protocol):
    """A file system for ``/tmp``, as a detached mount."""

    @property
    def tree_fd(self) -> int: ...

    def is_empty(self) -> bool: ...


class Owner(Protocol):
    """Who is told what happens in a sandbox."""

    def entered(self, listener: socket.socket) -> None: ...
    def not_entered(self, why: str) -> None: ...
    def process_failed_to_start(self, name: str, errno: int) -> None: ...
    def process_exited(self, name: str, status: int) -> None: ...
    def emptied(self) -> None: ...
    def memory_ran_out(self) -> None: ...
    def sandbox_died(self) -> None: ...


class Sandbox:
    """One ``init`` and what it runs; blank at first, and the owner's from ``become`` on.

    Attributes:
        name: the environment's id, and its cgroup's name.
        uid: the user that guests in it are.
        owner: who is told what happens.
        network: the network namespace that it joins, if that was made ahead of it.
        disk: what is its ``/tmp``, unless that is in memory.
        runtime_api: where its Runtime API is, seen from inside.
    """

    def __init__(self, name: str, uid: int, cgroup: Cgroup, owner: Owner) -> None:
        self.name, self.uid, self.cgroup, self.owner = name, uid, cgroup, owner
        self.network: Network | None = None
        self.disk: Disk | None = None
        self.runtime_api = f"{limits.runtime_api_host}:{limits.runtime_api_port}"
        self._loop = asyncio.get_running_loop()
        self._control, self._theirs = channel.pair()
        self._control.setblocking(False)
        self._keeper: socket.socket | None = None
        self._pidfd: int | None = None
        self._frozen = False
        self._listener: socket.socket | None = None
        self._died: asyncio.Future[None] = self._loop.create_future()
        self._sockets = InnerSockets(self._ask_for_socket)
        self._loop.add_reader(self._control.fileno(), self._read)
        if cgroup.oom_fd is not None:
            self._loop.add_reader(cgroup.oom_fd, self._oom, cgroup.oom_fd)

    def listen_here(self) -> None:
        """Make the listener of its Runtime API in the daemon's own network."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.runtime_api = f"127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def stands(self) -> bool:
        """Whether the clone has taken all steps to a blank sandbox."""
        return self._pidfd is not None

    def request(
        self,
        zygote: Zygote,
        plan: tuple[steps.Step, ...],
        confine: tuple[steps.Step, ...],
        *,
        own_network: bool,
        parked: bool = False,
    ) -> None:
        """Ask for the clone; the owner hears if it fails.

        Args:
            zygote: whose clone it is to be.
            plan: the steps to a blank sandbox.
            confine: those that take every right away, when it is somebody's.
            own_network: whether it is born in a network namespace of its own.
            parked: whether a runtime process is to stand by in it, confined.

        Raises:
            PlatformFault: the zygote cannot be reached.
        """
        named: dict[str, int] = {"control": self._theirs.fileno()}
        if self.network is not None:
            named["network"] = self.network.fd
        named |= self._doors()
        try:
            packed = steps.pack(plan), tuple(named), own_network, steps.pack(confine)
            request = SpawnRequest(*packed, parked)
            zygote.request(request, list(named.values()))
        finally:
            self._theirs.close()
            self.cgroup.close_fds()

    def become(
        self,
        plan: tuple[steps.Step, ...],
        trees: Mapping[str, Path],
        *,
        order_follows: bool = True,
    ) -> None:
        """Make it one function's; the owner hears when it stands, confined.

        Args:
            plan: the rest of the steps.
            trees: what is handed over read-only, by its name in the plan; none of what the plan
                finds by itself.
            order_follows: whether a process is to be started in it in the same breath.

        Raises:
            OSError: a tree cannot be bound.
        """
        bound: dict[str, int] = {}
        try:
            for name, tree in trees.items():
                bound[name] = syscalls.read_only_tree(str(tree), recursive=True)
            named = bound if self.disk is None else {"tmp": self.disk.tree_fd, **bound}
            message = Become(steps.pack(plan), tuple(named), order_follows)
            self._send(message, tuple(named.values()))
        finally:
            channel.close_all(tuple(bound.values()))

    def start_process(self, wanted: StartProcess, descriptors: Sequence[int]) -> None:
        """Start a guest process; the owner hears if that fails, and when it has ended.

        Args:
            wanted: what to start.
            descriptors: those that ``wanted.descriptors`` names, in its order.
        """
        self._send(wanted, descriptors)

    def fork_into(
        self, ask: Ask, outputs: Mapping[str, int], variables: dict[str, str], *, root: bool
    ) -> None:
        """Have a template's keeper put its runtime in here, which has to stand.

        The owner hears if that fails, and when the runtime has ended.

        Args:
            ask: asks the keeper.
            outputs: what the runtime writes to, by the names of ``ForkInto``.
            variables: its own, if it is no clone.
            root: whether the host's root made this, or a user in a user namespace.
        """
        if self._died.done():
            return
        assert self._pidfd is not None
        self._keeper, theirs = channel.pair()
        self._keeper.setblocking(False)
        self._loop.add_reader(self._keeper.fileno(), self._read_keeper)
        named = {"control": theirs.fileno(), "init": self._pidfd, **outputs, **self.open_doors()}
        try:
            message = ForkInto(root, self.uid, limits.environment_gid, variables, tuple(named))
            ask(message, tuple(named.values()))
        finally:
            theirs.close()
            self.cgroup.close_fds()

    def open_doors(self) -> dict[str, int]:
        """Descriptors by which a process comes into the cgroup; its ``close_fds`` closes them."""
        self.cgroup.open_fds()
        return self._doors()

    def _doors(self) -> dict[str, int]:
        doors = {f"tasks{i}": fd for i, fd in enumerate(self.cgroup.attach_fds)}
        if self.cgroup.clone_fd is not None:
            doors["cgroup"] = self.cgroup.clone_fd
        return doors

    def signal_process(self, name: str, number: int) -> None:
        """Send a signal to the process group of ``name``; if it is gone, nothing happens."""
        self._send(SignalProcess(name, number))

    async def open_socket(self) -> socket.socket:
        """A TCP socket of the network inside: not connected, non-blocking, the caller's to close.

        A frozen sandbox makes none before it is thawed.

        Raises:
            OSError: none is to be had, or the sandbox is gone.
        """
        return await self._sockets.open()

    @property
    def frozen(self) -> bool:
        """Whether its processes are stopped."""
        return self._frozen

    def freeze(self) -> None:
        """Stop every process; they do not notice."""
        self.cgroup.freeze()
        self._frozen = True

    def thaw(self) -> None:
        """Let them go on, if they were stopped."""
        if self._frozen:
            self.cgroup.thaw()
            self._frozen = False

    def kill_all(self) -> None:
        """End every guest process; ``emptied`` follows."""
        self._send(KillAll())

    async def remove(self, kernel: Executor) -> None:
        """End it and leave nothing: processes, mounts, namespaces, cgroup."""
        self._close_control()
        self._close_keeper()
        self._theirs.close()
        if self.cgroup.oom_fd is not None:
            self._loop.remove_reader(self.cgroup.oom_fd)
        await self._loop.run_in_executor(kernel, self.cgroup.kill)
        if self._pidfd is not None:
            await self._died
        if self._listener is not None:
            self._listener.close()
        await self._loop.run_in_executor(kernel, self.cgroup.remove)

    def _ask_for_socket(self, key: int) -> None:
        channel.send(self._control, OpenSocket(key))

    def _send(self, message: Message, descriptors: Sequence[int] = ()) -> None:
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
            except (OSError, UnexpectedMessage):
                message, descriptors = None, []
            if message is None:
                self._close_control()
                if self._pidfd is None:
                    self.owner.not_entered("it ended before it stood")
                return
            if not isinstance(message, (Spawned, SocketOpened)):
                channel.close_all(descriptors)  # No other message should bring any.
            self._take(message, descriptors)

    def _read_keeper(self) -> None:
        """What a template's keeper says of the runtime that it has put in here."""
        assert self._keeper is not None
        try:
            message, descriptors = channel.receive(self._keeper)
        except BlockingIOError:
            return
        except (OSError, UnexpectedMessage):
            message, descriptors = None, []
        if isinstance(message, Forked):
            doubt = _doubt(descriptors[0])
            if doubt not in ("", _ENDED):  # Of its end we are about to hear.
                self.owner.not_entered(doubt)
        elif isinstance(message, SpawnFailed):
            self.owner.not_entered(str(StepFailed(message.step, message.errno)))
        else:  # It has ended, or its keeper has, and so it has, too.
            status = message.status if isinstance(message, ProcessExited) else signal.SIGKILL
            self._close_keeper()
            self.owner.process_exited(_RUNTIME, status)
        channel.close_all(descriptors)

    def _close_keeper(self) -> None:
        if self._keeper is not None:
            self._loop.remove_reader(self._keeper.fileno())
            self._keeper.close()
            self._keeper = None

    def _take(self, message: Message, descriptors: list[int]) -> None:
        match message:
            case Spawned(names):
                self._spawned(dict(zip(names, descriptors, strict=True)))
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
            case SocketOpened(key, errno):
                self._sockets.opened(key, errno, descriptors)

    def _spawned(self, shown: dict[str, int]) -> None:
        self._pidfd = shown["init"]
        self.cgroup.born(self._pidfd)
        if "listener" in shown:
            self._listener = socket.socket(fileno=shown["listener"])
        self._loop.add_reader(self._pidfd, self._exited)
        if "runtime" in shown:
            doubt = _doubt(shown["runtime"])
            os.close(shown["runtime"])
            if doubt:
                self.owner.not_entered(doubt)

    def _entered(self) -> None:
        assert self._pidfd is not None
        assert self._listener is not None
        doubt = _doubt(self._pidfd)
        if doubt:
            self.owner.not_entered(doubt)
            return
        listener, self._listener = self._listener, None
        self.owner.entered(listener)

    def _oom(self, notices: int) -> None:
        """The kernel says so just before it kills, so a second look may see more."""
        os.eventfd_read(notices)
        self.owner.memory_ran_out()
        self._loop.call_later(_SECOND_LOOK_S, self.owner.memory_ran_out)

    def _close_control(self) -> None:
        if self._control.fileno() >= 0:
            self._loop.remove_reader(self._control.fileno())
            self._control.close()
        self._sockets.end()

    def _exited(self) -> None:
        assert self._pidfd is not None
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._died.set_result(None)
        self.owner.sandbox_died()


_STATUS_BYTES_MAX = 16 * 1024
_ENDED = "the sandbox ended before it was entered"
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
        pid = _fields(f"/proc/self/fdinfo/{pidfd}")["Pid"]
        status = _fields(f"/proc/{pid}/status")
    except OSError:
        return _ENDED
    for field, wanted in _CONFINED.items():
        if status[field] != wanted:
            return f"cannot trust the sandbox: {field} is {status[field]}"
    if "0" in status["Uid"].split():
        return "cannot trust the sandbox: it runs as root"
    return ""


def _fields(path: str) -> dict[str, str]:
    """The lines of a file that have a name before their colon, see proc(5)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # A start waits, open() takes longer.
    try:
        text = os.read(descriptor, _STATUS_BYTES_MAX).decode(errors="replace")
    finally:
        os.close(descriptor)
    return {
        name: value.strip()
        for name, _, value in (line.partition(":") for line in text.splitlines())
    }
