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
        packages: what it imports besides, where the interpreter has it.
        guest: the files seen at ``/var/runtime``.
        machinery: the zygote's own files, gone before a guest runs.
        code: the folder of all functions' code, for a zygote that is not root's.
        resolv_conf: the content of ``/etc/resolv.conf``.
        uids: first uid of the environments and how many there are, for ``/etc/passwd``.
        gid: the group of all environments.
    """

    mount_point: str
    interpreter: str
    executable: str
    preload: str
    packages: tuple[str, ...]
    guest: str
    machinery: str
    code: str
    resolv_conf: str
    uids: tuple[int, int]
    gid: int


@dataclass(frozen=True)
class BlankSpec:
    """A sandbox that could become any function's.

    Attributes:
        listen: address and port of its Runtime API.
        network: ``joined``, a namespace that comes as a descriptor; ``own``, one that the clone
            is born in; or ``host``, none: whoever asks for that listens by himself.
        open_files: descriptors per process.
        processes: processes and threads of its user.
    """

    listen: tuple[str, int]
    network: str
    open_files: int
    processes: int


@dataclass(frozen=True)
class GuestSpec:
    """Who guests are.

    Attributes:
        root: whether the host's root makes them, or a user in a user namespace.
        uid: a user id that nothing else on the host has; for a user, that is so inside only.
        gid: its only group.
    """

    root: bool
    uid: int
    gid: int

    def __post_init__(self) -> None:
        if self.uid <= 0 or self.gid <= 0:
            raise ValueError(f"cannot run a guest as uid {self.uid}, gid {self.gid}")


@dataclass(frozen=True)
class SandboxSpec:
    """What makes it one function's.

    Attributes:
        root: as in ``GuestSpec``.
        code: where its code lies in the folder of all code; what root makes gets it as a
            descriptor instead.
        tmp_mb: the size of its ``/tmp``.
        disk: whether a disk for ``/tmp`` comes along; else it is in memory.
        layers: where in that folder lies what ``/opt`` shows; empty without layers. What root
            makes gets it as a descriptor instead, too.
    """

    root: bool
    code: str
    tmp_mb: int
    disk: bool
    layers: str

    def __post_init__(self) -> None:
        if self.tmp_mb <= 0:
            raise ValueError(f"cannot make a /tmp of {self.tmp_mb} MB")
