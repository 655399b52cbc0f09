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
from typing import NamedTuple

from lambdad_sandbox.cgroup import delegation, v1, v2
from lambdad_sandbox.cgroup.delegation import HINT_WRITE, Foothold
from lambdad_sandbox.cgroup.protocol import CannotLimit, Keeper
from lambdad_sandbox.cgroup.unlimited import UnlimitedKeeper

_MOUNTINFO = Path("/proc/self/mountinfo")
_MEMBERSHIP = Path("/proc/self/cgroup")

# No dot: beside the subtree ``lambdad-x`` there may be ``lambdad-x.daemon``.
_SUBTREE_NAME = re.compile(r"lambdad[A-Za-z0-9_-]*")

_HINT_MOUNT = "mount cgroup2 on /sys/fs/cgroup, or boot with systemd.unified_cgroup_hierarchy=1"
_HINT_KERNEL = "Linux 5.14 or later is needed for cgroup v2"


@dataclass(frozen=True)
class Detected:
    """What the host offers.

    Attributes:
        version: ``v1``, ``v2``, or None when there is nothing to limit with.
        tops: the directory below which the subtree comes, for each controller.
        reason: why not, when ``version`` is None; else empty.
        hint: what the operator may do about it.
    """

    version: str | None
    tops: Mapping[str, Path] = field(default_factory=dict)
    reason: str = ""
    hint: str = ""


class Unified(NamedTuple):
    """A mount of the v2 hierarchy: where, and which of its cgroups is the uppermost there."""

    top: Path
    root: str


def mounted(mountinfo: str) -> tuple[dict[str, Path], Unified | None]:
    """Where the v1 hierarchy of each controller is mounted, and where v2 is."""
    hierarchies: dict[str, Path] = {}
    unified = None
    for line in mountinfo.splitlines():
        mount, _, file_system = line.partition(" - ")
        kind, _, options = file_system.split(" ", 2)
        root, top = map(_unescaped, mount.split(" ")[3:5])
        if kind == "cgroup2":
            unified = unified or Unified(Path(top), root)
        elif kind == "cgroup":
            for option in options.split(","):
                hierarchies.setdefault(option, Path(top))
    return {name: hierarchies[name] for name in v1.CONTROLLERS if name in hierarchies}, unified


def detect() -> Detected:
    """Ask this host, by making groups named ``lambdad-probe-<pid>`` and removing them.

    On v2 the controllers stay enabled for the children of where they were tried: the keeper
    needs them. Only where this process had to move for it, it moves back and they do not.
    """
    hierarchies, unified = mounted(_MOUNTINFO.read_text(encoding="utf-8"))
    if unified is not None and delegation.controllers_of(unified.top) >= delegation.REQUIRED:
        return _try_v2(unified)
    missing = sorted(set(v1.CONTROLLERS) - set(hierarchies))
    if missing:
        reason = f"cannot limit memory and processes: no cgroup controller {', '.join(missing)}"
        return Detected(None, reason=reason, hint=_HINT_MOUNT)
    return _try_v1(hierarchies)


def keeper(name: str, detected: Detected | None = None, *, allow_unlimited: bool = False) -> Keeper:
    """The keeper of the subtree ``name`` of this host.

    Args:
        name: letters, digits, ``_`` and ``-``, beginning with ``lambdad``.
        detected: what the host offers; it is asked if None.
        allow_unlimited: take the keeper that watches memory if nothing limits it.

    Raises:
        CannotLimit: the host offers nothing to limit memory and processes with.
        ValueError: the name is not one of ours.
    """
    if not _SUBTREE_NAME.fullmatch(name):
        raise ValueError(f"cannot keep cgroups in {name!r}: the name must begin with lambdad")
    try:
        return _limiting_keeper(name, detected or detect())
    except CannotLimit:
        if not allow_unlimited:
            raise
    return UnlimitedKeeper()


def _limiting_keeper(name: str, found: Detected) -> Keeper:
    try:
        if found.version == "v2":
            return v2.V2Keeper(found.tops["memory"], name)
        if found.version == "v1":
            return v1.V1Keeper(found.tops, name)
    except OSError as error:
        raise CannotLimit(f"cannot make cgroup {name}: {error}", HINT_WRITE) from error
    raise CannotLimit(found.reason, found.hint)


def _try_v2(unified: Unified) -> Detected:
    own = delegation.own_directory(_MEMBERSHIP.read_text(encoding="utf-8"), *unified)
    refusals = []
    for top in delegation.candidates(unified.top, own):
        try:
            return _probed(top)
        except CannotLimit as refusal:
            refusals.append(refusal)
    # The uppermost is root's. What speaks against where we are is what can be cured.
    telling = refusals[:2][-1]
    return Detected(None, reason=telling.reason, hint=telling.hint)


def _probed(top: Path) -> Detected:
    """What can be had below ``top``.

    Raises:
        CannotLimit: nothing.
    """
    foothold = Foothold(top, _probe_name())
    probe = top / _probe_name()
    try:
        probe.mkdir()
        killable = (probe / "cgroup.kill").exists()
        probe.rmdir()
    except OSError as error:
        raise CannotLimit(f"cannot make cgroups in {top}: {error.strerror}", HINT_WRITE) from error
    finally:
        foothold.leave()
    if not killable:
        raise CannotLimit("cannot kill cgroups: no cgroup.kill", _HINT_KERNEL)
    return Detected("v2", dict.fromkeys(foothold.controllers, top))


def _try_v1(hierarchies: Mapping[str, Path]) -> Detected:
    for top in dict.fromkeys(hierarchies.values()):
        probe = top / _probe_name()
        try:
            probe.mkdir()
        except OSError as error:
            reason = f"cannot make cgroups in {top}: {error}"
            return Detected(None, reason=reason, hint=HINT_WRITE)
        probe.rmdir()
    return Detected("v1", hierarchies)


def _probe_name() -> str:
    return f"lambdad-probe-{os.getpid()}"


def _unescaped(path: str) -> str:
    r"""Undo mountinfo's ``\040`` for a space and the like."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), path)
