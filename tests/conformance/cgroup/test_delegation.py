"""Where cgroups are made when the root of the hierarchy cannot be had: moves, and moves back."""

from __future__ import annotations

import json
import os
import signal
import traceback
from pathlib import Path

import pytest

from lambdad_sandbox import syscalls
from lambdad_sandbox.cgroup import CannotLimit, Limits, detect, keeper
from lambdad_sandbox.cgroup.delegation import Foothold
from lambdad_sandbox.cgroup.ending import remove_directory
from lambdad_sandbox.cgroup.v2 import V2Keeper

LIMITS = Limits(64 * 1024 * 1024, 16, 1.0)
SUBTREE = "lambdad-test-inner"


@pytest.fixture
def given(detected):
    """A v2 cgroup as it is delegated to somebody: with controllers, and empty."""
    if detected.version != "v2":
        pytest.skip("version 1 cannot be delegated")
    foothold = Foothold(detected.tops["memory"], f"lambdad-test-{os.getpid()}")
    directory = foothold.directory / f"lambdad-test-given-{os.getpid()}"
    directory.mkdir()
    yield directory
    (directory / "cgroup.kill").write_text("1")
    for below in sorted(directory.rglob("*/"), reverse=True):
        remove_directory(below)
    remove_directory(directory)
    foothold.leave()


def in_child(directory, act):
    """What ``act`` returns in a process that is born in ``directory``."""
    reader, writer = os.pipe()
    group = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    pid = syscalls.clone3(0, signal.SIGCHLD, group)
    if pid == 0:
        try:
            said = {"returned": act()}
        except BaseException:  # noqa: BLE001  nothing may return into the test in a child
            said = {"raised": traceback.format_exc()}
        os.write(writer, json.dumps(said).encode())
        os._exit(0)
    os.close(group)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        said = json.loads(file.read())
    os.waitpid(pid, 0)
    assert "raised" not in said, said["raised"]
    return said["returned"]


def membership():
    return Path("/proc/self/cgroup").read_text().strip().rpartition("/")[2]


def groups(directory):
    return sorted(path.name for path in directory.iterdir() if path.is_dir())


def use(made):
    """Make a leaf, a process in it, and end both; whether it was a member of the leaf."""
    leaf = made.create("leaf", LIMITS)
    reader, writer = os.pipe()
    pid = syscalls.clone3(0, signal.SIGCHLD, leaf.clone_fd)
    if pid == 0:
        os.write(writer, membership().encode())
        signal.pause()
    said = os.read(reader, 100).decode()
    leaf.kill()
    leaf.remove()
    os.waitpid(pid, 0)
    return said


def test_who_is_alone_in_its_cgroup_moves_into_a_child_of_it_and_back(given):
    def act():
        made = V2Keeper(given, SUBTREE)
        during = membership(), groups(given)
        used = use(made)
        made.close()
        return [*during, used, membership(), groups(given)]

    assert in_child(given, act) == [
        f"{SUBTREE}.daemon", [f"{SUBTREE}", f"{SUBTREE}.daemon"], "leaf", given.name, [],
    ]  # fmt: skip
    assert (given / "cgroup.subtree_control").read_text().split() == []


def test_who_has_leaves_stays_where_it_moved(given):
    def act():
        made = V2Keeper(given, SUBTREE)
        leaf = made.create("leaf", LIMITS)
        made.close()
        before = membership()
        leaf.remove()
        made.close()
        return before, membership()

    assert in_child(given, act) == [f"{SUBTREE}.daemon", given.name]


def test_who_is_not_alone_moves_nobody_and_is_told_what_to_do(given):
    def act():
        companion = os.fork()
        if companion == 0:
            signal.pause()
        try:
            V2Keeper(given, SUBTREE)
        except CannotLimit as refusal:
            return refusal.reason, refusal.hint, membership(), groups(given)
        finally:
            os.kill(companion, signal.SIGKILL)
            os.waitpid(companion, 0)

    reason, hint, where, made = in_child(given, act)
    assert reason == f"cannot make cgroups in {given}: other processes are in it, too"
    assert "systemd-run --user --scope -p Delegate=yes" in hint
    assert (where, made) == (given.name, [])


@pytest.mark.parametrize("company", [False, True])
def test_to_ask_changes_nothing(given, company):
    def act():
        companion = company and os.fork()
        if company and companion == 0:
            signal.pause()
        found = detect()
        if company:
            os.kill(companion, signal.SIGKILL)
            os.waitpid(companion, 0)
        return found.version, membership(), groups(given)

    assert in_child(given, act) == ["v2", given.name, []]
    assert (given / "cgroup.subtree_control").read_text().split() == []


@pytest.mark.root
def test_in_a_container_whose_root_has_processes_the_daemon_moves(given, tmp_path):
    def act():
        syscalls.unshare(syscalls.CLONE_NEWNS | syscalls.CLONE_NEWCGROUP)
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
        for line in Path("/proc/mounts").read_text().splitlines():
            if line.split()[2] == "cgroup2":
                syscalls.umount2(line.split()[1], syscalls.MNT_DETACH)
        syscalls.mount("cgroup2", str(tmp_path), "cgroup2", 0)
        found = detect()
        asked = str(found.tops["memory"]), membership(), groups(tmp_path)
        made = keeper(SUBTREE, found)
        used = use(made)
        moved = membership()
        made.close()
        return [*asked, used, moved, membership(), groups(tmp_path)]

    moved = f"{SUBTREE}.daemon"
    assert in_child(given, act) == [str(tmp_path), "", [], "leaf", moved, "", []]
