"""PID 1 of an environment: starts its processes, signals them, reaps them, and reports.

It is confined like everything it starts, holds no payload and no variable of the function
longer than it takes to start a process, waits for nothing that a guest could hold back, and
ends with the daemon's end of its channel. It knows no life cycle: the daemon says who is
started, and when.
"""

from __future__ import annotations

import contextlib
import errno
import gc
import os
import select
import signal
import socket
import sys
import time
import traceback
from collections.abc import Sequence
from functools import cache

from lambdad_sandbox import enter, syscalls
from lambdad_sandbox.channel import close_all, receive, send
from lambdad_sandbox.errors import UnexpectedMessage
from lambdad_sandbox.messages import (
    LOG_FD,
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
    StartProcess,
)
from lambdad_sandbox.steps import unpack

_OURS = ("lambdad_sandbox", "msgpack")


class Init:
    """The loop of PID 1. ``client`` is the runtime client that the zygote has loaded."""

    def __init__(self, control: socket.socket, client: str) -> None:
        self._control, self._client = control, client
        self._not_for_guests: tuple[int, ...] = ()
        self._names: dict[int, str] = {}  # by pid, until it is reaped
        self._starting: dict[int, int] = {}  # pids by the pipe that tells how their exec went
        self._early: list[Message] | None = []
        self._poll = select.poll()
        self._poll.register(control, select.POLLIN)

    def run(self, listener: int | None) -> None:
        """Serve until the daemon's end is closed; never returns.

        First it stands by, blank, until it is told whose it is to be. The first order comes with
        that, and a cold start is waiting for it: so it is obeyed before the daemon is told and
        anything is made ready for what may come later.
        """
        shown = [os.pidfd_open(os.getpid())]
        if listener is not None:
            shown.append(listener)
        send(self._control, Spawned(), shown)
        close_all(shown)
        self._become_whose()
        self._obey()
        early, self._early = self._early, None
        for message in (Entered(), *(early or ())):
            self._say(message)
        self._not_for_guests = wake, wake_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        self._reap()
        self._poll.register(wake, select.POLLIN)
        while True:
            ready = {descriptor for descriptor, _ in self._poll.poll()}
            for told in ready & self._starting.keys():
                self._started(told)
            if wake in ready:
                os.read(wake, 4096)
                self._reap()
            if self._control.fileno() in ready:
                self._obey()

    def _say(self, message: Message) -> None:
        """Tell the daemon, but nothing before it knows that the sandbox stands."""
        if self._early is None:
            send(self._control, message)
        else:
            self._early.append(message)

    def _become_whose(self) -> None:
        """Take the last steps, those that depend on the function."""
        message, descriptors = receive(self._control)
        if message is None:
            os._exit(0)
        if not isinstance(message, Become):
            raise UnexpectedMessage("Become", message)
        at_hand = dict(zip(message.descriptors, descriptors))
        enter.run_or_report(unpack(message.steps), at_hand, self._control.fileno())

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
            else:
                self._fork(wanted, descriptors)
        except OSError as error:  # No process is to be had.
            self._say(ProcessStarted(wanted.name, error.errno or errno.EAGAIN))
        finally:
            close_all(descriptors)

    def _fork(self, wanted: StartProcess, descriptors: Sequence[int]) -> None:
        pid = syscalls.fork()
        if pid == 0:
            self._become(wanted, descriptors)
            os._exit(run_client(self._client, wanted.environ))
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
                self._become(wanted, descriptors)
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

    def _become(self, wanted: StartProcess, descriptors: Sequence[int]) -> None:
        """In the child: nothing of init's but the confinement stays."""
        if self._not_for_guests:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        close_all((*self._not_for_guests, *self._starting))
        self._control.close()
        os.setpgid(0, 0)
        given = dict(zip(wanted.descriptors, descriptors))
        os.dup2(given["stdout"], 1)
        os.dup2(given.get("stderr", 1), 2)
        if "log" in given:
            # A client that is executed has to inherit it; what a loaded one starts has not.
            os.dup2(given["log"], LOG_FD, inheritable=bool(wanted.command))
        close_all(descriptors)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
        os.chdir(wanted.directory)

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
        name = self._names.pop(pid, None)
        if name is not None:
            self._say(ProcessExited(name, status))

    def _kill_all(self) -> None:
        """SIGKILL for everyone but PID 1, until nobody is left to wait for."""
        while True:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            try:
                self._report(*os.waitpid(-1, 0))
            except ChildProcessError:
                break
        self._say(Emptied())


def run_client(name: str, environ: dict[str, str]) -> int:
    """Be the runtime process without an exec: the client is loaded, only its world changes."""
    set_environ(environ)
    _after_fork()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as any Python starts
    client = sys.modules[name]
    # What is ours must not be what a function's import finds. To let go of the modules would
    # write to every page that they stand on, so they are kept.
    _kept.extend(sys.modules.pop(module) for module in own_modules())
    sys.modules["__main__"] = client
    sys.argv = [client.__file__ or name]
    gc.enable()
    return _exit_status(client)


def set_environ(environ: dict[str, str]) -> None:
    """``os.environ.update``, with half of its page faults."""
    known: dict[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]  # noqa: SLF001  there is no public way
    for name, value in environ.items():
        os.putenv(name, value)
        known[os.fsencode(name)] = os.fsencode(value)
    time.tzset()


def _after_fork() -> None:
    """What Python's fork handlers would do that matters to a process with one thread."""
    if "random" in sys.modules:
        sys.modules["random"].seed()
    if "threading" in sys.modules:
        sys.modules["threading"].main_thread()._set_native_id()  # noqa: SLF001  there is no public way


_kept: list[object] = []


@cache
def own_modules() -> list[str]:
    """The modules that are the platform's; asked once, ahead of time, by the zygote."""
    return [module for module in sys.modules if module.partition(".")[0] in _OURS]


def _exit_status(client: object) -> int:
    """Run to the end as an interpreter would, exit handlers and all."""
    status = 0
    try:
        client.main()  # type: ignore[attr-defined]
    except SystemExit as leaving:
        if isinstance(leaving.code, int):
            status = leaving.code & 0xFF
        elif leaving.code is not None:
            print(leaving.code, file=sys.stderr)  # noqa: T201  as sys.exit does
            status = 1
    except BaseException:  # noqa: BLE001  the interpreter's own last resort
        traceback.print_exc()
        status = 1
    _leave()
    return status


def _leave() -> None:
    import atexit  # noqa: PLC0415  only a process that ends pays for these
    import threading  # noqa: PLC0415

    for last_deed in (threading._shutdown, atexit._run_exitfuncs):  # type: ignore[attr-defined]  # noqa: SLF001  there is no public way
        last_deed()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            continue
