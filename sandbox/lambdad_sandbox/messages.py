"""The thirteen things that daemon, zygote and init say to each other. Closed: no fourteenth.

Each is a frozen value; on the wire a msgpack array of its name and its fields. Descriptors
travel beside a message, in the order that it names. No payload and no log line ever does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Union

import msgpack

from lambdad_sandbox.errors import UnexpectedMessage

# Where a guest process finds the descriptor called "log"; AWS uses this number in its Java and
# .NET runtimes. Init never has so many open itself.
LOG_FD = 62


@dataclass(frozen=True)
class SpawnRequest:
    """Daemon to zygote: make an environment. ``descriptors`` names those sent along.

    Attributes:
        steps: the plan, as ``steps.pack`` writes it.
        descriptors: their names; ``control`` is the channel of the environment to come,
            ``cgroup`` the v2 cgroup to be born in, the others are for the steps.
        own_network: whether the clone is born in a network namespace of its own.
    """

    steps: tuple[Any, ...]
    descriptors: tuple[str, ...]
    own_network: bool


@dataclass(frozen=True)
class Spawned:
    """Clone to daemon: I stand, blank; my pidfd comes along, and the listener if it is mine."""


@dataclass(frozen=True)
class SpawnFailed:
    """Zygote or clone to daemon: no environment; which step failed, and why."""

    step: str
    errno: int


@dataclass(frozen=True)
class Become:
    """Daemon to clone: the rest of the plan, which makes it one function's and confines it."""

    steps: tuple[Any, ...]
    descriptors: tuple[str, ...]


@dataclass(frozen=True)
class Entered:
    """Init to daemon: all steps are done, I am confined. A zygote says so when it serves."""


@dataclass(frozen=True)
class StartProcess:
    """Daemon to init: start a guest process in a process group of its own.

    Attributes:
        name: how other messages call it, such as ``runtime``.
        command: what to execute; empty for the runtime client that the zygote has loaded.
        environ: its whole environment.
        directory: where it starts.
        descriptors: the names of those sent along: ``stdout``; ``stderr``, which is
            ``stdout`` if it is not named; ``log``, which becomes number ``LOG_FD``.
    """

    name: str
    command: tuple[str, ...]
    environ: dict[str, str]
    directory: str
    descriptors: tuple[str, ...]


@dataclass(frozen=True)
class ProcessStarted:
    """Init to daemon: it runs; ``errno`` is not 0 when the command could not be executed.

    Of one without a command only the failure is told.
    """

    name: str
    errno: int


@dataclass(frozen=True)
class ProcessExited:
    """Init to daemon: it ended; ``status`` as wait(2) gives it."""

    name: str
    status: int


@dataclass(frozen=True)
class SignalProcess:
    """Daemon to init: a signal for its whole process group; for one that is gone, nothing."""

    name: str
    number: int


@dataclass(frozen=True)
class KillAll:
    """Daemon to init: end every guest process; files stay."""


@dataclass(frozen=True)
class Emptied:
    """Init to daemon: no guest process is left."""


@dataclass(frozen=True)
class OpenSocket:
    """Daemon to init: make a TCP socket in this network, not connected; ``key`` names it."""

    key: int


@dataclass(frozen=True)
class SocketOpened:
    """Init to daemon: the socket comes along, unless ``errno`` says why there is none."""

    key: int
    errno: int


Message = Union[
    SpawnRequest, Spawned, SpawnFailed, Become, Entered, StartProcess, ProcessStarted,
    ProcessExited, SignalProcess, KillAll, Emptied, OpenSocket, SocketOpened,
]  # fmt: skip

_KINDS = {kind.__name__: kind for kind in Message.__args__}  # type: ignore[attr-defined]


def encode(message: Message) -> bytes:
    packed: bytes = msgpack.packb((type(message).__name__, *vars(message).values()))
    return packed


def decode(data: bytes) -> Message:
    """Read one message.

    Raises:
        UnexpectedMessage: it is none of them.
    """
    try:
        name, *fields = msgpack.unpackb(data, use_list=False)
        message: Message = _KINDS[name](*fields)
    except (KeyError, TypeError, ValueError) as error:
        raise UnexpectedMessage("one of the thirteen messages", data[:64]) from error
    return message
