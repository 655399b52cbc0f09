"""Disks of this host, guests that write to them, and none of either afterwards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conformance.disk.ground import (
    MIB,
    Guests,
    files_in_use,
    loop_devices,
    remove_devices,
    wait_until,
)

from lambdad_sandbox.cgroup import Limits, detect, keeper
from lambdad_sandbox.disk import DiskMaker, supported


@pytest.fixture
def directory(tmp_path):
    """Where the files of the disks are, on a host that can make disks."""
    path = tmp_path / "disks"
    path.mkdir()
    if reason := supported(str(path)):
        pytest.skip(reason)
    return path


@pytest.fixture
def maker(directory):
    """Makes disks; all that were made are gone at the end, without being told."""
    before = loop_devices()
    mounts = Path("/proc/self/mounts").read_text()
    maker = DiskMaker(str(directory))
    made = []

    def make(tmp_mb, of=None, **users):
        """A fresh one, or a copy ``of`` another."""
        made.append(maker.make(tmp_mb) if of is None else maker.copy(of, **users))
        return made[-1]

    yield make
    for disk in made:
        disk.discard()
    maker.close()
    wait_until(lambda: not files_in_use(directory))
    assert list(directory.iterdir()) == []
    assert Path("/proc/self/mounts").read_text() == mounts
    remove_devices(loop_devices() - before)


@pytest.fixture
def guests(maker, tmp_path):
    (tmp_path / "tmp").mkdir()
    tmp_path.chmod(0o755)
    guests = Guests(tmp_path / "tmp")
    yield guests
    guests.end()


@pytest.fixture
def leaf():
    """A cgroup of 64 MiB; no more than this is what a guest may have of memory."""
    found = detect()
    if found.version is None:
        pytest.skip(f"{found.reason} ({found.hint})")
    ours = keeper(f"lambdad-test-disk-{os.getpid()}", found)
    leaf = ours.create("leaf", Limits(64 * MIB, 16, 2.0))
    yield leaf
    leaf.kill()
    leaf.remove()
    ours.close()
