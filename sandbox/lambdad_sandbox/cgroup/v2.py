"""cgroup v2: plain files in one hierarchy.

Source: https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from lambdad_sandbox.cgroup.ending import (
    end_all,
    patience,
    remove_directory,
    remove_if_childless,
)
from lambdad_sandbox.cgroup.making import make
from lambdad_sandbox.cgroup.protocol import (
    CPU_PERIOD_US,
    Cgroup,
    CgroupBusy,
    Limits,
    cpu_quota_us,
)

CONTROLLERS = frozenset({"memory", "pids", "cpu"})

# cpu.weight goes from 1 to 10000; so 128 MB weigh 72, and 10240 MB 5788.
_WEIGHT_OF_A_CPU = 1_000


def enable_controllers(directory: Path) -> None:
    """Give the children of ``directory`` the controllers that limits need.

    Raises:
        OSError: EBUSY when processes are in it and it is not the host's root, EACCES, EROFS.
    """
    control = directory / "cgroup.subtree_control"
    if not set(control.read_text().split()) >= CONTROLLERS:
        control.write_text(" ".join(f"+{name}" for name in sorted(CONTROLLERS)))


def limit_files(limits: Limits) -> dict[str, int | str]:
    """What is written into which file of a leaf."""
    return {
        "memory.max": limits.memory_bytes,
        "memory.oom.group": 1,
        "pids.max": limits.pids,
        "cpu.weight": weight(limits.cpus),
        "cpu.max": cap(limits.cpus),
    }


def weight(cpus: float) -> int:
    """What ``cpu.weight`` is to say."""
    return min(10_000, max(1, round(cpus * _WEIGHT_OF_A_CPU)))


def cap(cpus: float) -> str:
    """What ``cpu.max`` is to say."""
    return f"{cpu_quota_us(cpus)} {CPU_PERIOD_US}"


class V2Cgroup:
    """A leaf, see ``protocol.Cgroup``."""

    attach_fds: tuple[int, ...] = ()

    def __init__(self, directory: Path) -> None:
        self.name = directory.name
        self.clone_fd: int | None = None
        self._directory = directory
        self._peak_bytes_seen = 0

    def claim(self) -> None:
        """Make the directory, for nobody else.

        Raises:
            FileExistsError: somebody has the name.
        """
        self._directory.mkdir()

    def limit(self, limits: Limits) -> None:
        for file, value in limit_files(limits).items():
            self._write(file, value)
        # A kernel without swap has no such file, and nothing to limit.
        with contextlib.suppress(FileNotFoundError):
            self._write("memory.swap.max", 0)
        self.clone_fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close_fds(self) -> None:
        if self.clone_fd is not None:
            os.close(self.clone_fd)
            self.clone_fd = None

    def memory_peak_bytes(self) -> int:
        try:
            return int(self._read("memory.peak"))
        except FileNotFoundError:  # Before Linux 5.19: the most that was seen by asking.
            current = int(self._read("memory.current"))
            self._peak_bytes_seen = max(self._peak_bytes_seen, current)
            return self._peak_bytes_seen

    def oom_kills(self) -> int:
        return self._field("memory.events", "oom_kill")

    def cpu_usage_us(self) -> int:
        return self._field("cpu.stat", "usage_usec")

    def grow(self, memory_bytes: int, cpus: float) -> None:
        self._write("memory.max", memory_bytes)
        self._write("cpu.weight", weight(cpus))

    def cap_cpus(self, cpus: float) -> None:
        self._write("cpu.max", cap(cpus))

    def freeze(self) -> None:
        self._write("cgroup.freeze", 1)

    def thaw(self) -> None:
        self._write("cgroup.freeze", 0)

    def kill(self) -> None:
        self._write("cgroup.kill", 1)
        for _ in patience():
            if self.is_empty():
                return
        raise CgroupBusy(f"cannot empty {self._directory}")

    def is_empty(self) -> bool:
        return self._field("cgroup.events", "populated") == 0

    def remove(self) -> None:
        self.close_fds()
        remove_directory(self._directory)

    def _read(self, file: str) -> str:
        return (self._directory / file).read_text()

    def _write(self, file: str, value: int | str) -> None:
        # Plain calls: half the time of write_text, and a missing file is ENOENT, not EACCES.
        descriptor = os.open(f"{self._directory}/{file}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(descriptor, str(value).encode())
        finally:
            os.close(descriptor)

    def _field(self, file: str, key: str) -> int:
        """The figure behind ``key`` in a file of lines ``key figure``."""
        fields = dict(line.split() for line in self._read(file).splitlines())
        return int(fields[key])


class V2Keeper:
    """A subtree below the root of the hierarchy, see ``protocol.Keeper``."""

    version = "v2"
    controllers = CONTROLLERS

    def __init__(self, top: Path, name: str) -> None:
        self._subtree = top / name
        enable_controllers(top)
        self._subtree.mkdir(exist_ok=True)
        enable_controllers(self._subtree)
        self._leftovers: list[Cgroup] = [
            V2Cgroup(entry) for entry in self._subtree.iterdir() if entry.is_dir()
        ]

    def create(self, name: str, limits: Limits) -> Cgroup:
        return make(V2Cgroup(self._subtree / name), limits)

    def leftovers(self) -> list[Cgroup]:
        return list(self._leftovers)

    def sweep(self) -> int:
        return end_all(self._leftovers)

    def close(self) -> None:
        remove_if_childless(self._subtree)
