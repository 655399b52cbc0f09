from __future__ import annotations

import pytest

from lambdad_sandbox.cgroup import CgroupBusy, Limits
from lambdad_sandbox.cgroup.delegation import REQUIRED, WANTED
from lambdad_sandbox.cgroup.ending import end_all, kill
from lambdad_sandbox.cgroup.protocol import cpu_quota_us
from lambdad_sandbox.cgroup.v2 import V2Cgroup, limit_files

MIB = 1024 * 1024


def limits(memory_mb):
    return Limits(memory_mb * MIB, 1_024, memory_mb / 1_769)


@pytest.mark.parametrize("memory_mb", [128, 512, 1_769, 3_008, 10_240])
def test_weights_and_quotas_are_proportional_to_memory(memory_mb):
    files = limit_files(limits(memory_mb), WANTED)
    assert files["cpu.weight"] == pytest.approx(1_000 * memory_mb / 1_769, abs=1)
    assert 1 <= files["cpu.weight"] <= 10_000
    quota_us, period_us = map(int, files["cpu.max"].split())
    assert quota_us / period_us == pytest.approx(memory_mb / 1_769, abs=0.001)


def test_without_the_cpu_controller_everything_else_is_limited():
    files = limit_files(limits(128), REQUIRED)
    assert files == {"memory.max": 128 * MIB, "memory.oom.group": 1, "pids.max": 1_024}


def test_a_quota_is_never_less_than_the_kernel_takes():
    assert cpu_quota_us(0.001) == 1_000


def test_without_memory_peak_the_most_that_was_seen_is_the_peak(tmp_path):
    leaf = V2Cgroup(tmp_path, WANTED)
    peaks = []
    for current in (1_000, 5_000, 2_000):
        (tmp_path / "memory.current").write_text(f"{current}\n")
        peaks.append(leaf.memory_peak_bytes())
    assert peaks == [1_000, 5_000, 5_000]


class Leaf:
    """A leaf whose processes die of the strike with this number, if of any."""

    def __init__(self, name, dies_of):
        self.name, self.dies_of, self.strikes, self.removed = name, dies_of, 0, False

    def is_empty(self):
        return self.dies_of is not None and self.strikes >= self.dies_of

    def strike(self):
        self.strikes += 1

    def remove(self):
        self.removed = True


@pytest.fixture
def short_patience(monkeypatch):
    monkeypatch.setattr("lambdad_sandbox.cgroup.ending.patience", lambda: range(5))


def test_all_are_struck_before_one_is_waited_for(short_patience):
    slow, quick, empty = Leaf("slow", 3), Leaf("quick", 1), Leaf("empty", 0)
    leaves = [slow, quick, empty]
    assert end_all(leaves) == 3
    assert leaves == []
    assert [leaf.strikes for leaf in (slow, quick, empty)] == [3, 1, 0]
    assert slow.removed
    assert quick.removed
    assert empty.removed


def test_what_cannot_be_ended_stays_on_the_list_and_keeps_nobody_else(short_patience):
    hanging, quick = Leaf("hanging", None), Leaf("quick", 1)
    leaves = [hanging, quick]
    with pytest.raises(CgroupBusy, match="cannot empty cgroup hanging"):
        end_all(leaves)
    assert leaves == [hanging]
    assert quick.removed


def test_killing_gives_up_after_a_while(short_patience):
    with pytest.raises(CgroupBusy, match="cannot empty cgroup hanging"):
        kill(Leaf("hanging", None))
