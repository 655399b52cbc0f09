"""PID 1 of an environment: starts its processes, reaps, reports exits, and nothing else.

It is confined like everything it starts, holds no payload and no variable of the function
longer than it takes to start a process, and ends with the daemon's end of its channel.
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
    Become,
    Emptied,
    Entered,
    KillAll,
    Message,
    ProcessExited,
    ProcessStarted,
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
        self._names: dict[int, str] = {}
        self._early: list[Message] | None = []

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
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == wake:
                    os.read(wake, 4096)
                    self._reap()
                else:
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
        elif isinstance(message, KillAll):
            self._kill_all()
        else:
            raise UnexpectedMessage("StartProcess or KillAll", message)

    def _start(self, wanted: StartProcess, descriptors: Sequence[int]) -> None:
        try:
            if wanted.command:
                self._execute(wanted, descriptors)
            else:
                self._fork(wanted, descriptors)
        except OSError as error:  # No process is to be had.
            self._say(ProcessStarted(wanted.name, error.errno or errno.EAGAIN))

    def _fork(self, wanted: StartProcess, descriptors: Sequence[int]) -> None:
        pid = syscalls.fork()
        if pid == 0:
            self._become(wanted, descriptors)
            os._exit(run_client(self._client, wanted.environ))
        close_all(descriptors)
        self._names[pid] = wanted.name

    def _execute(self, wanted: StartProcess, descriptors: Sequence[int]) -> None:
        """Fork and exec; a failure is told by its errno through a pipe that exec closes."""
        told, tell = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            try:
                self._become(wanted, descriptors)
                for number in (signal.SIGPIPE, signal.SIGXFSZ):
                    signal.signal(number, signal.SIG_DFL)  # Python ignores these, others do not.
                os.execve(wanted.command[0], wanted.command, wanted.environ)
            except OSError as error:
                os.write(tell, b"%d" % (error.errno or errno.EINVAL))
            os._exit(127)
        os.close(tell)
        close_all(descriptors)
        failure = int(os.read(told, 8) or b"0")
        os.close(told)
        if failure:
            os.waitpid(pid, 0)
        else:
            self._names[pid] = wanted.name
        self._say(ProcessStarted(wanted.name, failure))

    def _become(self, wanted: StartProcess, descriptors: Sequence[int]) -> None:
        """In the child: nothing of init's but the confinement stays."""
        if self._not_for_guests:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        close_all(self._not_for_guests)
        self._control.close()
        os.setpgid(0, 0)
        os.dup2(descriptors[0], 1)
        os.dup2(descriptors[-1], 2)
        close_all(descriptors)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 1)
        os.chdir(wanted.directory)

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
