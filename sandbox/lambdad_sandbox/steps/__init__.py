"""The steps of a plan: each does one thing to the process that applies it, and can say what.

A step is a frozen value, so a plan can be compared, printed and sent. ``apply`` takes the
descriptors at hand by name; a step may use them up or add its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lambdad_sandbox.steps.files import (
    Attach,
    Bind,
    BindDevice,
    Device,
    Mkdir,
    PivotRoot,
    Proc,
    ReadOnly,
    Symlink,
    Tmpfs,
    Unmount,
    Users,
    WriteFile,
)
from lambdad_sandbox.steps.namespaces import (
    Hostname,
    JoinCgroups,
    JoinNetwork,
    Listen,
    LoopbackUp,
    NewCgroupNamespace,
    NewMountNamespace,
    NewSession,
    NewUserNamespace,
)
from lambdad_sandbox.steps.rights import (
    CloseDescriptors,
    DieWithParent,
    DropBoundingSet,
    DropCapabilities,
    Exec,
    Identity,
    NewKeyring,
    NoNewPrivileges,
    Rlimits,
    Seccomp,
    guest_filter,
)
from lambdad_sandbox.steps.step import Descriptors, Step

__all__ = [
    "Attach",
    "Bind",
    "BindDevice",
    "CloseDescriptors",
    "Descriptors",
    "Device",
    "DieWithParent",
    "DropBoundingSet",
    "DropCapabilities",
    "Exec",
    "Hostname",
    "Identity",
    "JoinCgroups",
    "JoinNetwork",
    "Listen",
    "LoopbackUp",
    "Mkdir",
    "NewCgroupNamespace",
    "NewKeyring",
    "NewMountNamespace",
    "NewSession",
    "NewUserNamespace",
    "NoNewPrivileges",
    "PivotRoot",
    "Proc",
    "ReadOnly",
    "Rlimits",
    "Seccomp",
    "Step",
    "Symlink",
    "Tmpfs",
    "Unmount",
    "Users",
    "WriteFile",
    "guest_filter",
    "pack",
    "unpack",
]

_KINDS = {kind.__name__: kind for kind in Step.__subclasses__()}


def pack(steps: Sequence[Step]) -> tuple[Any, ...]:
    """A plan as plain tuples, for a message."""
    return tuple((type(step).__name__, *vars(step).values()) for step in steps)


def unpack(packed: Sequence[Any]) -> list[Step]:
    """The plan again.

    Raises:
        KeyError: a step that is not of this vocabulary.
    """
    return [_KINDS[name](*fields) for name, *fields in packed]
