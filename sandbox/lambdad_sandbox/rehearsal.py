"""Going through what a start will do, as far as it leaves no trace.

The interpreter writes into code that it runs for the first times, to specialise it, and into
every object that it handles, to count its references. What the zygote has written is shared by
its clones; what a process writes itself costs it a copied page each, so one that stands by does
it while nobody waits.
"""

from __future__ import annotations

import os
import sys

from lambdad_sandbox.channel import close_all, pair, receive, send
from lambdad_sandbox.client import set_environ
from lambdad_sandbox.messages import Become, StartProcess
from lambdad_sandbox.steps import Attach, Identity, Tmpfs, pack, unpack

_ENVIRON = {f"LAMBDAD_{number}": "rehearsal" for number in range(32)}
_STEPS = pack((Tmpfs("/tmp", "1777", 1, 1), Attach("code", "/var/task"), Identity(1, 1)))
_ORDERS = (
    Become(_STEPS, ("code",)),
    StartProcess("runtime", (), _ENVIRON, "/var/task", ("stdout",)),
)


def rehearse(client: str, times: int = 1) -> None:
    """Take all orders of a start, and run an event if there is a client loaded."""
    for _ in range(times):
        take_orders()
        set_environ(_ENVIRON)
        os.environ.clear()
        if client:
            sys.modules[client].rehearse()


def take_orders() -> None:
    """What init has to do with a start."""
    ours, theirs = pair()
    with ours, theirs:
        for order in _ORDERS:
            send(ours, order, (ours.fileno(),))
            message, descriptors = receive(theirs)
            close_all(descriptors)
            assert message == order
    unpack(_STEPS)
