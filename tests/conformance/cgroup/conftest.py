"""A subtree of cgroups on this host, processes in its leaves, and none of it afterwards."""

from __future__ import annotations

import os
import select
import signal

import pytest

from lambdad_sandbox import syscalls
from lambdad_sandbox.cgroup import Cgroup, Detected, Limits, detect, keeper
from lambdad_sandbox.cgroup.process_tree import resident_bytes

MIB = 1024 * 1024
TURNS = 600 * int(os.environ.get("LAMBDAD_TEST_PATIENCE", "1"))
_TURN_S = 0.05


class Ground:
    """One keeper and what is made with it.

    Attributes:
        inherited: bytes that children have in common with this process: not theirs where there
            are cgroups, counted in part where there are none.
    """

    def __init__(self, detected):
        self.detected = detected
        self.name = f"lambdad-test-{os.getpid()}"
        self.keeper = keeper(self.name, detected, allow_unlimited=True)
        self.limits = self.keeper.version != "none"
        self.inherited = 0 if self.limits else resident_bytes(os.getpid())
        self._leaves: list[Cgroup] = []
        self._children: list[int] = []

    def leaf(self, name="leaf", memory_mib=64, pids=16, cpus=1.0):
        memory_bytes = memory_mib * MIB + self.inherited
        leaf = self.keeper.create(name, Limits(memory_bytes, pids, cpus))
        self._leaves.append(leaf)
        return leaf

    def start(self, leaf, act):
        """Run ``act`` in a child that is in ``leaf``; its result is the exit status."""
        reader, writer = os.pipe()
        pid = self._fork_into(leaf)
        if pid == 0:
            try:
                os.write(writer, b"in")
                status = act()
            except BaseException:  # noqa: BLE001  nothing may return into the test in a child
                status = 99
            os._exit(status or 0)
        self._children.append(pid)
        os.close(writer)
        assert os.read(reader, 2) == b"in"
        os.close(reader)
        return pid

    def _fork_into(self, leaf):
        """As a zygote and the daemon do it."""
        pid = syscalls.clone3(self._namespaces(), signal.SIGCHLD, leaf.clone_fd)
        if pid == 0:
            for tasks in leaf.attach_fds:
                os.write(tasks, b"0")
        else:
            pidfd = os.pidfd_open(pid)
            leaf.born(pidfd)
            os.close(pidfd)
        return pid

    def _namespaces(self):
        """Without cgroups the child is the PID 1 that all who come of it end with."""
        if self.limits:
            return 0
        return syscalls.CLONE_NEWPID | (syscalls.CLONE_NEWUSER if os.geteuid() else 0)

    def wait(self, pid):
        """The exit status, or the negative signal that ended it; limits are enforced meanwhile."""
        ended = os.pidfd_open(pid)
        try:
            for _ in range(TURNS):
                self.keeper.enforce()
                if select.select([ended], [], [], _TURN_S)[0]:
                    self._children.remove(pid)
                    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        finally:
            os.close(ended)
        pytest.fail(f"process {pid} does not end")

    def directories(self, name=""):
        """The directories of a leaf, or of the subtree, that are there."""
        paths = {top / self.name / name for top in self.detected.tops.values()}
        return [path for path in paths if path.exists()]

    def end(self):
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for leaf in self._leaves:
            if not self.limits or self.directories(leaf.name):
                leaf.kill()
            leaf.remove()
        for pid in list(self._children):
            self.wait(pid)
        self.keeper.close()


@pytest.fixture(scope="session")
def detected():
    """What the kernel limits with."""
    found = detect()
    if found.version is None:
        pytest.skip(f"{found.reason} ({found.hint})")
    return found


def _ground(detected):
    ground = Ground(detected)
    yield ground
    ground.end()
    assert ground.directories() == []


@pytest.fixture
def limited(detected):
    """The keeper of this host's cgroups."""
    yield from _ground(detected)


@pytest.fixture(params=["cgroups", "none"])
def ground(request):
    """Each keeper that can be had here."""
    asked = request.param == "none"
    yield from _ground(Detected(None) if asked else request.getfixturevalue("detected"))


@pytest.fixture
def shared_cpus(limited):
    """A keeper that gives each its share of the processors."""
    if "cpu" not in limited.keeper.controllers:
        pytest.skip("cannot limit processors: the cpu controller was not delegated")
    return limited
