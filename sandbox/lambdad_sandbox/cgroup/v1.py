"""cgroup v1: one hierarchy for each controller, spoken to through cgroupspy.

cgroupspy's controllers are used on nodes given by their path. Its ``trees`` are not: they walk
whole hierarchies. It has no pids and no freezer controller; they are declared here in its
manner. A write through it takes 8 us, against 2 us by hand: 40 us of a leaf, which is worth it.

Source: https://docs.kernel.org/admin-guide/cgroup-v1/
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from cgroupspy.controllers import Controller, CpuAcctController, CpuController, MemoryController
from cgroupspy.interfaces import BaseFileInterface, IntegerFile
from cgroupspy.nodes import Node

from lambdad_sandbox.cgroup import ending
from lambdad_sandbox.cgroup.making import leaf_name, make
from lambdad_sandbox.cgroup.protocol import Cgroup, Limits, cpu_quota_us

# The freezer comes first: who is in any of the hierarchies is in this one, and kill finds it.
CONTROLLERS = ("freezer", "memory", "pids", "cpu", "cpuacct")

_SHARES_OF_A_CPU = 1_024
_SHARES_MIN = 2  # the kernel takes no less

# Freezing the first group of a host, or thawing the last, patches the kernel's code: 127 us
# instead of 2. So each keeper has one empty group that stays frozen.
_ALWAYS_FROZEN = ".frozen"


class PidsController(Controller):  # type: ignore[misc]  # cgroupspy has no types
    max = IntegerFile("pids.max")


class FreezerController(Controller):  # type: ignore[misc]  # as above
    state = BaseFileInterface("freezer.state")


class V1Cgroup:
    """A leaf of the same name in each hierarchy, see ``protocol.Cgroup``."""

    clone_fd: int | None = None
    can_freeze = True

    def __init__(self, name: str, subtrees: Mapping[str, Path]) -> None:
        self.name = name
        self.attach_fds: tuple[int, ...] = ()
        self.oom_fd: int | None = None
        self._peak_fd = self._state_fd = -1
        self._accounts_for_swap = False
        nodes = {kind: Node(os.fspath(subtree / name)) for kind, subtree in subtrees.items()}
        self._freezer = FreezerController(nodes["freezer"])
        self._memory = MemoryController(nodes["memory"])
        self._pids = PidsController(nodes["pids"])
        self._cpu = CpuController(nodes["cpu"])
        self._cpuacct = CpuAcctController(nodes["cpuacct"])
        # Controllers may share a hierarchy, such as cpu,cpuacct; the order stays.
        self._directories = tuple(dict.fromkeys(subtree / name for subtree in subtrees.values()))

    def claim(self) -> None:
        """Make the first of the directories, for nobody else.

        Raises:
            FileExistsError: somebody has the name.
        """
        self._directories[0].mkdir()

    def limit(self, limits: Limits) -> None:
        """Make the other directories, write the limits, open the doors."""
        for directory in self._directories[1:]:
            directory.mkdir()
        self._memory.limit_in_bytes = limits.memory_bytes
        self._memory.swappiness = 0
        # Not every kernel has the file for memory and swap together.
        swap = self._memory.filepath(b"memory.memsw.limit_in_bytes")
        self._accounts_for_swap = os.path.exists(swap)
        if self._accounts_for_swap:
            self._memory.memsw_limit_in_bytes = limits.memory_bytes
        self._pids.max = limits.pids
        self._cpu.shares = _shares(limits.cpus)
        # The period is CPU_PERIOD_US in every new group.
        self.cap_cpus(limits.cpus)
        self.open_fds()
        self._listen_for_oom()

    def _listen_for_oom(self) -> None:
        """See "Memory thresholds" and "OOM Control" in the kernel's memory.rst."""
        self.oom_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        control = os.open(self._memory.filepath(b"memory.oom_control"), os.O_RDONLY | os.O_CLOEXEC)
        try:
            with open(
                self._memory.filepath(b"cgroup.event_control"), "wb", buffering=0
            ) as listeners:
                listeners.write(b"%d %d" % (self.oom_fd, control))
        finally:
            os.close(control)

    def born(self, pidfd: int) -> None:
        pass

    def open_fds(self) -> None:
        for directory in self._directories:
            tasks = os.open(directory / "tasks", os.O_WRONLY | os.O_CLOEXEC)
            self.attach_fds += (tasks,)

    def close_fds(self) -> None:
        for descriptor in self.attach_fds:
            os.close(descriptor)
        self.attach_fds = ()

    def memory_bytes(self) -> int:
        return _read(self._memory.filepath(b"memory.usage_in_bytes"))

    def memory_peak_bytes(self) -> int:
        if self._peak_fd < 0:  # Asked after each invocation, so it stays open.
            path = self._memory.filepath(b"memory.max_usage_in_bytes")
            self._peak_fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return int(os.pread(self._peak_fd, 32, 0))

    def oom_kills(self) -> int:
        return int(self._memory.oom_control["oom_kill"])

    def cpu_usage_us(self) -> int:
        return _read(self._cpuacct.filepath(b"cpuacct.usage")) // 1_000

    def grow(self, memory_bytes: int, cpus: float) -> None:
        if self._accounts_for_swap:  # This one is never to be below the other.
            _write(self._memory.filepath(b"memory.memsw.limit_in_bytes"), memory_bytes)
        _write(self._memory.filepath(b"memory.limit_in_bytes"), memory_bytes)
        _write(self._cpu.filepath(b"cpu.shares"), _shares(cpus))

    def cap_cpus(self, cpus: float) -> None:
        self._cpu.cfs_quota_us = cpu_quota_us(cpus)

    def freeze(self) -> None:
        self._set_state(b"FROZEN")

    def thaw(self) -> None:
        self._set_state(b"THAWED")

    def _set_state(self, state: bytes) -> None:
        if self._state_fd < 0:  # Written before and after each invocation, so it stays open.
            path = self._freezer.filepath(b"freezer.state")
            self._state_fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        os.pwrite(self._state_fd, state, 0)

    def strike(self) -> None:
        # Frozen, none can fork away, and a pid in the list cannot become another's. It is the
        # thaw that lets them die.
        self.freeze()
        for pid in self._processes():
            _kill(pid)
        self.thaw()

    def kill(self) -> None:
        ending.kill(self)

    def is_empty(self) -> bool:
        return not self._processes()

    def remove(self) -> None:
        self.close_fds()
        for descriptor in (self._peak_fd, self._state_fd):
            if descriptor >= 0:
                os.close(descriptor)
        self._peak_fd = self._state_fd = -1
        if self.oom_fd is not None:
            os.close(self.oom_fd)
            self.oom_fd = None
        for directory in self._directories:
            ending.remove_directory(directory)

    def _processes(self) -> list[int]:
        try:
            processes: list[int] = self._freezer.procs
        except FileNotFoundError:  # Left half made or half removed by a killed daemon.
            return []
        return processes


def _shares(cpus: float) -> int:
    return max(_SHARES_MIN, round(cpus * _SHARES_OF_A_CPU))


class V1Keeper:
    """A subtree of one name in each hierarchy, see ``protocol.Keeper``."""

    version = "v1"
    controllers = frozenset(CONTROLLERS)
    can_freeze = True

    def __init__(self, tops: Mapping[str, Path], name: str) -> None:
        self._subtrees = {kind: tops[kind] / name for kind in CONTROLLERS}
        self._always_frozen = self._subtrees["freezer"] / _ALWAYS_FROZEN
        try:
            self._make_subtrees()
        except OSError:
            self.close()
            raise
        self._leftovers = [V1Cgroup(leaf, self._subtrees) for leaf in self._leaves()]

    def create(self, name: str, limits: Limits) -> Cgroup:
        return make(V1Cgroup(leaf_name(name), self._subtrees), limits)

    def enforce(self) -> None:
        pass

    def leftovers(self) -> list[Cgroup]:
        return list(self._leftovers)

    def sweep(self) -> int:
        return ending.end_all(self._leftovers)

    def close(self) -> None:
        ending.remove_directory(self._always_frozen)
        for subtree in self._subtrees.values():
            ending.remove_if_childless(subtree)

    def _make_subtrees(self) -> None:
        for subtree in self._subtrees.values():
            subtree.mkdir(exist_ok=True)
        self._always_frozen.mkdir(exist_ok=True)
        FreezerController(Node(os.fspath(self._always_frozen))).state = "FROZEN"

    def _leaves(self) -> list[str]:
        """The names in any of the hierarchies: a leaf may have been left half made."""
        entries = [entry for subtree in self._subtrees.values() for entry in subtree.iterdir()]
        names = {entry.name for entry in entries if entry.is_dir()}
        return sorted(names - {_ALWAYS_FROZEN})


# What a start waits for is read and written by hand: 10 us of a cold processor instead of 50.


def _read(path: bytes) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return int(os.read(descriptor, 32))
    finally:
        os.close(descriptor)


def _write(path: bytes, value: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, b"%d" % value)
    finally:
        os.close(descriptor)


def _kill(pid: int) -> None:
    # 0 stands for a process outside our pid namespace; to kill(2) it means ourselves.
    if pid > 0:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
