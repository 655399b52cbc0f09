"""A runtime process that stands ready before it is known what it will run.

It is forked by init while the sandbox is nobody's, confined at once, and has taken the page
faults that a start would bring. Then it waits for the one order that init hands on: it knows
nothing of any function until init is confined, too.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import sys
from collections.abc import Callable, Sequence

from lambdad_sandbox import client, enter, syscalls
from lambdad_sandbox.channel import pair, receive, send
from lambdad_sandbox.errors import StepFailed
from lambdad_sandbox.messages import Entered, SpawnFailed, StartProcess
from lambdad_sandbox.rehearsal import rehearse
from lambdad_sandbox.steps import Step

_WHAT = "start a runtime process ahead of its function"


class Parked:
    """From init's side.

    Args:
        name: the client that it will run.
        confine: the steps that confine it.
        address: of the Runtime API, if it is known already.
        let_go: called in it first, to close what is init's.

    Raises:
        StepFailed: no process is to be had, or it could not be confined.
    """

    def __init__(
        self,
        name: str,
        confine: Sequence[Step],
        address: tuple[str, int] | None,
        let_go: Callable[[], None],
    ) -> None:
        self._end, theirs = pair()
        try:
            self.pid = syscalls.fork()
        except OSError as error:
            raise StepFailed(_WHAT, error.errno or errno.EAGAIN) from error
        if self.pid == 0:
            try:
                self._end.close()
                let_go()
                enter.run_or_report(confine, {}, theirs.fileno())
                _stand_by(theirs, name, address)
            finally:
                os._exit(1)
        theirs.close()
        first, _ = receive(self._end)
        if isinstance(first, SpawnFailed):
            raise StepFailed(first.step, first.errno)
        if first is None:
            raise StepFailed(_WHAT, errno.ECHILD)

    def start(self, wanted: StartProcess, descriptors: Sequence[int]) -> None:
        """Hand on the order. If it is dead, that is heard of as of every other end."""
        with self._end, contextlib.suppress(ConnectionError):
            send(self._end, wanted, descriptors)


def _stand_by(end: socket.socket, name: str, address: tuple[str, int] | None) -> None:
    os.setpgid(0, 0)
    rehearse(name)
    if address is not None:
        sys.modules[name].stand_by(*address)
    client.prepare(name)
    send(end, Entered())
    wanted, descriptors = receive(end)
    end.close()
    if isinstance(wanted, StartProcess):  # Else nobody will ever need it.
        client.wear(wanted, descriptors)
        os._exit(client.run(name, wanted.environ))
