"""Which cgroups this host offers, asked by doing; and the keeper for them.

Where the hierarchies are mounted stands in /proc/self/mountinfo, see proc(5). That version 2 is
mounted does not mean that it can limit memory: beside version 1 it often has no controllers. So
a group is made, looked into, and removed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lambdad_sandbox.cgroup import v1, v2
from lambdad_sandbox.cgroup.protocol import CannotLimit, Keeper

_MOUNTINFO = Path("/proc/self/mountinfo")

_HINT_MOUNT = "mount cgroup2 on /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1"
_HINT_WRITE = (
    "run as root; in a container, with --privileged --cgroupns=host and /sys/fs/cgroup writable"
)
_HINT_KERNEL = "Linux 5.14 or later is needed for cgroup v2"


@dataclass(frozen=True)
class Detected:
    """What the host offers.

    Attributes:
        version: ``v1``, ``v2``, or None when there is nothing to limit with.
        tops: the uppermost directory that is visible, for each controller.
        reason: why not, when ``version`` is None; else empty.
        hint: what the operator may do about it.
    """

    version: str | None
    tops: Mapping[str, Path] = field(default_factory=dict)
    reason: str = ""
    hint: str = ""


def mounted(mountinfo: str) -> tuple[dict[str, Path], Path | None]:
    """Where the v1 hierarchy of each controller is mounted, and where v2 is."""
    hierarchies: dict[str, Path] = {}
    unified = None
    for line in mountinfo.splitlines():
        mount, _, file_system = line.partition(" - ")
        kind, _, options = file_system.split(" ", 2)
        top = Path(_unescaped(mount.split(" ")[4]))
        if kind == "cgroup2":
            unified = unified or top
        elif kind == "cgroup":
            for option in options.split(","):
                hierarchies.setdefault(option, top)
    return {name: hierarchies[name] for name in v1.CONTROLLERS if name in hierarchies}, unified


def detect() -> Detected:
    """Ask this host, by making groups named ``lambdad-probe-<pid>`` and removing them.

    On v2 the controllers stay enabled for the children of the root: the keeper needs them.
    """
    hierarchies, unified = mounted(_MOUNTINFO.read_text(encoding="utf-8"))
    if unified is not None and _controllers(unified) >= v2.CONTROLLERS:
        return _try_v2(unified)
    missing = sorted(set(v1.CONTROLLERS) - set(hierarchies))
    if missing:
        reason = f"cannot limit memory and processes: no cgroup controller {', '.join(missing)}"
        return Detected(None, reason=reason, hint=_HINT_MOUNT)
    return _try_v1(hierarchies)


def keeper(name: str, detected: Detected | None = None) -> Keeper:
    """The keeper of the subtree ``name`` of this host.

    Raises:
        CannotLimit: the host offers nothing to limit memory and processes with.
        ValueError: the name is not one of ours.
    """
    if not name.startswith("lambdad") or "/" in name:
        raise ValueError(f"cannot keep cgroups in {name!r}: the name must begin with lambdad")
    found = detected or detect()
    try:
        if found.version == "v2":
            return v2.V2Keeper(found.tops["memory"], name)
        if found.version == "v1":
            return v1.V1Keeper(found.tops, name)
    except OSError as error:
        raise CannotLimit(f"cannot make cgroup {name}: {error}", _HINT_WRITE) from error
    raise CannotLimit(found.reason, found.hint)


def _controllers(top: Path) -> set[str]:
    return set((top / "cgroup.controllers").read_text().split())


def _try_v2(top: Path) -> Detected:
    probe = top / _probe_name()
    try:
        v2.enable_controllers(top)
        probe.mkdir()
    except OSError as error:
        return Detected(None, reason=f"cannot make cgroups in {top}: {error}", hint=_HINT_WRITE)
    try:
        if not (probe / "cgroup.kill").exists():
            return Detected(None, reason="cannot kill cgroups: no cgroup.kill", hint=_HINT_KERNEL)
    finally:
        probe.rmdir()
    return Detected("v2", dict.fromkeys(v2.CONTROLLERS, top))


def _try_v1(hierarchies: Mapping[str, Path]) -> Detected:
    for top in dict.fromkeys(hierarchies.values()):
        probe = top / _probe_name()
        try:
            probe.mkdir()
        except OSError as error:
            reason = f"cannot make cgroups in {top}: {error}"
            return Detected(None, reason=reason, hint=_HINT_WRITE)
        probe.rmdir()
    return Detected("v1", hierarchies)


def _probe_name() -> str:
    return f"lambdad-probe-{os.getpid()}"


def _unescaped(path: str) -> str:
    r"""Undo mountinfo's ``\040`` for a space and the like."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), path)
