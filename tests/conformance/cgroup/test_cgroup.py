"""What every keeper promises, and what those promise that limit, asked of each that can be had."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import pytest

from lambdad_sandbox.cgroup import CannotLimit, Limits, keeper

MIB = 1024 * 1024


def hold(memory_bytes):
    """Take memory and keep it, until somebody else ends this process."""
    held = bytearray(b"x") * memory_bytes
    signal.pause()
    del held


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


def leave_orphans(writer):
    """Start processes that are nobody's children, each holding the pipe; then wait."""
    for _ in range(3):
        if os.fork() == 0:
            os.setsid()
            for _ in range(2):
                os.fork()
            signal.pause()
    os.write(writer, b"!")
    signal.pause()


def test_a_child_that_takes_more_memory_than_the_limit_is_killed_and_counted(ground):
    leaf = ground.leaf(memory_mib=24)
    assert leaf.oom_kills() == 0
    child = ground.start(leaf, lambda: hold(64 * MIB + ground.inherited))
    assert ground.wait(child) == -signal.SIGKILL
    assert leaf.oom_kills() >= 1


def test_a_child_within_the_limit_lives_and_its_peak_is_remembered(ground):
    leaf = ground.leaf(memory_mib=64)
    child = ground.start(leaf, lambda: hold(32 * MIB))
    spin_until(lambda: leaf.memory_peak_bytes() >= 32 * MIB)
    ground.keeper.enforce()
    assert os.waitpid(child, os.WNOHANG) == (0, 0)
    leaf.kill()
    ground.wait(child)
    assert leaf.oom_kills() == 0
    assert 32 * MIB <= leaf.memory_peak_bytes() <= 48 * MIB + ground.inherited


def test_what_is_in_use_is_what_was_taken_and_goes_with_who_took_it(ground):
    leaf = ground.leaf(memory_mib=64)
    assert leaf.memory_bytes() < MIB
    child = ground.start(leaf, lambda: hold(32 * MIB))
    spin_until(lambda: leaf.memory_bytes() >= 32 * MIB)
    assert leaf.memory_bytes() <= 48 * MIB + ground.inherited
    leaf.kill()
    ground.wait(child)
    spin_until(lambda: leaf.memory_bytes() < 8 * MIB)


def test_the_limit_of_one_leaf_does_not_kill_in_another(ground):
    greedy, modest = ground.leaf("greedy", memory_mib=24), ground.leaf("modest", memory_mib=24)
    bystander = ground.start(modest, signal.pause)
    child = ground.start(greedy, lambda: hold(64 * MIB + ground.inherited))
    assert ground.wait(child) == -signal.SIGKILL
    assert greedy.oom_kills() >= 1
    assert modest.oom_kills() == 0
    assert os.waitpid(bystander, os.WNOHANG) == (0, 0)


def test_memory_that_was_added_can_be_used(ground):
    leaf = ground.leaf(memory_mib=24)
    leaf.grow(96 * MIB + ground.inherited, 2.0)
    ground.start(leaf, lambda: hold(64 * MIB))
    spin_until(lambda: leaf.memory_peak_bytes() >= 64 * MIB)
    ground.keeper.enforce()
    assert leaf.oom_kills() == 0


def test_no_memory_can_be_swapped_out(limited):
    leaf = limited.leaf()
    leaf.grow(128 * MIB, 1.0)
    unswappable = {
        "memory.swappiness": "0",
        "memory.memsw.limit_in_bytes": str(128 * MIB),
        "memory.swap.max": "0",
    }
    files = [path / name for path in limited.directories("leaf") for name in unswappable]
    said = {file.name: file.read_text().strip() for file in files if file.exists()}
    assert said.items() <= unswappable.items()
    if Path("/proc/swaps").read_text().count("\n") > 1:
        assert said


def test_on_v2_whoever_shares_a_leaf_with_one_that_is_killed_for_memory_is_killed_too(limited):
    if limited.keeper.version != "v2":
        pytest.skip("v1 kills one process; the daemon kills the others")
    leaf = limited.leaf(memory_mib=24)
    sibling = limited.start(leaf, signal.pause)
    assert limited.wait(limited.start(leaf, lambda: hold(64 * MIB))) == -signal.SIGKILL
    assert limited.wait(sibling) == -signal.SIGKILL


def test_forks_beyond_the_limit_are_refused(limited):
    leaf = limited.leaf(pids=4)
    assert limited.wait(limited.start(leaf, fork_until_refused)) == 3


def test_processors_are_shared_in_proportion_to_the_cpus_bought(shared_cpus):
    cpu = max(os.sched_getaffinity(0))
    large, small = shared_cpus.leaf("large", cpus=4.0), shared_cpus.leaf("small", cpus=1.0)
    children = [shared_cpus.start(leaf, lambda: spin_for(cpu, 1.5)) for leaf in (large, small)]
    assert [shared_cpus.wait(child) for child in children] == [0, 0]
    assert large.cpu_usage_us() / small.cpu_usage_us() == pytest.approx(4, rel=0.15)


def test_a_lone_child_gets_no_more_than_the_cpus_bought(shared_cpus):
    leaf = shared_cpus.leaf(cpus=0.25)
    child = shared_cpus.start(leaf, lambda: spin_for(max(os.sched_getaffinity(0)), 1.0))
    assert shared_cpus.wait(child) == 0
    assert 0 < leaf.cpu_usage_us() <= 0.25 * 1_000_000 * 1.3


def test_processor_time_is_counted_and_caps_may_be_asked_for(ground):
    leaf = ground.leaf(cpus=0.5)
    leaf.cap_cpus(1.0)
    ground.start(leaf, spin_forever)
    spin_until(lambda: leaf.cpu_usage_us() > 50_000)


def test_a_leaf_says_as_its_keeper_whether_it_can_be_frozen(ground):
    leaf = ground.leaf()
    assert leaf.can_freeze == ground.keeper.can_freeze == ground.limits
    leaf.freeze()
    leaf.thaw()


def test_frozen_children_make_no_progress_until_thawed(limited):
    leaf = limited.leaf()
    limited.start(leaf, spin_forever)
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


def test_a_fork_bomb_is_killed_whole(limited):
    leaf = limited.leaf(pids=20)
    child = limited.start(leaf, fork_bomb)
    spin_until(lambda: leaf.cpu_usage_us() > 50_000)
    leaf.kill()
    assert leaf.is_empty()
    assert limited.wait(child) == -signal.SIGKILL


def test_orphans_are_killed_with_the_others(ground):
    leaf = ground.leaf(pids=32)
    reader, writer = os.pipe()
    try:
        child = ground.start(leaf, lambda: leave_orphans(writer))
        assert os.read(reader, 1) == b"!"
    finally:
        os.close(writer)
    leaf.kill()
    assert os.read(reader, 1) == b""  # Nobody holds the other end any more.
    os.close(reader)
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
    assert bool(ground.directories("leaf")) == ground.limits
    child = ground.start(leaf, signal.pause)
    leaf.memory_peak_bytes()
    leaf.kill()
    leaf.remove()
    ground.wait(child)
    assert ground.directories("leaf") == []
    assert open_descriptors() == descriptors


def test_a_name_is_given_once(ground):
    leaf = ground.leaf()
    child = ground.start(leaf, signal.pause)
    with pytest.raises(CannotLimit, match="cannot make cgroup leaf"):
        ground.keeper.create("leaf", Limits(MIB, 1, 1.0))
    assert os.waitpid(child, os.WNOHANG) == (0, 0)


def test_a_name_is_free_again_after_its_leaf(ground):
    ground.leaf().remove()
    ground.leaf().remove()


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "cgroup.procs", "a\n", "a" * 129])
def test_a_name_that_is_no_leaf_is_refused(ground, name):
    with pytest.raises(ValueError, match="cannot make a cgroup named"):
        ground.keeper.create(name, Limits(MIB, 1, 1.0))


def test_a_limit_that_the_kernel_refuses_leaves_nothing(limited):
    descriptors = open_descriptors()
    with pytest.raises(CannotLimit, match="cannot limit cgroup leaf"):
        limited.keeper.create("leaf", Limits(MIB, -5, 1.0))
    assert limited.directories("leaf") == []
    assert open_descriptors() == descriptors


def test_sweep_ends_what_a_killed_daemon_left_and_nothing_else(limited):
    neighbour = keeper(f"{limited.name}-neighbour", limited.detected)
    try:
        theirs = neighbour.create("leaf", Limits(64 * MIB, 16, 1.0))
        bystander = limited.start(theirs, signal.pause)
        busy = limited.start(limited.leaf("busy"), spin_forever)
        frozen_leaf = limited.leaf("frozen")
        frozen = limited.start(frozen_leaf, signal.pause)
        frozen_leaf.freeze()

        successor = keeper(limited.name, limited.detected)
        ours = successor.create("new", Limits(64 * MIB, 16, 1.0))
        assert {leaf.name for leaf in successor.leftovers()} == {"busy", "frozen"}
        assert successor.sweep() == 2
        assert successor.leftovers() == []
        assert [limited.wait(child) for child in (busy, frozen)] == [-signal.SIGKILL] * 2
        assert limited.directories("busy") == limited.directories("frozen") == []

        assert len(limited.directories("new")) >= 1
        ours.remove()
        assert os.waitpid(bystander, os.WNOHANG) == (0, 0)
        theirs.kill()
        theirs.remove()
    finally:
        neighbour.close()


def test_sweep_removes_leaves_that_are_half_made(limited):
    for i, top in enumerate(limited.detected.tops.values()):
        (top / limited.name / f"half-{i}").mkdir()
    assert keeper(limited.name, limited.detected).sweep() == len(limited.detected.tops)


def test_where_nothing_is_left_a_sweep_finds_nothing(ground):
    assert ground.keeper.leftovers() == []
    assert ground.keeper.sweep() == 0


def test_close_keeps_a_subtree_that_has_leaves(limited):
    leaf = limited.leaf()
    limited.keeper.close()
    assert len(limited.directories("leaf")) >= 1
    leaf.remove()
