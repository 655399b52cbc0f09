"""Steps that say which files are seen: mounts, and the few files that are made."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass

from lambdad_sandbox import syscalls
from lambdad_sandbox.steps.step import Descriptors, Step, write_existing

GUEST_HOME = "/home/sbx_user1051"  # It does not exist; the name is AWS's.


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
        # Root's, though it may be a guest-to-be who mounts it.
        options = f"uid=0,gid=0,mode={self.mode},size={self.size_kb}k,nr_inodes={self.inodes}"
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
class BindDevice(Step):
    """The host's own device, where one may not make any: see user_namespaces(7)."""

    source: str
    target: str

    def apply(self, at_hand: Descriptors) -> None:
        WriteFile(self.target, "").apply(at_hand)
        tree = syscalls.open_tree(self.source)
        syscalls.mount_setattr(tree, syscalls.MOUNT_ATTR_RDONLY | syscalls.MOUNT_ATTR_NOSUID)
        syscalls.move_mount(tree, self.target)
        os.close(tree)

    def describe(self) -> str:
        return f"bind device {self.source} on {self.target}"


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
class Unmount(Step):
    """Let go of a mount and of what is below it; it must be one of this namespace's own."""

    path: str

    def apply(self, at_hand: Descriptors) -> None:
        syscalls.umount2(self.path, syscalls.MNT_DETACH)

    def describe(self) -> str:
        return f"unmount {self.path}"


@dataclass(frozen=True)
class Proc(Step):
    """A fresh procfs of this pid namespace, its knobs read-only, its secrets masked.

    Attributes:
        knobs: of namespaces of one's own, below ``/proc/sys``, set while that can be.
        instead: another one is mounted there and has to go.
    """

    read_only: tuple[str, ...]
    masked: tuple[str, ...]
    knobs: tuple[tuple[str, str], ...]
    instead: bool = False

    def apply(self, at_hand: Descriptors) -> None:
        flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC
        if self.instead:
            # The kernel gives a user namespace a procfs only where it sees one already, whole.
            syscalls.mount("proc", "/mnt", "proc", flags)
            syscalls.umount2("/proc", syscalls.MNT_DETACH)
            syscalls.mount("/mnt", "/proc", None, syscalls.MS_MOVE)
        else:
            syscalls.mount("proc", "/proc", "proc", flags)
        for name, value in self.knobs:
            write_existing("/proc/sys/" + name, value)
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
            f"sbx_user1051:x:{uid}:{self.gid}::{GUEST_HOME}:/sbin/nologin\n"
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
