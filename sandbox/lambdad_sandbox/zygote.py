"""The fork server: a bare interpreter, single-threaded, that environments are cloned from.

It is executed with an empty environment, so nothing of the daemon's is in its memory. First it
builds the root of its runtime around itself (``enter``), then, in that root and with the
runtime client loaded, it clones on request (``serve``). It ends with the daemon's end of its
channel, and every environment with it.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import site
import socket
import sys
from typing import NoReturn

from lambdad_sandbox import enter, syscalls
from lambdad_sandbox.channel import close_all, receive, send
from lambdad_sandbox.errors import UnexpectedMessage
from lambdad_sandbox.init import Init, own_modules, set_environ
from lambdad_sandbox.messages import Become, Entered, SpawnFailed, SpawnRequest, StartProcess
from lambdad_sandbox.steps import (
    Attach,
    DropBoundingSet,
    Identity,
    Tmpfs,
    guest_filter,
    pack,
    unpack,
)

_REHEARSALS = 20  # CPython 3.11 specialises after 8 or 16 runs, later ones sooner.
CHANNEL = 3  # The descriptor that the daemon leaves open for us, over both execs.
_MACHINERY = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_NAMESPACES = (
    syscalls.CLONE_NEWNS | syscalls.CLONE_NEWPID | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
)


def main(arguments: list[str]) -> NoReturn:
    """``enter``: build the root and execute oneself in it. ``serve [MODULE]``: clone."""
    channel = socket.socket(fileno=CHANNEL)
    if arguments[0] == "enter":
        _enter(channel)
    _settle(arguments[1])
    send(channel, Entered())
    _serve(channel, arguments[1])


def _enter(channel: socket.socket) -> NoReturn:
    os.setsid()
    os.umask(0o022)  # What is made here is for guests to read.
    request, _ = receive(channel)
    if not isinstance(request, SpawnRequest):
        raise UnexpectedMessage("SpawnRequest", request)
    enter.run_or_report(unpack(request.steps), {"channel": CHANNEL}, CHANNEL)
    raise AssertionError("the last step of a root is Exec")


def _settle(client: str) -> None:
    """Load all that clones will need, then let go of the files it came from."""
    guest_filter()
    if client:
        _as_an_interpreter_starts()
        importlib.import_module(client)
    else:
        syscalls.umount2("/var/lang", syscalls.MNT_DETACH)
    syscalls.umount2(_MACHINERY, syscalls.MNT_DETACH)
    sys.path[:] = [path for path in sys.path if path != _MACHINERY]
    os.environ.clear()
    sys.dont_write_bytecode = False
    enter.run([DropBoundingSet()], {})
    own_modules()
    _rehearse(client)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # clones are reaped by the kernel
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # what PID 1 has no handler for cannot end it
    gc.collect()
    gc.freeze()
    gc.disable()


def _rehearse(client: str) -> None:
    """Go through what a clone will do, as far as it leaves no trace.

    The interpreter writes into code that it runs for the first times, to specialise it. What is
    written here is shared; what is left to a clone costs it a copied page each.
    """
    environ = {f"LAMBDAD_{number}": "rehearsal" for number in range(24)}
    steps = pack((Tmpfs("/tmp", "1777", 1, 1), Attach("code", "/var/task"), Identity(1, 1)))
    start = StartProcess("runtime", (), environ, "/var/task", ("stdout",))
    orders = (Become(steps, ("code",)), start)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        for _ in range(_REHEARSALS):
            for order in orders:
                send(ours, order, (ours.fileno(),))
                message, descriptors = receive(theirs)
                close_all(descriptors)
                assert message == order
            unpack(steps)
            set_environ(environ)
            os.environ.clear()
            if client:
                sys.modules[client].rehearse()


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
        if not isinstance(request, SpawnRequest):
            raise UnexpectedMessage("SpawnRequest", request)
        at_hand = dict(zip(request.descriptors, descriptors))
        steps = unpack(request.steps)  # Here the code is warm; a clone would pay in page faults.
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
                _be_init(at_hand, client)
        close_all(descriptors)


def _refuse(control: int, message: SpawnFailed) -> None:
    end = socket.socket(fileno=control)
    with contextlib.suppress(OSError):  # The daemon may have given this environment up.
        send(end, message)
    end.detach()


def _be_init(at_hand: dict[str, int], client: str) -> NoReturn:
    try:
        Init(socket.socket(fileno=at_hand["control"]), client).run(at_hand.get("listener"))
    finally:
        os._exit(1)
