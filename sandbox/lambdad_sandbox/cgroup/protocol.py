"""What a cgroup and a keeper of cgroups are, whichever version the host has, or none.

See cgroups(7). No method moves a process: moving through ``cgroup.procs`` waits for an RCU
grace period, 7 to 15 ms. On v1 a child moves itself through ``attach_fds``; on v2 it is born
in the group, by clone3(2) with ``clone_fd``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from lambdad_sandbox.errors import SandboxError

CPU_PERIOD_US = 100_000  # the kernel's default, and AWS's grain of time
_CPU_QUOTA_US_MIN = 1_000  # the kernel takes no less


class CannotLimit(SandboxError):
    """This host, or this user on it, cannot limit memory, processes and processors."""


class CgroupBusy(SandboxError):
    """Processes outlived SIGKILL for seconds: they hang in the kernel."""


@dataclass(frozen=True)
class Limits:
    """What one environment may use.

    Attributes:
        memory_bytes: all memory, page cache and kernel memory included; no swap beside it.
        pids: processes and threads together.
        cpus: processors, a fraction or several: a share when others want them too, and a cap.
    """

    memory_bytes: int
    pids: int
    cpus: float


def cpu_quota_us(cpus: float) -> int:
    """Microseconds of processor time in each CPU_PERIOD_US."""
    return max(_CPU_QUOTA_US_MIN, round(cpus * CPU_PERIOD_US))


class Cgroup(Protocol):
    """The cgroup of one environment: a leaf, whose limits are in force from its first moment.

    Attributes:
        attach_fds: v1: each hierarchy's ``tasks``, open for writing. The child, as its first
            act and single-threaded, writes ``b"0"`` into each, in this order. Else empty.
        clone_fd: v2: the group's directory, for CLONE_INTO_CGROUP. Else None.
        oom_fd: v1: an eventfd(2) that can be read when memory has run out and the kernel kills
            one process; whoever reads it ends the others. Else None: v2 kills all at once.
        can_freeze: whether ``freeze`` and ``thaw`` do anything.
    """

    @property
    def name(self) -> str: ...

    @property
    def attach_fds(self) -> tuple[int, ...]: ...

    @property
    def clone_fd(self) -> int | None: ...

    @property
    def oom_fd(self) -> int | None: ...

    @property
    def can_freeze(self) -> bool: ...

    def born(self, pidfd: int) -> None:
        """The first process, PID 1 of its pid namespace, is known; the descriptor is copied.

        Without cgroups this is all that is known of the processes. Else it means nothing.
        """

    def open_fds(self) -> None:
        """Open ``attach_fds`` or ``clone_fd`` again: somebody is to enter."""

    def close_fds(self) -> None:
        """Close ``attach_fds`` and ``clone_fd``: nobody enters any more."""

    def memory_bytes(self) -> int:
        """The memory that is in use now."""

    def memory_peak_bytes(self) -> int:
        """The most memory that was in use at one time."""

    def oom_kills(self) -> int:
        """How often the kernel killed here for want of memory; that it grew is what counts.

        v2 kills the whole group at once, and may count a victim twice. v1 kills one process,
        whose siblings go on: who sees the number grow calls ``kill``.
        """

    def cpu_usage_us(self) -> int:
        """Processor time used, by user code and kernel."""

    def grow(self, memory_bytes: int, cpus: float) -> None:
        """Give it at least as much memory as it has, and another share of processors."""

    def cap_cpus(self, cpus: float) -> None:
        """Change the cap on processors; the share stays as it was made."""

    def freeze(self) -> None:
        """Ask the kernel to stop every process; microseconds, and they stand soon after."""

    def thaw(self) -> None:
        """Let them go on."""

    def kill(self) -> None:
        """End every process, frozen ones too, and wait until none is left.

        Raises:
            CgroupBusy: some were still there after seconds.
        """

    def is_empty(self) -> bool:
        """Whether no process is in it; zombies do not count."""

    def remove(self) -> None:
        """Close the descriptors and remove the group, waiting for processes that are ending.

        Raises:
            CgroupBusy: some were still there after seconds.
        """


class Keeper(Protocol):
    """Keeper of one subtree of cgroups, ``lambdad-...``, in which it makes leaves.

    Attributes:
        version: ``v1`` or ``v2``, or ``none`` when memory is only watched.
        controllers: those in use; what the others would limit is not limited.
        can_freeze: whether its cgroups can be frozen.
    """

    @property
    def version(self) -> str: ...

    @property
    def controllers(self) -> frozenset[str]: ...

    @property
    def can_freeze(self) -> bool: ...

    def create(self, name: str, limits: Limits) -> Cgroup:
        """Make a leaf with ``limits`` in force.

        Raises:
            CannotLimit: the kernel refused; nothing of the leaf is left.
            ValueError: no leaf may have this name.
        """

    def enforce(self) -> None:
        """Do what the kernel does by itself where there are cgroups: who uses more memory than
        it has is killed, and counted in ``oom_kills``.

        To be called a few times a second, never while a leaf is killed or removed.
        """

    def leftovers(self) -> list[Cgroup]:
        """The leaves that stood before this keeper began: a killed daemon's."""

    def sweep(self) -> int:
        """Kill and remove the leftovers; how many they were.

        Raises:
            CgroupBusy: some could not be ended; they are still leftovers.
        """

    def close(self) -> None:
        """Remove the subtree, unless it still has leaves, and go back to where we were."""
