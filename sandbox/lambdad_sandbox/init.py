"""PID 1 of an environment: starts its processes, signals them, reaps them, and reports.

It is confined like everything it starts, holds no payload and no variable of the function
longer than it takes to start a process, waits for nothing that a guest could hold back, and
ends with the daemon's end of its channel. It knows no life cycle: the daemon says who is
started, and when.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import time
from collections.abc import Collection, Sequence
from functools import partial

from lambdad_sandbox import client, enter, syscalls
from lambdad_sandbox.channel import close_all, receive, send
from lambdad_sandbox.errors import StepFailed, UnexpectedMessage
from lambdad_sandbox.messages import (
    Become,
    Emptied,
    Entered,
    KillAll,
    Message,
    OpenSocket,
    ProcessExited,
    ProcessStarted,
    SignalProcess,
    SocketOpened,
    Spawned,
    SpawnFailed,
    StartProcess,
)
from lambdad_sandbox.parked import Parked
from lambdad_sandbox.rehearsal import take_orders
from lambdad_sandbox.steps import Step, unpack

_OTHERS_CHILD_S = 0.001  # between two looks at what somebody else is about to reap


class Init:
    """The loop of PID 1.

    Args:
        control: its end of the channel.
        client: the runtime client that the zygote has loaded.
        confine: the steps that take every right from it, and from a runtime process ahead of it.
    """

    def __init__(self, control: socket.socket, client: str, confine: Sequence[Step]) -> None:
        self._control, self._client, self._confine = control, client, confine
        self._not_for_guests: tuple[int, ...] = ()
        self._names: dict[int, str] = {}  # by pid, until it is reaped
        self._starting: dict[int, int] = {}  # pids by the pipe that tells how their exec went
        self._early: list[Message] | None = []
        self._parked: Parked | None = None
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def run(self, listener: int | None, *, parked: bool) -> None:
        """Serve until the daemon's end is closed; never returns.

        First it stands by, blank, until it is told whose it is to be. The first order comes with
        that, and a cold start is waiting for it: so it is obeyed before the daemon is told and
        anything is made ready for what may come later, unless there is time for that ahead.

        Args:
            listener: of the Runtime API, if it was born here.
            parked: whether a runtime process is to stand by as well.
        """
        shown = {"init": os.pidfd_open(os.getpid())}
        if listener is not None:
            shown["listener"] = listener
        if parked:
            self._make_ready(shown)
        send(self._control, Spawned(tuple(shown)), tuple(shown.values()))
        close_all(tuple(shown.values()))
        if self._become_whose():
            self._obey()
        early, self._early = self._early, None
        for message in (Entered(), *(early or ())):
            self._say(message)
        if not parked:
            self._watch_children()
        while True:
            ready = {descriptor for descriptor, _ in self._poll.poll()}
            for told in ready & self._starting.keys():
                self._started(told)
            if ready & set(self._not_for_guests):
                os.read(self._not_for_guests[0], 4096)
                self._reap()
            if self._control.fileno() in ready:
                self._obey()

    def _make_ready(self, shown: dict[str, int]) -> None:
        """Do ahead what can be: the runtime process, and what init itself will need."""
        self._watch_children()
        try:
            let_go = partial(self._let_go, tuple(shown.values()))
            address = _address(shown["listener"]) if "listener" in shown else None
            self._parked = Parked(self._client, self._confine, address, let_go)
        except StepFailed as failed:
            send(self._control, SpawnFailed(failed.step, failed.number))
            os._exit(1)
        shown["runtime"] = os.pidfd_open(self._parked.pid)
        take_orders()

    def _watch_children(self) -> None:
        """Be woken when one ends, and reap those that have."""
        self._not_for_guests = wake, wake_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        syscalls.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        self._reap()
        self._poll.register(wake, select.POLLIN)

    def _say(self, message: Message) -> None:
        """Tell the daemon, but nothing before it knows that the sandbox stands."""
        if self._early is None:
            send(self._control, message)
        else:
            self._early.append(message)

    def _become_whose(self) -> bool:
        """Take the steps that depend on the function, then the last; whether an order follows."""
        message, descriptors = receive(self._control)
        if message is None:
            os._exit(0)
        if not isinstance(message, Become):
            raise UnexpectedMessage("Become", message)
        at_hand = dict(zip(message.descriptors, descriptors))
        steps = (*unpack(message.steps), *self._confine)
        enter.run_or_report(steps, at_hand, self._control.fileno())
        return message.order_follows

    def _obey(self) -> None:
        message, descriptors = receive(self._control)
        if message is None:
            os._exit(0)
        if isinstance(message, StartProcess):
            self._start(message, descriptors)
        elif isinstance(message, SignalProcess):
            self._signal(message)
        elif isinstance(message, OpenSocket):
            self._open_socket(message.key)
        elif isinstance(message, KillAll):
            self._kill_all()
        else:
            raise UnexpectedMessage("an order for init", message)

    def _start(self, wanted: StartProcess, descriptors: Sequence[int]) -> None:
        try:
            if wanted.command:
                self._execute(wanted, descriptors)
            elif self._parked is not None:
                parked, self._parked = self._parked, None
                self._names[parked.pid] = wanted.name
                parked.start(wanted, descriptors)
            else:
                self._fork(wanted, descriptors)
        except OSError as error:  # No process is to be had.
            self._say(ProcessStarted(wanted.name, error.errno or errno.EAGAIN))
        finally:
            close_all(descriptors)

    def _fork(self, wanted: StartProcess, descriptors: Sequence[int]) -> None:
        pid = syscalls.fork()
        if pid == 0:
            self._let_go(())
            os.setpgid(0, 0)
            client.wear(wanted, descriptors)
            client.prepare(self._client)
            os._exit(client.run(self._client, wanted.environ))
        self._born(pid, wanted.name)

    def _execute(self, wanted: StartProcess, descriptors: Sequence[int]) -> None:
        """Fork and exec; a failure is told by its errno through a pipe that exec closes.

        That is not waited for: other guests may stop the child before it gets so far.
        """
        told, tell = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            pid = os.fork()
        except OSError:
            close_all((told, tell))
            raise
        if pid == 0:
            try:
                self._let_go(())
                os.setpgid(0, 0)
                client.wear(wanted, descriptors)
                for number in (signal.SIGPIPE, signal.SIGXFSZ):
                    signal.signal(number, signal.SIG_DFL)  # Python ignores these, others do not.
                os.execve(wanted.command[0], wanted.command, wanted.environ)
            except OSError as error:
                os.write(tell, bytes([error.errno or errno.EINVAL]))
            os._exit(127)
        os.close(tell)
        self._born(pid, wanted.name)
        self._starting[told] = pid
        self._poll.register(told, select.POLLIN)

    def _born(self, pid: int, name: str) -> None:
        """Parent and child both make the group: a signal may come before either's next step."""
        with contextlib.suppress(PermissionError, ProcessLookupError):  # It was faster.
            os.setpgid(pid, pid)
        self._names[pid] = name

    def _started(self, told: int) -> None:
        """Exec has closed the pipe, or it holds the reason why there was none."""
        self._poll.unregister(told)
        pid = self._starting.pop(told)
        try:
            failure = int.from_bytes(os.read(told, 1), "big")
        except BlockingIOError:  # The child is gone, but another guest holds its end of the pipe.
            failure = 0
        os.close(told)
        self._say(ProcessStarted(self._names[pid], failure))
        if failure:
            del self._names[pid]  # Its end is no news.

    def _let_go(self, shown: Collection[int]) -> None:
        """In a child: nothing of init's but the confinement stays."""
        if self._not_for_guests:
            signal.set_wakeup_fd(-1)
            syscalls.signal(signal.SIGCHLD, signal.SIG_DFL)
        close_all((*self._not_for_guests, *self._starting, *shown))
        self._control.close()

    def _signal(self, wanted: SignalProcess) -> None:
        """Signal a group, and its first process also where it has left for another group.

        Who is not reaped keeps its pid, so nobody else can be meant.
        """
        for pid, name in self._names.items():
            if name == wanted.name:
                with contextlib.suppress(ProcessLookupError):  # They all left.
                    os.killpg(pid, wanted.number)
                if os.getpgid(pid) != pid:
                    os.kill(pid, wanted.number)

    def _open_socket(self, key: int) -> None:
        """It is not connected here: who listens inside could make that wait."""
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
                send(self._control, SocketOpened(key, 0), [made.fileno()])
        except OSError as error:
            send(self._control, SocketOpened(key, error.errno or errno.EAGAIN))

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            self._report(pid, status)

    def _report(self, pid: int, status: int) -> None:
        for told, starting in tuple(self._starting.items()):
            if starting == pid:
                self._started(told)
        if self._parked is not None and self._parked.pid == pid:
            self._parked = None  # The next one will be forked when it is asked for.
        name = self._names.pop(pid, None)
        if name is not None:
            self._say(ProcessExited(name, status))

    def _kill_all(self) -> None:
        """SIGKILL for everyone but PID 1, until nobody is left.

        A clone of a template is a child of the template's keeper, who reaps it.
        """
        while True:
            try:
                os.kill(-1, signal.SIGKILL)
            except ProcessLookupError:
                break
            try:
                self._report(*os.waitpid(-1, 0))
            except ChildProcessError:
                time.sleep(_OTHERS_CHILD_S)
        self._say(Emptied())


def _address(listener: int) -> tuple[str, int]:
    with socket.socket(fileno=os.dup(listener)) as listening:
        host, port = listening.getsockname()
    return host, port
