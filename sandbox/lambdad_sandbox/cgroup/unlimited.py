"""Without cgroups: processes are known by the PID 1 of their pid namespace, memory is watched.

For hosts where neither version can be had, and only when it is asked for. It does not limit
processes and processors, and cannot freeze. What a function takes between two looks is not
seen, nor is memory that no process maps: a file in /tmp, a memfd.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal

from lambdad_sandbox.cgroup import ending
from lambdad_sandbox.cgroup.making import leaf_name
from lambdad_sandbox.cgroup.process_tree import (
    cpu_us,
    descendants,
    proportional_bytes,
    resident_bytes,
)
from lambdad_sandbox.cgroup.protocol import CannotLimit, Cgroup, CgroupBusy, Limits


class UnlimitedCgroup:
    """No group, but all that came of one ``init``, see ``protocol.Cgroup``."""

    attach_fds: tuple[int, ...] = ()
    oom_fd: int | None = None
    clone_fd: int | None = None
    can_freeze = False

    def __init__(self, name: str, memory_bytes: int, standing: dict[str, UnlimitedCgroup]) -> None:
        self.name = name
        self._memory_bytes = memory_bytes
        self._standing = standing
        self._pidfd = -1
        self._resident_bytes_seen = 0
        self._peak_bytes = 0
        self._oom_kills = 0
        self._cpu_us = 0

    def born(self, pidfd: int) -> None:
        self._pidfd = os.dup(pidfd)

    def open_fds(self) -> None:
        pass

    def close_fds(self) -> None:
        pass

    def memory_bytes(self) -> int:
        return sum(map(resident_bytes, self._processes()))

    def memory_peak_bytes(self) -> int:
        self._look()
        return self._peak_bytes

    def oom_kills(self) -> int:
        return self._oom_kills

    def cpu_usage_us(self) -> int:
        # Less than before if somebody ended whom nobody waited for.
        self._cpu_us = max(self._cpu_us, sum(map(cpu_us, self._processes())))
        return self._cpu_us

    def grow(self, memory_bytes: int, cpus: float) -> None:
        self._memory_bytes = memory_bytes

    def cap_cpus(self, cpus: float) -> None:
        pass

    def freeze(self) -> None:
        pass

    def thaw(self) -> None:
        pass

    def enforce(self) -> None:
        """End it if it uses more than its memory."""
        if self._look() > self._memory_bytes:
            self._oom_kills += 1
            self.strike()

    def strike(self) -> None:
        """SIGKILL to init; the kernel ends all others of its pid namespace before it is gone."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def kill(self) -> None:
        ending.kill(self)

    def is_empty(self) -> bool:
        if self._pidfd < 0:
            return True
        watch = select.poll()
        watch.register(self._pidfd, select.POLLIN)
        return bool(watch.poll(0))

    def remove(self) -> None:
        for _ in ending.patience():
            if self.is_empty():
                break
        else:
            raise CgroupBusy(f"cannot remove {self.name}")
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        self._standing.pop(self.name, None)

    def _look(self) -> int:
        """The memory in use, at most; it is looked at closely only if it may be news."""
        processes = self._processes()
        resident_bytes_now = sum(map(resident_bytes, processes))
        if resident_bytes_now <= min(self._resident_bytes_seen, self._memory_bytes):
            return resident_bytes_now
        used_bytes = sum(map(proportional_bytes, processes))
        self._resident_bytes_seen = max(self._resident_bytes_seen, resident_bytes_now)
        self._peak_bytes = max(self._peak_bytes, used_bytes)
        return used_bytes

    def _processes(self) -> list[int]:
        """Those that live now; nobody is taken for init who merely got its pid."""
        if self._pidfd < 0:
            return []
        with open(f"/proc/self/fdinfo/{self._pidfd}", encoding="ascii") as info:
            fields = dict(line.split(":", 1) for line in info)
        processes = descendants(int(fields["Pid"]))
        return [] if self.is_empty() else processes


class UnlimitedKeeper:
    """Keeper of what has no cgroups, see ``protocol.Keeper``."""

    version = "none"
    controllers: frozenset[str] = frozenset()
    can_freeze = False

    def __init__(self) -> None:
        """Ask for what watching needs.

        Raises:
            CannotLimit: memory cannot even be watched.
        """
        if not os.path.exists("/proc/thread-self/children"):
            raise CannotLimit(
                "cannot watch memory: no /proc/thread-self/children",
                "boot a kernel with CONFIG_PROC_CHILDREN",
            )
        self._standing: dict[str, UnlimitedCgroup] = {}

    def create(self, name: str, limits: Limits) -> Cgroup:
        if name in self._standing:
            raise CannotLimit(f"cannot make cgroup {name}: it exists")
        leaf = UnlimitedCgroup(leaf_name(name), limits.memory_bytes, self._standing)
        self._standing[name] = leaf
        return leaf

    def enforce(self) -> None:
        for leaf in list(self._standing.values()):
            leaf.enforce()

    def leftovers(self) -> list[Cgroup]:
        return []

    def sweep(self) -> int:
        return 0

    def close(self) -> None:
        pass
