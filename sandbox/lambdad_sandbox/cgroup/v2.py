"""cgroup v2: plain files in one hierarchy.

Source: https://docs.kernel.org/admin-guide/cgroup-v2.html
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from lambdad_sandbox.cgroup import ending
from lambdad_sandbox.cgroup.delegation import Foothold, enable
from lambdad_sandbox.cgroup.making import leaf_name, make
from lambdad_sandbox.cgroup.protocol import CPU_PERIOD_US, Cgroup, Limits, cpu_quota_us

# cpu.weight goes from 1 to 10000; so 128 MB weigh 72, and 10240 MB 5788.
_WEIGHT_OF_A_CPU = 1_000

_FILE_BYTES_MAX = 4_096  # none of those that are read here is longer


def limit_files(limits: Limits, controllers: frozenset[str]) -> dict[str, int | str]:
    """What is written into which file of a leaf that has these controllers."""
    files: dict[str, int | str] = {
        "memory.max": limits.memory_bytes,
        "memory.oom.group": 1,
        "pids.max": limits.pids,
        "cpu.weight": weight(limits.cpus),
        "cpu.max": cap(limits.cpus),
    }
    return {file: value for file, value in files.items() if file.split(".")[0] in controllers}


def weight(cpus: float) -> int:
    """What ``cpu.weight`` is to say."""
    return min(10_000, max(1, round(cpus * _WEIGHT_OF_A_CPU)))


def cap(cpus: float) -> str:
    """What ``cpu.max`` is to say."""
    return f"{cpu_quota_us(cpus)} {CPU_PERIOD_US}"


class V2Cgroup:
    """A leaf, see ``protocol.Cgroup``."""

    attach_fds: tuple[int, ...] = ()
    oom_fd: int | None = None
    can_freeze = True  # since Linux 5.2, and cgroup.kill is younger

    def __init__(self, directory: Path, controllers: frozenset[str]) -> None:
        self.name = directory.name
        self.clone_fd: int | None = None
        self._controllers = controllers
        self._directory = directory
        self._peak_bytes_seen = 0
        self._freeze_fd = -1

    def claim(self) -> None:
        """Make the directory, for nobody else.

        Raises:
            FileExistsError: somebody has the name.
        """
        self._directory.mkdir()

    def limit(self, limits: Limits) -> None:
        for file, value in limit_files(limits, self._controllers).items():
            self._write(file, value)
        # A kernel without swap has no such file, and nothing to limit.
        with contextlib.suppress(FileNotFoundError):
            self._write("memory.swap.max", 0)
        self.open_fds()

    def born(self, pidfd: int) -> None:
        pass

    def open_fds(self) -> None:
        self.clone_fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def close_fds(self) -> None:
        if self.clone_fd is not None:
            os.close(self.clone_fd)
            self.clone_fd = None

    def memory_bytes(self) -> int:
        return int(self._read("memory.current"))

    def memory_peak_bytes(self) -> int:
        try:
            return int(self._read("memory.peak"))
        except FileNotFoundError:  # Before Linux 5.19: the most that was seen by asking.
            self._peak_bytes_seen = max(self._peak_bytes_seen, self.memory_bytes())
            return self._peak_bytes_seen

    def oom_kills(self) -> int:
        return self._field("memory.events", "oom_kill")

    def cpu_usage_us(self) -> int:
        return self._field("cpu.stat", "usage_usec")

    def grow(self, memory_bytes: int, cpus: float) -> None:
        self._write("memory.max", memory_bytes)
        if "cpu" in self._controllers:
            self._write("cpu.weight", weight(cpus))

    def cap_cpus(self, cpus: float) -> None:
        if "cpu" in self._controllers:
            self._write("cpu.max", cap(cpus))

    def freeze(self) -> None:
        self._set_frozen(b"1")

    def thaw(self) -> None:
        self._set_frozen(b"0")

    def _set_frozen(self, frozen: bytes) -> None:
        if self._freeze_fd < 0:  # Written before and after each invocation, so it stays open.
            path = f"{self._directory}/cgroup.freeze"
            self._freeze_fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        os.pwrite(self._freeze_fd, frozen, 0)

    def strike(self) -> None:
        self._write("cgroup.kill", 1)

    def kill(self) -> None:
        ending.kill(self)

    def is_empty(self) -> bool:
        return self._field("cgroup.events", "populated") == 0

    def remove(self) -> None:
        self.close_fds()
        if self._freeze_fd >= 0:
            os.close(self._freeze_fd)
            self._freeze_fd = -1
        ending.remove_directory(self._directory)

    def _read(self, file: str) -> str:
        # Plain calls, as below: a start waits for some of them.
        descriptor = os.open(f"{self._directory}/{file}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(descriptor, _FILE_BYTES_MAX).decode()
        finally:
            os.close(descriptor)

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
    """A subtree below ``top``, see ``protocol.Keeper``."""

    version = "v2"
    can_freeze = True

    def __init__(self, top: Path, name: str) -> None:
        """Make the subtree.

        Raises:
            CannotLimit, OSError: it cannot be made; we are where we were.
        """
        self._foothold = Foothold(top, name)
        self.controllers = self._foothold.controllers
        self._subtree = top / name
        try:
            self._subtree.mkdir(exist_ok=True)
            enable(self._subtree, self.controllers)
        except OSError:
            self.close()
            raise
        self._leftovers = [
            V2Cgroup(entry, self.controllers) for entry in self._subtree.iterdir() if entry.is_dir()
        ]

    def create(self, name: str, limits: Limits) -> Cgroup:
        return make(V2Cgroup(self._subtree / leaf_name(name), self.controllers), limits)

    def enforce(self) -> None:
        pass

    def leftovers(self) -> list[Cgroup]:
        return list(self._leftovers)

    def sweep(self) -> int:
        return ending.end_all(self._leftovers)

    def close(self) -> None:
        ending.remove_if_childless(self._subtree)
        self._foothold.leave()
