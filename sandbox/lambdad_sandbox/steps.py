"""The steps of a plan: each does one thing to the process that applies it, and can say what.

A step is a frozen value, so a plan can be compared, printed and sent. ``apply`` takes the
descriptors at hand by name; a step may use them up or add its own.
"""

from __future__ import annotations

import fcntl
import os
import resource
import socket
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from lambdad_sandbox import syscalls
from lambdad_sandbox.seccomp.compile import load

Descriptors = dict[str, int]

_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C
_IFF_UP_RUNNING = 0x1 | 0x40


@dataclass(frozen=True)
class Step:
    """One thing to be done. Subclasses are the vocabulary of mount(8) and prctl(2)."""

    def apply(self, at_hand: Descriptors) -> None:
        raise NotImplementedError

    def describe(self) -> str:
        """The step in words, as it stands in logs and behind "cannot"."""
        raise NotImplementedError


@dataclass(frozen=True)
class JoinCgroups(Step):
    """Enter each v1 hierarchy by its ``tasks`` file, which asks for no grace period."""

    def apply(self, at_hand: Descriptors) -> None:
        for name in [name for name in at_hand if name.startswith("tasks")]:
            descriptor = at_hand.pop(name)
            os.write(descriptor, b"0")
            os.close(descriptor)

    def describe(self) -> str:
        return "join the cgroups of the environment"


@dataclass(frozen=True)
class NewMountNamespace(Step):
    """A mount namespace of one's own, in which nothing that happens outside is seen."""

    def apply(self, at_hand: Descriptors) -> None:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)

    def describe(self) -> str:
        return "make a private mount namespace"


@dataclass(frozen=True)
class NewCgroupNamespace(Step):
    """See one's own cgroup as the root; only after having joined it."""

    def apply(self, at_hand: Descriptors) -> None:
        syscalls.unshare(syscalls.CLONE_NEWCGROUP)

    def describe(self) -> str:
        return "make a cgroup namespace"


@dataclass(frozen=True)
class LoopbackUp(Step):
    """Bring up ``lo`` and give it the address of the Runtime API, see netdevice(7)."""

    address: str

    def apply(self, at_hand: Descriptors) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP_RUNNING))
            for request, value in (
                (_SIOCSIFADDR, self.address),
                (_SIOCSIFNETMASK, "255.255.255.255"),
            ):
                address = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(value))
                fcntl.ioctl(control, request, struct.pack("16s16s", b"lo:api", address))

    def describe(self) -> str:
        return f"bring up lo with {self.address}"


@dataclass(frozen=True)
class Listen(Step):
    """The listening socket of the Runtime API, born in this network namespace."""

    host: str
    port: int

    def apply(self, at_hand: Descriptors) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, self.port))
        listener.listen(64)
        at_hand["listener"] = listener.detach()

    def describe(self) -> str:
        return f"listen on {self.host}:{self.port}"


@dataclass(frozen=True)
class Tmpfs(Step):
    """A fresh tmpfs; sizes in KiB and inodes."""

    target: str
    mode: str
    size_kb: int
    inodes: int
    devices: bool = False

    def apply(self, at_hand: Descriptors) -> None:
        flags = syscalls.MS_NOSUID | (0 if self.devices else syscalls.MS_NODEV)
        options = f"mode={self.mode},size={self.size_kb}k,nr_inodes={self.inodes}"
        syscalls.mount("tmpfs", self.target, "tmpfs", flags, options)

    def describe(self) -> str:
        return f"mount tmpfs on {self.target} (mode {self.mode}, {self.size_kb} KiB)"


@dataclass(frozen=True)
class Bind(Step):
    """A read-only, nosuid, nodev view of ``source`` and of what is mounted below it."""

    source: str
    target: str

    def apply(self, at_hand: Descriptors) -> None:
        tree = syscalls.read_only_tree(self.source, recursive=True)
        syscalls.move_mount(tree, self.target)
        os.close(tree)

    def describe(self) -> str:
        return f"bind {self.source} read-only on {self.target}"


@dataclass(frozen=True)
class Attach(Step):
    """Attach a detached mount that came as a descriptor: the zygote needs no path to it."""

    descriptor: str
    target: str

    def apply(self, at_hand: Descriptors) -> None:
        tree = at_hand.pop(self.descriptor)
        syscalls.move_mount(tree, self.target)
        os.close(tree)

    def describe(self) -> str:
        return f"attach {self.descriptor} on {self.target}"


@dataclass(frozen=True)
class Proc(Step):
    """A fresh procfs of this pid namespace, its knobs read-only, its secrets masked."""

    read_only: tuple[str, ...]
    masked: tuple[str, ...]

    def apply(self, at_hand: Descriptors) -> None:
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        syscalls.mount("proc", "/proc", "proc", flags)
        for name in self.read_only:
            path = "/proc/" + name
            syscalls.mount(path, path, None, syscalls.MS_BIND)
            syscalls.mount(
                None,
                path,
                None,
                flags | syscalls.MS_BIND | syscalls.MS_REMOUNT | syscalls.MS_RDONLY,
            )
        for name in self.masked:
            syscalls.mount("/dev/null", "/proc/" + name, None, syscalls.MS_BIND)

    def describe(self) -> str:
        return f"mount proc, {len(self.read_only)} read-only, {len(self.masked)} masked"


@dataclass(frozen=True)
class Mkdir(Step):
    """A directory, its parents with it."""

    path: str
    mode: int = 0o755

    def apply(self, at_hand: Descriptors) -> None:
        os.makedirs(self.path, exist_ok=True)
        os.chmod(self.path, self.mode)

    def describe(self) -> str:
        return f"make directory {self.path}"


@dataclass(frozen=True)
class WriteFile(Step):
    """A small file that everybody may read."""

    path: str
    content: str

    def apply(self, at_hand: Descriptors) -> None:
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(self.content)
        os.chmod(self.path, 0o644)

    def describe(self) -> str:
        return f"write {self.path}"


@dataclass(frozen=True)
class Users(Step):
    """A passwd(5) in which each uid that an environment may have bears AWS's name."""

    path: str
    first_uid: int
    count: int
    gid: int

    def apply(self, at_hand: Descriptors) -> None:
        lines = ["root:x:0:0:root:/root:/sbin/nologin\n"]
        lines += [
            f"sbx_user1051:x:{uid}:{self.gid}::/home/sbx_user1051:/sbin/nologin\n"
            for uid in range(self.first_uid, self.first_uid + self.count)
        ]
        WriteFile(self.path, "".join(lines)).apply(at_hand)

    def describe(self) -> str:
        return f"write {self.path} with {self.count} users"


@dataclass(frozen=True)
class Symlink(Step):
    """A symbolic link."""

    path: str
    target: str

    def apply(self, at_hand: Descriptors) -> None:
        os.symlink(self.target, self.path)

    def describe(self) -> str:
        return f"link {self.path} to {self.target}"


@dataclass(frozen=True)
class Device(Step):
    """A character device that everybody may use, see mknod(2)."""

    path: str
    major: int
    minor: int

    def apply(self, at_hand: Descriptors) -> None:
        os.mknod(self.path, stat.S_IFCHR, os.makedev(self.major, self.minor))
        os.chmod(self.path, 0o666)

    def describe(self) -> str:
        return f"make device {self.path} ({self.major}, {self.minor})"


@dataclass(frozen=True)
class ReadOnly(Step):
    """Make a mount of one's own read-only."""

    path: str

    def apply(self, at_hand: Descriptors) -> None:
        flags = syscalls.MS_RDONLY | syscalls.MS_NOSUID | syscalls.MS_BIND | syscalls.MS_REMOUNT
        if self.path != "/dev":
            flags |= syscalls.MS_NODEV
        syscalls.mount(None, self.path, None, flags)

    def describe(self) -> str:
        return f"make {self.path} read-only"


@dataclass(frozen=True)
class PivotRoot(Step):
    """Make ``root`` the root and let go of the old one, see pivot_root(2)."""

    root: str

    def apply(self, at_hand: Descriptors) -> None:
        os.chdir(self.root)
        syscalls.pivot_root(".", ".")
        syscalls.umount2(".", syscalls.MNT_DETACH)
        os.chdir("/")

    def describe(self) -> str:
        return f"make {self.root} the root"


@dataclass(frozen=True)
class Hostname(Step):
    """A host name that says nothing of the host."""

    name: str

    def apply(self, at_hand: Descriptors) -> None:
        syscalls.sethostname(self.name)

    def describe(self) -> str:
        return f"set the host name {self.name}"


@dataclass(frozen=True)
class NewSession(Step):
    """A session without a terminal, standard streams that lead nowhere."""

    def apply(self, at_hand: Descriptors) -> None:
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.close(null)
        os.umask(0o022)

    def describe(self) -> str:
        return "leave the session and its terminal"


@dataclass(frozen=True)
class Rlimits(Step):
    """Limits of the process, soft and hard, by the names of getrlimit(2); -1 is unlimited."""

    limits: tuple[tuple[str, int, int], ...]

    def apply(self, at_hand: Descriptors) -> None:
        for name, soft, hard in self.limits:
            resource.setrlimit(getattr(resource, "RLIMIT_" + name), (soft, hard))

    def describe(self) -> str:
        return "set limits " + ", ".join(f"{name} {soft}" for name, soft, _ in self.limits)


@dataclass(frozen=True)
class CloseDescriptors(Step):
    """Close all that is open but the standard streams and what is named."""

    keep: tuple[str, ...]

    def apply(self, at_hand: Descriptors) -> None:
        kept = sorted(at_hand[name] for name in self.keep)
        for name in [name for name in at_hand if name not in self.keep]:
            del at_hand[name]
        first = 3
        for descriptor in kept:
            if first < descriptor:
                syscalls.close_range(first, descriptor - 1)
            first = descriptor + 1
        syscalls.close_range(first, 2**32 - 1)

    def describe(self) -> str:
        return "close every descriptor but " + ", ".join(self.keep)


@dataclass(frozen=True)
class Identity(Step):
    """Become an ordinary user with no groups but one; checked, not believed."""

    uid: int
    gid: int

    def apply(self, at_hand: Descriptors) -> None:
        os.setgroups([])
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        assert os.getresuid() == (self.uid,) * 3
        assert os.getresgid() == (self.gid,) * 3

    def describe(self) -> str:
        return f"become uid {self.uid}, gid {self.gid}"


@dataclass(frozen=True)
class DropBoundingSet(Step):
    """Empty the capability bounding set, while one still may; see capabilities(7)."""

    def apply(self, at_hand: Descriptors) -> None:
        for capability in range(64):
            try:
                syscalls.prctl(syscalls.PR_CAPBSET_DROP, capability)
            except OSError:  # EINVAL: past the last one that this kernel knows.
                break
        syscalls.prctl(syscalls.PR_SET_SECUREBITS, syscalls.SECBITS_LOCKED)

    def describe(self) -> str:
        return "empty the capability bounding set"


@dataclass(frozen=True)
class DropCapabilities(Step):
    """Give up every capability in the other four sets."""

    def apply(self, at_hand: Descriptors) -> None:
        syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
        syscalls.capset_none()

    def describe(self) -> str:
        return "drop all capabilities"


@dataclass(frozen=True)
class NewKeyring(Step):
    """A session keyring of one's own, see keyrings(7)."""

    def apply(self, at_hand: Descriptors) -> None:
        syscalls.join_new_session_keyring()

    def describe(self) -> str:
        return "join a new session keyring"


@dataclass(frozen=True)
class DieWithParent(Step):
    """Be killed when the zygote ends; after the change of ids, which clears the wish."""

    def apply(self, at_hand: Descriptors) -> None:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)

    def describe(self) -> str:
        return "die with the zygote, be opaque to the guest"


@dataclass(frozen=True)
class NoNewPrivileges(Step):
    """Set-uid files and file capabilities mean nothing from now on."""

    def apply(self, at_hand: Descriptors) -> None:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)

    def describe(self) -> str:
        return "set no_new_privs"


@cache
def guest_filter() -> syscalls.SeccompProgram:
    """The filter for guests, compiled once: by the zygote, for its clones."""
    return syscalls.SeccompProgram(load())


@dataclass(frozen=True)
class Seccomp(Step):
    """The system call filter; always the last step before a guest."""

    def apply(self, at_hand: Descriptors) -> None:
        syscalls.seccomp(guest_filter())

    def describe(self) -> str:
        return "install the system call filter"


@dataclass(frozen=True)
class Exec(Step):
    """Become another program, which keeps the channel and gets no other variable."""

    command: tuple[str, ...]
    environ: dict[str, str]

    def apply(self, at_hand: Descriptors) -> None:
        os.set_inheritable(at_hand["channel"], True)
        os.execve(self.command[0], self.command, self.environ)

    def describe(self) -> str:
        return "execute " + " ".join(self.command)


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
