"""The fork server: a bare interpreter, single-threaded, that environments are cloned from.

It is executed with an empty environment, so nothing of the daemon's is in its memory. First it
builds the root of its runtime around itself (``enter``), then, in that root and with the
runtime client loaded, it clones on request (``serve``). It ends with the daemon's end of its
channel, and every environment with it.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import site
import socket
import sys
from typing import NoReturn

from lambdad_sandbox import enter, sharing, syscalls, template
from lambdad_sandbox.channel import close_all, receive, send
from lambdad_sandbox.client import own_modules
from lambdad_sandbox.errors import UnexpectedMessage
from lambdad_sandbox.init import Init
from lambdad_sandbox.messages import Entered, KeepTemplate, SpawnFailed, SpawnRequest
from lambdad_sandbox.rehearsal import rehearse
from lambdad_sandbox.steps import DropBoundingSet, guest_filter, unpack
from lambdad_sandbox.steps.files import GUEST_HOME

_REHEARSALS = 20  # CPython 3.11 specialises after 8 or 16 runs, later ones sooner.
CHANNEL = 3  # The descriptor that the daemon leaves open for us, over both execs.
_MACHINERY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_NAMESPACES = (
    syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
)


def main(arguments: list[str]) -> NoReturn:
    """``enter``: build the root and execute oneself in it. ``serve MODULE PACKAGE...``: clone."""
    channel = socket.socket(fileno=CHANNEL)
    if arguments[0] == "enter":
        _enter(channel)
    _, client, *packages = arguments
    loaded = _settle(client, packages)
    send(channel, Entered(loaded))
    _serve(channel, client)


def _enter(channel: socket.socket) -> NoReturn:
    os.setsid()
    os.umask(0o022)  # What is made here is for guests to read.
    request, _ = receive(channel)
    if not isinstance(request, SpawnRequest):
        raise UnexpectedMessage("SpawnRequest", request)
    enter.run_or_report(unpack(request.steps), {"channel": CHANNEL}, CHANNEL)
    raise AssertionError("the last step of a root is Exec")


def _settle(client: str, packages: list[str]) -> tuple[str, ...]:
    """Load all that clones will need, then let go of the files it came from.

    Returns:
        The top-level modules that came with the packages.
    """
    guest_filter()
    loaded: tuple[str, ...] = ()
    if client:
        _as_an_interpreter_starts()
        importlib.import_module(client)
        loaded = _load(packages)
    else:
        syscalls.umount2("/var/lang", syscalls.MNT_DETACH)
    syscalls.umount2(_MACHINERY, syscalls.MNT_DETACH)
    sys.path[:] = [path for path in sys.path if path != _MACHINERY]
    os.environ.clear()
    sys.dont_write_bytecode = False
    enter.run([DropBoundingSet()], {})
    own_modules()
    sharing.gather(lambda: rehearse(client))
    rehearse(client, _REHEARSALS)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # clones are reaped by the kernel
    # And so are those of a template whose keeper has ended: nobody else may do it in a container.
    syscalls.prctl(syscalls.PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # what PID 1 has no handler for cannot end it
    sharing.settle()
    return loaded


def _load(packages: list[str]) -> tuple[str, ...]:
    """Import what the operator wants and the interpreter has; the top-level modules that brings."""
    before = set(sys.modules)
    os.environ["HOME"] = GUEST_HOME  # Some remember at once what lies below it.
    for package in packages:
        try:
            importlib.import_module(package)
        except ImportError as error:
            print(f"lambdad: cannot load {package} ahead: {error}", file=sys.stderr)  # noqa: T201  the daemon's own
    return tuple(sorted({name.partition(".")[0] for name in set(sys.modules) - before}))


def _as_an_interpreter_starts() -> None:
    """What ``-S`` left out, but for .pth files: they run code that nobody asked for."""
    site.setquit()
    site.setcopyright()
    site.sethelper()
    sys.path += [path for path in site.getsitepackages() if os.path.isdir(path)]
    sys.path.insert(0, "/var/runtime")


def _serve(channel: socket.socket, client: str) -> NoReturn:
    while True:
        request, descriptors = receive(channel)
        if request is None:
            os._exit(0)
        if isinstance(request, KeepTemplate):
            _keep_template(request, descriptors, client)
            close_all(descriptors)
            continue
        if not isinstance(request, SpawnRequest):
            raise UnexpectedMessage("SpawnRequest", request)
        at_hand = dict(zip(request.descriptors, descriptors))
        # Here the code is warm; a clone would pay in page faults.
        steps, confine = unpack(request.steps), unpack(request.confine)
        control = at_hand["control"]
        namespaces = _NAMESPACES | (syscalls.CLONE_NEWNET if request.own_network else 0)
        try:
            pid = syscalls.clone3(namespaces, signal.SIGCHLD, at_hand.get("cgroup"))
        except OSError as error:
            _refuse(control, SpawnFailed("clone into new namespaces", error.errno or 0))
        else:
            if pid == 0:
                syscalls.signal_default(signal.SIGCHLD)
                enter.run_or_report(steps, at_hand, control)
                init = Init(socket.socket(fileno=at_hand["control"]), client, confine)
                _be(init, at_hand.get("listener"), parked=request.parked)
        close_all(descriptors)


def _keep_template(request: KeepTemplate, descriptors: list[int], client: str) -> None:
    """Fork its keeper; that there is none is told by the end of its channel."""
    with contextlib.suppress(OSError):
        if syscalls.fork() == 0:
            os.close(CHANNEL)
            template.keep(request, dict(zip(request.descriptors, descriptors)), client)


def _refuse(control: int, message: SpawnFailed) -> None:
    end = socket.socket(fileno=control)
    with contextlib.suppress(OSError):  # The daemon may have given this environment up.
        send(end, message)
    end.detach()


def _be(init: Init, listener: int | None, *, parked: bool) -> NoReturn:
    try:
        init.run(listener, parked=parked)
    finally:
        os._exit(1)
