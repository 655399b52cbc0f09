"""The keeper of one template: a runtime whose init is done, and of which clones are made.

Three processes. The *keeper* runs this code; it is a fork of the zygote, as trusted as that. The
*twin* shares all memory with the runtime, is stopped before anything of the function's is there,
and never runs: it makes single system calls for the keeper. The *original* is the runtime itself:
it shares the twin's memory, but none of its rights; it is confined before it runs, and is stopped
for ever when it asks to be restored.

So a fork of the twin is a process with the original's memory and the keeper's rights, which is
stopped, too. The keeper takes it into the namespaces of a sandbox, makes of its rights what those
of any guest are, gives it the original's registers, and lets it go. What it holds is private to it
from then on. docs/decisions/0014 says why it is done so.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import select
import signal
import socket
import traceback
from collections.abc import Mapping
from typing import NamedTuple, NoReturn

from lambdad_sandbox import client as runtime_client
from lambdad_sandbox import confinement, likeness, syscalls
from lambdad_sandbox.channel import close_all, receive, send
from lambdad_sandbox.confinement import Identity, Registered
from lambdad_sandbox.errors import StepFailed, UnexpectedMessage
from lambdad_sandbox.likeness import CannotClone, Likeness
from lambdad_sandbox.messages import (
    Forked,
    ForkInto,
    KeepTemplate,
    ProcessExited,
    SpawnFailed,
    Suspend,
    Suspended,
)
from lambdad_sandbox.remote import Room, Stopped
from lambdad_sandbox.steps import Rlimits

_RUNTIME = "runtime"
_ORDER_S_MAX = 30  # Who has not been stopped or forked by then never will.


def keep(request: KeepTemplate, at_hand: Mapping[str, int], client: str) -> NoReturn:
    """Be the keeper, in a process of its own; it ends with the daemon's end of its channel."""
    try:
        Keeper(request, at_hand, client).serve()
    except BaseException:  # noqa: BLE001  nobody else will say why there is no template
        traceback.print_exc()
    finally:
        os._exit(1)


class Keeper:
    """One template."""

    def __init__(self, request: KeepTemplate, at_hand: Mapping[str, int], client: str) -> None:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
        # A channel for each clone; what has no number left is dropped without a word.
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        self._control = socket.socket(fileno=at_hand["control"])
        self._rlimits, self._client = Rlimits(request.rlimits), client
        self._runtimes: dict[int, socket.socket] = {}  # by pid, until they are reaped
        self._original: Original | None = None
        self._likeness: Likeness | None = None
        _see_processes()
        self._capabilities = _capabilities()
        self._room = Room()
        self._wake, wake_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        self._poll = select.poll()
        for descriptor in (self._control.fileno(), self._wake):
            self._poll.register(descriptor, select.POLLIN)

    def serve(self) -> NoReturn:
        """Do what the daemon asks, reap what ends; without its twin it is of no use."""
        while True:
            ready = {descriptor for descriptor, _ in self._poll.poll()}
            if self._wake in ready:
                os.read(self._wake, 4096)
                self._reap()
            if self._control.fileno() in ready:
                signal.alarm(_ORDER_S_MAX)  # There is no handler: it ends, and what it keeps.
                self._obey()
                signal.alarm(0)
            if ready - {self._wake, self._control.fileno()}:
                os._exit(1)

    def _obey(self) -> None:
        message, descriptors = receive(self._control)
        if message is None:
            os._exit(0)
        if isinstance(message, ForkInto):
            self._fork_into(message, dict(zip(message.descriptors, descriptors)))
            close_all(descriptors)
        elif isinstance(message, Suspend):
            said = self._suspended(message)
            with contextlib.suppress(OSError):  # It may have been given up meanwhile.
                send(self._control, said)
        else:
            raise UnexpectedMessage("an order for a template", message)

    # --- a runtime in a sandbox ---------------------------------------------------------

    def _fork_into(self, wanted: ForkInto, at_hand: Mapping[str, int]) -> None:
        control = socket.socket(fileno=os.dup(at_hand["control"]))
        try:
            if self._original is None:
                self._make_twin(wanted.environ, at_hand)
            born = self._forked(wanted, at_hand)
        except (StepFailed, OSError, ValueError) as error:
            number = getattr(error, "errno", None) or errno.EINVAL
            failed = error if isinstance(error, StepFailed) else StepFailed("clone", number)
            with contextlib.suppress(OSError):  # It may have been given up meanwhile.
                send(control, SpawnFailed(failed.step, failed.number))
            control.close()
            return
        if self._original is None:
            self._original = Original.begun(born.pid, wanted, at_hand)
        self._runtimes[born.pid] = control
        pidfd = os.pidfd_open(born.pid)
        born.let_go()
        with contextlib.suppress(OSError):
            send(control, Forked(), [pidfd])
        os.close(pidfd)

    def _make_twin(self, environ: dict[str, str], at_hand: Mapping[str, int]) -> None:
        """Fork it; it waits at a gate, where whoever takes up its registers finds the end.

        The twin itself would wait there for ever: we hold the other end.
        """
        gate, self._gate_end = socket.socketpair()
        self._gate = gate.detach()
        pid = syscalls.clone3(syscalls.CLONE_FILES, signal.SIGCHLD, at_hand.get("cgroup"))
        if pid == 0:
            syscalls.prctl(syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _join(at_hand)
            self._rlimits.apply({})
            runtime_client.prepare(self._client)
            os.write(self._gate, b"I am there")
            os.read(self._gate, 1)  # From here on it is the original that runs.
            os._exit(runtime_client.run(self._client, environ))
        self._poll.register(os.pidfd_open(pid), select.POLLIN)
        self._gate_end.recv(16)
        self._twin = Stopped.seize(pid, self._room)
        self._registers, self._mask = self._twin.registers(), syscalls.ptrace_signal_mask(pid)
        self._registered = Registered(
            syscalls.thread_id_address(), syscalls.ptrace_rseq(pid), syscalls.robust_list(0)
        )
        if self._registered.rseq is not None:  # What is registered for it will be the original's.
            self._twin.run([confinement.rseq(self._registered.rseq, register=False)])

    def _forked(self, wanted: ForkInto, at_hand: Mapping[str, int]) -> Stopped:
        """A process in the sandbox of ``init``, confined and like the original, still stopped."""
        like = self._likeness or _beginning(self._gate)
        identity = Identity(wanted.root, wanted.uid, wanted.gid, self._capabilities)
        registered, first = self._registered, self._original is None
        dead, theirs = socket.socketpair()
        theirs.close()
        with dead:
            calls = confinement.calls(
                identity, at_hand, like, dead=dead.fileno(), registered=registered
            )
            birth = confinement.birth(at_hand, registered.thread_id, shares_memory=first)
            born = self._twin.fork(birth)
            try:
                born.run(calls)
                born.set_registers(self._registers)
                syscalls.ptrace_set_signal_mask(born.pid, self._mask)
            except BaseException:
                _end(born.pid)
                raise
        return born

    # --- the original -----------------------------------------------------------------

    def _suspended(self, wanted: Suspend) -> Suspended:
        """Stop it, and see whether it can be had again; it is not let go, whatever is seen."""
        original = self._original
        if original is None:
            return Suspended("it has not begun", 0)
        try:
            stopped = Stopped.seize(original.pid, self._room)
            like = self._likeness = self._seen(original, wanted)
            self._registers = stopped.registers()
            self._mask = syscalls.ptrace_signal_mask(original.pid)
            self._try(original)
        except CannotClone as reason:
            return Suspended(str(reason), 0)
        except OSError as error:
            return Suspended(f"it cannot be looked at: {error.strerror}", 0)
        return Suspended("", like.anonymous_bytes)

    def _seen(self, original: Original, wanted: Suspend) -> Likeness:
        """What is to be like it.

        Raises:
            CannotClone: something of it cannot be had twice.
            OSError: it is gone.
        """
        pid, init = original.pid, original.init
        if not syscalls.same_memory(pid, self._twin.pid):
            raise CannotClone("it has executed another program")
        if likeness.limits(pid) != likeness.limits(self._twin.pid):
            raise CannotClone("it has changed its resource limits")
        if wanted.tmp_in_memory and os.listdir(os.path.join(f"/proc/{init}/root", "tmp")):
            raise CannotClone("it has written to /tmp, which is in memory here")
        return likeness.of(pid, init, self._room.mappings())

    def _try(self, original: Original) -> None:
        """Make a clone beside it and end it: what fails now would fail each time.

        Raises:
            CannotClone: it has failed.
        """
        try:
            _end(self._forked(original.wanted, original.at_hand).pid)
        except (StepFailed, ValueError) as error:
            raise CannotClone(f"on trial, {error}") from error
        finally:
            close_all(tuple(original.at_hand.values()))

    def _reap(self) -> None:
        """Whoever has ended; some may have been made by a runtime, as its parent's child."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | syscalls.WALL)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if not os.WIFSTOPPED(status) and pid in self._runtimes:
                control = self._runtimes.pop(pid)
                with contextlib.suppress(OSError):
                    send(control, ProcessExited(_RUNTIME, status))
                control.close()


class Original(NamedTuple):
    """The runtime whose init is run, and what it was put into its sandbox with.

    Attributes:
        pid: seen from here.
        init: PID 1 of its namespace, seen from here.
        wanted: what was asked for.
        at_hand: the descriptors that came with that, until it has been suspended.
    """

    pid: int
    init: int
    wanted: ForkInto
    at_hand: Mapping[str, int]

    @classmethod
    def begun(cls, pid: int, wanted: ForkInto, at_hand: Mapping[str, int]) -> Original:
        kept = {name: os.dup(at_hand[name]) for name in at_hand if name != "control"}
        return cls(pid, _pid_of(at_hand["init"]), wanted, kept)


def _join(at_hand: Mapping[str, int]) -> None:
    """Have what is used from now on counted where the template's is."""
    for name in at_hand:
        if name.startswith("tasks"):
            os.write(at_hand[name], b"0")


def _beginning(gate: int) -> Likeness:
    """What the original finds when it begins."""
    return Likeness((1, 2), (gate,), (), "/var/task", 0o022, 0)


def _see_processes() -> None:
    """Have a procfs at hand to look into and write to, in a mount namespace of one's own.

    The root of an ordinary user's zygote has one, which can only be read there.
    """
    syscalls.unshare(syscalls.CLONE_NEWNS)
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
    if os.path.exists("/proc/self"):
        syscalls.mount(None, "/proc", None, flags | syscalls.MS_REMOUNT | syscalls.MS_BIND)
    else:
        syscalls.mount("proc", "/proc", "proc", flags)


def _capabilities() -> int:
    """How many capabilities this kernel has."""
    with open("/proc/sys/kernel/cap_last_cap", encoding="ascii") as last:
        return int(last.read()) + 1


def _pid_of(pidfd: int) -> int:
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as info:
        return next(int(line.split()[1]) for line in info if line.startswith("Pid:"))


def _end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, syscalls.WALL)
