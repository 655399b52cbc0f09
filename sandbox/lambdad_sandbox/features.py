"""What this host can do, asked of the kernel once. Nothing else asks "am I root?"."""

from __future__ import annotations

import errno
import os
import platform
import resource
from dataclasses import dataclass, field

from lambdad_sandbox import syscalls

_SYSTEM_DIRECTORIES = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
_CAP_SYS_ADMIN = 21

# What of the host's /etc programs need to find libraries, certificates and alternatives.
_ETC_NAMES = (
    "alternatives", "ca-certificates", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "mime.types",
    "pki", "protocols", "services", "ssl/certs", "ssl/openssl.cnf",
)  # fmt: skip


@dataclass(frozen=True)
class Feature:
    """One thing a sandbox needs: whether it is there, and what follows if it is not."""

    name: str
    found: bool
    consequence: str
    cure: str


@dataclass(frozen=True)
class HostFeatures:
    """The answers. An argument of the plan, the content of ``lambdad doctor``.

    Attributes:
        root: whether the host's root makes sandboxes; else a user does, in a user namespace.
        cgroup_version: ``v1`` or ``v2``; ``none`` when neither can limit memory and processes.
        system_directories: top-level directories of programs; a link's target or empty.
        etc_entries: which files and directories of ``/etc`` there are, of those that matter.
        proc_entries: names in ``/proc``, of those that a plan hides.
    """

    critical: tuple[Feature, ...]
    root: bool
    cgroup_version: str
    system_directories: tuple[tuple[str, str], ...] = ()
    etc_entries: dict[str, str] = field(default_factory=dict)
    proc_entries: tuple[str, ...] = ()

    def missing(self) -> tuple[Feature, ...]:
        """What stops an environment from being made."""
        return tuple(feature for feature in self.critical if not feature.found)


def detect(cgroup_version: str = "none", *, allow_shared_uid: bool = False) -> HostFeatures:
    """Ask the kernel.

    Args:
        cgroup_version: of the keeper of cgroups, who knows.
        allow_shared_uid: whether one who is not root may go on, in a user namespace.
    """
    root = _is_root()
    return HostFeatures(
        critical=(
            *(_root() if root or not allow_shared_uid else _user()),
            *_kernel(),
            *_calls(),
        ),
        root=root,
        cgroup_version=cgroup_version,
        system_directories=tuple(
            (name, os.readlink("/" + name) if os.path.islink("/" + name) else "")
            for name in _SYSTEM_DIRECTORIES
            if os.path.isdir("/" + name)
        ),
        etc_entries={name: kind for name, kind in map(_etc_entry, _ETC_NAMES) if kind},
        proc_entries=tuple(os.listdir("/proc")),
    )


def _status() -> dict[str, str]:
    with open("/proc/self/status", encoding="ascii") as status:
        return dict(line.split(":\t", 1) for line in status if ":\t" in line)


def _is_root() -> bool:
    """Whether this is the host's root, and not one of a user namespace."""
    with open("/proc/self/uid_map", encoding="ascii") as uid_map:
        everybody = uid_map.read().split() == ["0", "0", str(2**32 - 1)]
    able = bool(int(_status()["CapEff"], 16) >> _CAP_SYS_ADMIN & 1)
    return os.geteuid() == 0 and able and everybody


def _root() -> tuple[Feature, ...]:
    """What root needs, and what somebody else is told who has not asked for less."""
    cure = (
        "start the container with --privileged, or lambdad in it as an ordinary user"
        if os.geteuid() == 0
        else "run as root (sudo lambdad ...), or ask for less: --allow-shared-uid"
    )
    return (
        Feature(
            "root with CAP_SYS_ADMIN",
            _is_root(),
            "cannot isolate: namespaces, mounts and user ids of their own need root",
            cure,
        ),
    )


def _user() -> tuple[Feature, ...]:
    """What an ordinary user needs: user_namespaces(7), which many a host has a knob for."""
    off = [f"{knob}={value}" for knob, value in _KNOBS if _knob(knob) == value]
    return (
        Feature(
            "an ordinary user",
            os.geteuid() != 0,
            "cannot isolate: to be root without CAP_SYS_ADMIN is not to be an ordinary user",
            "start the container with --privileged, or lambdad in it as an ordinary user",
        ),
        Feature(
            "user namespaces",
            not off,
            f"cannot isolate: user namespaces are switched off by {', '.join(off)}",
            "have root change that with sysctl(8), or run as root",
        ),
    )


# The kernel's, Debian's and Ubuntu's, each with the value that says no.
_KNOBS = (
    ("user.max_user_namespaces", "0"),
    ("kernel.unprivileged_userns_clone", "0"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1"),
)


def _knob(name: str) -> str:
    try:
        with open("/proc/sys/" + name.replace(".", "/"), encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return ""


def _kernel() -> tuple[Feature, ...]:
    return (
        Feature(
            "seccomp",
            "Seccomp" in _status(),
            "cannot isolate: this kernel has no seccomp",
            "boot a kernel with CONFIG_SECCOMP_FILTER",
        ),
        Feature(
            "architecture",
            platform.machine() in ("x86_64", "aarch64"),
            f"cannot isolate: no system call table for {platform.machine()}",
            "run on x86_64 or aarch64",
        ),
    )


def _calls() -> tuple[Feature, ...]:
    """Calls that are there answer a nonsensical question with anything but ENOSYS."""

    def there(ask: object, *arguments: object) -> bool:
        try:
            ask(*arguments)  # type: ignore[operator]
        except OSError as error:
            return error.errno != errno.ENOSYS
        return True

    return (
        Feature(
            "mount_setattr(2)",
            there(syscalls.mount_setattr, -1, 0),
            "cannot isolate: this kernel has no mount_setattr",
            "Linux 5.12 or later is needed",
        ),
        Feature(
            "open descriptors",
            resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 1024,
            "cannot isolate: fewer than 1,024 descriptors are allowed",
            "raise the hard limit (ulimit -Hn)",
        ),
    )


def _etc_entry(name: str) -> tuple[str, str]:
    path = "/etc/" + name
    return name, "directory" if os.path.isdir(path) else "file" if os.path.isfile(path) else ""
