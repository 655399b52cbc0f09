"""What every keeper of cgroups promises, asked of the one that this host has."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from lambdad_sandbox.cgroup import CannotLimit, Limits, keeper

pytestmark = [pytest.mark.cgroup, pytest.mark.root]

MIB = 1024 * 1024


def use_memory(mib):
    return bytearray(b"x") * (mib * MIB)


def spin_for(cpu, wall_s):
    os.sched_setaffinity(0, {cpu})
    end = time.monotonic() + wall_s
    while time.monotonic() < end:
        pass


def spin_forever():
    while True:
        pass


def spin_until(condition):
    """Wait for ``condition``, looking again and again for at most some seconds of own work."""
    end = time.process_time() + 10
    while not condition():
        assert time.process_time() < end


def burn(cpu_s):
    end = time.process_time() + cpu_s
    spin_until(lambda: time.process_time() >= end)


def open_descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def fork_until_refused():
    """How many forks succeed; the children stay."""
    for count in range(100):
        try:
            if os.fork() == 0:
                signal.pause()
        except BlockingIOError:
            return count
    return 100


def fork_bomb():
    while True:
        with contextlib.suppress(BlockingIOError):
            os.fork()


def test_a_child_that_takes_more_memory_than_the_limit_is_killed_and_counted(ground):
    leaf = ground.leaf(memory_mib=24)
    assert leaf.oom_kills() == 0
    child = ground.start(leaf, lambda: use_memory(64) and 0)
    assert ground.wait(child) == -signal.SIGKILL
    assert leaf.oom_kills() >= 1


def test_a_child_within_the_limit_lives_and_its_peak_is_remembered(ground):
    leaf = ground.leaf(memory_mib=64)
    assert ground.wait(ground.start(leaf, lambda: use_memory(32) and 0)) == 0
    assert leaf.oom_kills() == 0
    assert 32 * MIB <= leaf.memory_peak_bytes() <= 48 * MIB


def test_the_limit_of_one_leaf_does_not_kill_in_another(ground):
    greedy, modest = ground.leaf("greedy", memory_mib=24), ground.leaf("modest", memory_mib=24)
    bystander = ground.start(modest, signal.pause)
    assert ground.wait(ground.start(greedy, lambda: use_memory(64) and 0)) == -signal.SIGKILL
    assert greedy.oom_kills() >= 1
    assert modest.oom_kills() == 0
    assert os.waitpid(bystander, os.WNOHANG) == (0, 0)


def test_forks_beyond_the_limit_are_refused(ground):
    leaf = ground.leaf(pids=4)
    assert ground.wait(ground.start(leaf, fork_until_refused)) == 3


def test_processors_are_shared_in_proportion_to_the_cpus_bought(ground):
    cpu = max(os.sched_getaffinity(0))
    large, small = ground.leaf("large", cpus=4.0), ground.leaf("small", cpus=1.0)
    children = [ground.start(leaf, lambda: spin_for(cpu, 1.5)) for leaf in (large, small)]
    assert [ground.wait(child) for child in children] == [0, 0]
    assert large.cpu_usage_us() / small.cpu_usage_us() == pytest.approx(4, rel=0.15)


def test_a_lone_child_gets_no_more_than_the_cpus_bought(ground):
    leaf = ground.leaf(cpus=0.25)
    child = ground.start(leaf, lambda: spin_for(max(os.sched_getaffinity(0)), 1.0))
    assert ground.wait(child) == 0
    assert 0 < leaf.cpu_usage_us() <= 0.25 * 1_000_000 * 1.3


def test_frozen_children_make_no_progress_until_thawed(ground):
    leaf = ground.leaf()
    ground.start(leaf, spin_forever)
    spin_until(lambda: leaf.cpu_usage_us() > 10_000)
    leaf.freeze()
    burn(0.05)
    used_us = leaf.cpu_usage_us()
    burn(0.1)
    assert leaf.cpu_usage_us() == used_us
    leaf.thaw()
    spin_until(lambda: leaf.cpu_usage_us() > used_us)


def test_frozen_children_can_be_killed(ground):
    leaf = ground.leaf()
    child = ground.start(leaf, spin_forever)
    leaf.freeze()
    leaf.kill()
    assert leaf.is_empty()
    assert ground.wait(child) == -signal.SIGKILL


def test_a_fork_bomb_is_killed_whole(ground):
    leaf = ground.leaf(pids=20)
    child = ground.start(leaf, fork_bomb)
    spin_until(lambda: leaf.cpu_usage_us() > 50_000)
    leaf.kill()
    assert leaf.is_empty()
    assert ground.wait(child) == -signal.SIGKILL


def test_a_leaf_is_empty_before_and_after_its_children(ground):
    leaf = ground.leaf()
    assert leaf.is_empty()
    child = ground.start(leaf, signal.pause)
    spin_until(lambda: not leaf.is_empty())
    os.kill(child, signal.SIGKILL)
    ground.wait(child)
    assert leaf.is_empty()


def test_killing_an_empty_leaf_is_no_error(ground):
    ground.leaf().kill()


def test_remove_leaves_no_directory_and_no_descriptor(ground):
    descriptors = open_descriptors()
    leaf = ground.leaf()
    assert len(ground.directories("leaf")) >= 1
    leaf.remove()
    assert ground.directories("leaf") == []
    assert open_descriptors() == descriptors


def test_a_name_is_given_once(ground):
    leaf = ground.leaf()
    child = ground.start(leaf, signal.pause)
    with pytest.raises(CannotLimit, match="cannot make cgroup leaf"):
        ground.keeper.create("leaf", Limits(MIB, 1, 1.0))
    assert os.waitpid(child, os.WNOHANG) == (0, 0)


def test_a_limit_that_the_kernel_refuses_leaves_nothing(ground):
    with pytest.raises(CannotLimit, match="cannot limit cgroup leaf"):
        ground.keeper.create("leaf", Limits(MIB, -5, 1.0))
    assert ground.directories("leaf") == []


def test_sweep_ends_what_a_killed_daemon_left_and_nothing_else(ground):
    neighbour = keeper(f"{ground.name}-neighbour", ground.detected)
    try:
        theirs = neighbour.create("leaf", Limits(64 * MIB, 16, 1.0))
        child = ground.start(ground.leaf("left"), spin_forever)

        successor = keeper(ground.name, ground.detected)
        ours = successor.create("new", Limits(64 * MIB, 16, 1.0))
        assert [leaf.name for leaf in successor.leftovers()] == ["left"]
        assert successor.sweep() == 1
        assert successor.leftovers() == []
        assert ground.wait(child) == -signal.SIGKILL
        assert ground.directories("left") == []

        assert len(ground.directories("new")) >= 1
        ours.remove()
        theirs.remove()
    finally:
        neighbour.close()


def test_sweep_removes_leaves_that_are_half_made(ground):
    for i, top in enumerate(ground.detected.tops.values()):
        (top / ground.name / f"half-{i}").mkdir()
    assert keeper(ground.name, ground.detected).sweep() == len(ground.detected.tops)


def test_close_keeps_a_subtree_that_has_leaves(ground):
    leaf = ground.leaf()
    ground.keeper.close()
    assert len(ground.directories("leaf")) >= 1
    leaf.remove()
