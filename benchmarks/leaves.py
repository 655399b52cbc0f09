"""The cgroups of a daemon's environments, as the kernel shows them: a leaf for each.

A spare has one too, and so has a template. So it can be seen from outside what stands, and when
all is as it was. Nothing is changed through this but whether a leaf is frozen. See cgroups(7).
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from lambdad_sandbox import cgroup

PATIENCE_S = 15
_SETTLED_S, _LOOK_S = 0.3, 0.005
# What of memory.stat tells where memory goes, by version.
_PARTS = {"v1": ("rss", "cache"), "v2": ("anon", "file", "kernel")}


class Unsettled(Exception):
    """What should stand does not, or something else does; the message says how many."""


@dataclass(frozen=True)
class Leaves:
    """Those of one subtree.

    Attributes:
        version: of cgroups.
        memory, freezer, cpuacct: the subtree's directories; on v2 they are one.
    """

    version: str
    memory: Path
    freezer: Path
    cpuacct: Path

    @classmethod
    def of(cls, subtree: str) -> Leaves:
        """Those below *subtree*.

        Raises:
            cgroup.CannotLimit: this host has no cgroups to count by.
        """
        found = cgroup.detect()
        if found.version is None:
            raise cgroup.CannotLimit(found.reason, found.hint)
        names = ("memory", "freezer", "cpuacct") if found.version == "v1" else ("memory",) * 3
        return cls(found.version, *(found.tops[name] / subtree for name in names))

    def names(self) -> frozenset[str]:
        """Of all that stand."""
        return frozenset(path.name for path in self.memory.iterdir() if path.is_dir())

    async def settled(self) -> frozenset[str]:
        """Their names, when none has come or gone for a while: all spares have been made.

        Raises:
            Unsettled: they go on coming and going.
        """
        names, since = self.names(), time.monotonic()
        end = since + PATIENCE_S
        while time.monotonic() < end:
            await asyncio.sleep(_LOOK_S)
            if (now := self.names()) != names:
                names, since = now, time.monotonic()
            elif time.monotonic() > since + _SETTLED_S:
                return names
        raise Unsettled("environments come and go though nobody invokes")

    async def as_before(self, before: frozenset[str], *, spares: bool) -> None:
        """Until what a cold start has used is gone, and as much stands as before it.

        Where there are spares, that the count is right is not enough: the one that was used still
        stands at first. It has to be gone, and another to be there.

        Raises:
            Unsettled: it takes too long.
        """
        end, now = time.monotonic() + PATIENCE_S, before
        while time.monotonic() < end:
            now = self.names()
            if len(now) == len(before) and (now != before) == spares:
                return
            await asyncio.sleep(_LOOK_S)
        found = f"{len(now)} environments stand, {len(now - before)} of them new"
        raise Unsettled(f"{found}, {PATIENCE_S} s after a start before which {len(before)} did")

    def cpu_s(self) -> float:
        """Processor time that all have had, those that are gone included."""
        if self.version == "v1":
            return int((self.cpuacct / "cpuacct.usage").read_text(encoding="ascii")) / 1e9
        usage_us = (self.cpuacct / "cpu.stat").read_text(encoding="ascii").split()[1]
        return int(usage_us) / 1e6

    def charge_bytes(self, name: str) -> int:
        """What its memory is charged, the kernel's own for it included."""
        return charge_bytes(self.memory / name)

    def parts(self, name: str) -> dict[str, int]:
        """What the charge is made of, in bytes; what is missing is the kernel's own."""
        lines = (self.memory / name / "memory.stat").read_text(encoding="ascii").splitlines()
        stat = dict(line.split() for line in lines)
        return {part: int(stat[part]) for part in _PARTS[self.version]}

    def set_frozen(self, name: str, *, frozen: bool) -> None:
        """Stop its processes, or let them go on, behind the daemon's back."""
        if self.version == "v1":
            state = "FROZEN" if frozen else "THAWED"
            (self.freezer / name / "freezer.state").write_text(state, encoding="ascii")
        else:
            (self.freezer / name / "cgroup.freeze").write_text(str(int(frozen)), encoding="ascii")


def charge_bytes(leaf: Path) -> int:
    """What a cgroup is charged; the name of the file depends on the version."""
    usage = leaf / "memory.current"
    if not usage.exists():
        usage = leaf / "memory.usage_in_bytes"
    return int(usage.read_text(encoding="ascii"))
