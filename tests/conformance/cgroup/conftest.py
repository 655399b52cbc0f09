"""A subtree of cgroups on this host, processes in its leaves, and none of it afterwards."""

from __future__ import annotations

import os
import signal

import pytest

from lambdad_sandbox import syscalls
from lambdad_sandbox.cgroup import Cgroup, Limits, detect, keeper

MIB = 1024 * 1024


class Ground:
    def __init__(self, detected):
        self.detected = detected
        self.name = f"lambdad-test-{os.getpid()}"
        self.keeper = keeper(self.name, detected)
        self._leaves: list[Cgroup] = []
        self._children: list[int] = []

    def leaf(self, name="leaf", memory_mib=64, pids=16, cpus=1.0):
        leaf = self.keeper.create(name, Limits(memory_mib * MIB, pids, cpus))
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

    @staticmethod
    def _fork_into(leaf):
        if leaf.clone_fd is not None:
            return syscalls.clone3(0, signal.SIGCHLD, leaf.clone_fd)
        pid = os.fork()
        if pid == 0:
            for tasks in leaf.attach_fds:
                os.write(tasks, b"0")
        return pid

    def wait(self, pid):
        """The exit status, or the negative signal that ended it."""
        self._children.remove(pid)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def directories(self, name=""):
        """The directories of a leaf, or of the subtree, that are there."""
        paths = {top / self.name / name for top in self.detected.tops.values()}
        return [path for path in paths if path.exists()]

    def end(self):
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
        for leaf in self._leaves:
            if self.directories(leaf.name):
                leaf.kill()
            leaf.remove()
        for pid in list(self._children):
            self.wait(pid)
        self.keeper.close()


@pytest.fixture(scope="session")
def detected():
    found = detect()
    if found.version is None:
        pytest.skip(f"{found.reason} ({found.hint})")
    return found


@pytest.fixture
def ground(detected):
    ground = Ground(detected)
    yield ground
    ground.end()
    assert ground.directories() == []
