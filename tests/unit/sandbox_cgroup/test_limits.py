from __future__ import annotations

import pytest

from lambdad_sandbox.cgroup import CgroupBusy, Limits
from lambdad_sandbox.cgroup.ending import end_all
from lambdad_sandbox.cgroup.protocol import cpu_quota_us
from lambdad_sandbox.cgroup.v2 import V2Cgroup, limit_files

MIB = 1024 * 1024


def limits(memory_mb):
    return Limits(memory_mb * MIB, 1_024, memory_mb / 1_769)


@pytest.mark.parametrize("memory_mb", [128, 512, 1_769, 3_008, 10_240])
def test_weights_and_quotas_are_proportional_to_memory(memory_mb):
    files = limit_files(limits(memory_mb))
    assert files["cpu.weight"] == pytest.approx(1_000 * memory_mb / 1_769, abs=1)
    assert 1 <= files["cpu.weight"] <= 10_000
    quota_us, period_us = map(int, files["cpu.max"].split())
    assert quota_us / period_us == pytest.approx(memory_mb / 1_769, abs=0.001)


def test_a_quota_is_never_less_than_the_kernel_takes():
    assert cpu_quota_us(0.001) == 1_000


def test_without_memory_peak_the_most_that_was_seen_is_the_peak(tmp_path):
    leaf = V2Cgroup(tmp_path)
    peaks = []
    for current in (1_000, 5_000, 2_000):
        (tmp_path / "memory.current").write_text(f"{current}\n")
        peaks.append(leaf.memory_peak_bytes())
    assert peaks == [1_000, 5_000, 5_000]


def test_a_group_that_cannot_be_ended_stays_on_the_list():
    class Hanging:
        def kill(self):
            raise CgroupBusy("cannot empty it")

    groups = [Hanging()]
    with pytest.raises(CgroupBusy):
        end_all(groups)
    assert len(groups) == 1
