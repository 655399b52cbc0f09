"""What is asked of a sandbox. A spec that exists makes sense; whether the host can do it is
the plan's question.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RootSpec:
    """The root that all environments of one runtime share, each in a namespace of its own.

    Attributes:
        mount_point: an empty directory of the host, over which the root is built.
        interpreter: prefix of the language installation, seen at ``/var/lang``; empty for none.
        executable: what the zygote runs, inside the root.
        preload: the module that the zygote imports from ``/var/runtime``; empty for none.
        guest: the files seen at ``/var/runtime``.
        machinery: the zygote's own files, gone before a guest runs.
        uids: first uid of the environments and how many there are, for ``/etc/passwd``.
        gid: the group of all environments.
    """

    mount_point: str
    interpreter: str
    executable: str
    preload: str
    guest: str
    machinery: str
    uids: tuple[int, int]
    gid: int


@dataclass(frozen=True)
class BlankSpec:
    """A sandbox that could become any function's.

    Attributes:
        listen: address and port of its Runtime API.
        open_files: descriptors per process.
        processes: processes and threads of its user.
    """

    listen: tuple[str, int]
    open_files: int
    processes: int


@dataclass(frozen=True)
class SandboxSpec:
    """What makes it one function's.

    Attributes:
        uid: a user id that nothing else on the host has.
        tmp_mb: the size of its ``/tmp``.
        layers: whether a tree for ``/opt`` comes along.
    """

    uid: int
    gid: int
    tmp_mb: int
    layers: bool

    def __post_init__(self) -> None:
        if self.uid <= 0 or self.gid <= 0:
            raise ValueError(f"cannot run a guest as uid {self.uid}, gid {self.gid}")
        if self.tmp_mb <= 0:
            raise ValueError(f"cannot make a /tmp of {self.tmp_mb} MB")
