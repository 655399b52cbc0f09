"""The eighteen things that daemon, zygote, init and template say to each other; no nineteenth.

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
        confine: the last steps of all, which take every right away, packed, too.
        parked: whether a runtime process is to stand by, confined, before its function is known.
    """

    steps: tuple[Any, ...]
    descriptors: tuple[str, ...]
    own_network: bool
    confine: tuple[Any, ...] = ()
    parked: bool = False


@dataclass(frozen=True)
class Spawned:
    """Clone to daemon: I stand, blank. ``descriptors`` names what comes along.

    Attributes:
        descriptors: ``init``, the pidfd of the clone; ``listener``, if it was born here;
            ``runtime``, the pidfd of the runtime process that stands by, confined.
    """

    descriptors: tuple[str, ...]


@dataclass(frozen=True)
class SpawnFailed:
    """Zygote or clone to daemon: no environment; which step failed, and why."""

    step: str
    errno: int


@dataclass(frozen=True)
class Become:
    """Daemon to clone: the steps that make it one function's; those that confine it follow.

    Attributes:
        steps: as ``SpawnRequest`` has them.
        descriptors: the names of those sent along.
        order_follows: whether it brings the first order along, which is obeyed before anything
            is said.
    """

    steps: tuple[Any, ...]
    descriptors: tuple[str, ...]
    order_follows: bool = True


@dataclass(frozen=True)
class Entered:
    """Init to daemon: all steps are done, I am confined. A zygote says so when it serves.

    Attributes:
        loaded: the top-level modules that a zygote has loaded for the sake of its packages.
    """

    loaded: tuple[str, ...] = ()


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


@dataclass(frozen=True)
class KeepTemplate:
    """Daemon to zygote: fork a process that keeps a template; its channel comes along.

    Nothing of a function's is in it: what a zygote has seen once, its later clones may find in
    their memory.

    Attributes:
        rlimits: as ``steps.Rlimits`` has them, of all runtimes.
        descriptors: ``control``.
    """

    rlimits: tuple[tuple[str, int, int], ...]
    descriptors: tuple[str, ...]


@dataclass(frozen=True)
class ForkInto:
    """Daemon to template: put a runtime into a sandbox that stands, confined.

    The first time it begins, later it goes on from where the first was stopped.

    Attributes:
        root: as in ``SandboxSpec``.
        uid: as in ``SandboxSpec``.
        gid: as in ``SandboxSpec``.
        environ: of the first one; it is in the memory of the later ones.
        descriptors: the names of those sent along: ``control``, on which ``Forked`` is said;
            ``init``, the pidfd of its PID 1; ``stdout``; ``log``; and its ``cgroup`` or ``tasks*``.
    """

    root: bool
    uid: int
    gid: int
    environ: dict[str, str]
    descriptors: tuple[str, ...]


@dataclass(frozen=True)
class Forked:
    """Template to daemon: the runtime runs; its pidfd comes along. ``ProcessExited`` follows."""


@dataclass(frozen=True)
class Suspend:
    """Daemon to template: stop the first runtime for ever, and see what can be made of it.

    Attributes:
        tmp_in_memory: whether files in ``/tmp`` are a reason against it: nobody could copy them.
    """

    tmp_in_memory: bool


@dataclass(frozen=True)
class Suspended:
    """Template to daemon: it can be cloned, or else why not.

    Attributes:
        refusal: empty, or a sentence without its subject.
        anonymous_bytes: what clones share of its memory.
    """

    refusal: str
    anonymous_bytes: int


Message = Union[
    SpawnRequest, Spawned, SpawnFailed, Become, Entered, StartProcess, ProcessStarted,
    ProcessExited, SignalProcess, KillAll, Emptied, OpenSocket, SocketOpened, KeepTemplate,
    ForkInto, Forked, Suspend, Suspended,
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
        raise UnexpectedMessage("one of the eighteen messages", data[:64]) from error
    return message
