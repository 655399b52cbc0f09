from __future__ import annotations

from pathlib import Path

import pytest

from lambdad_sandbox.cgroup import CannotLimit, Detected, detect, keeper
from lambdad_sandbox.cgroup.detection import mounted

V1_BESIDE_V2 = r"""
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:11 master:2 - cgroup cgroup rw,memory
37 31 0:34 / /mnt/with\040space rw - cgroup cgroup rw,freezer
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
""".strip()


def test_hierarchies_are_found_where_mountinfo_says():
    hierarchies, unified = mounted(V1_BESIDE_V2)
    assert hierarchies == {
        "freezer": Path("/mnt/with space"),
        "memory": Path("/sys/fs/cgroup/memory"),
        "cpu": Path("/sys/fs/cgroup/cpu,cpuacct"),
        "cpuacct": Path("/sys/fs/cgroup/cpu,cpuacct"),
    }
    assert unified == Path("/sys/fs/cgroup/unified")


def test_a_host_without_cgroups_has_no_hierarchies():
    assert mounted("22 1 0:20 / /proc rw - proc proc rw") == ({}, None)


@pytest.mark.parametrize("name", ["docker", "", "lambdad/../docker", "lambdad-x/y"])
def test_a_keeper_refuses_names_that_are_not_ours(name):
    with pytest.raises(ValueError, match="must begin with lambdad"):
        keeper(name, Detected(None))


def test_a_host_that_cannot_limit_is_refused_with_a_reason_and_a_hint():
    with pytest.raises(CannotLimit) as refused:
        keeper("lambdad-unit", Detected(None, reason="cannot limit memory", hint="mount cgroup2"))
    assert (refused.value.reason, refused.value.hint) == ("cannot limit memory", "mount cgroup2")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_a_hierarchy_that_cannot_be_written_to_is_refused_with_a_hint(version, tmp_path):
    gone = tmp_path / "gone"
    tops = dict.fromkeys(("freezer", "memory", "pids", "cpu", "cpuacct"), gone)
    with pytest.raises(CannotLimit, match="run as root"):
        keeper("lambdad-unit", Detected(version, tops))


def host(monkeypatch, tmp_path, lines):
    """Let mountinfo be ``lines``; everything else is as it is."""
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text("\n".join(lines))
    monkeypatch.setattr("lambdad_sandbox.cgroup.detection._MOUNTINFO", mountinfo)


def test_a_v2_without_controllers_beside_no_v1_cannot_limit(monkeypatch, tmp_path):
    (tmp_path / "cgroup.controllers").write_text("hugetlb\n")
    host(monkeypatch, tmp_path, [f"41 31 0:38 / {tmp_path} rw - cgroup2 cgroup2 rw"])
    found = detect()
    assert found.version is None
    assert "no cgroup controller cpu, cpuacct, freezer, memory, pids" in found.reason
    assert found.hint


def test_a_v2_without_cgroup_kill_cannot_be_used(monkeypatch, tmp_path):
    (tmp_path / "cgroup.controllers").write_text("cpu memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("cpu memory pids\n")
    host(monkeypatch, tmp_path, [f"41 31 0:38 / {tmp_path} rw - cgroup2 cgroup2 rw"])
    found = detect()
    assert (found.version, found.reason) == (None, "cannot kill cgroups: no cgroup.kill")
    assert not list(tmp_path.glob("lambdad-probe-*"))


def test_a_v1_whose_directories_cannot_be_made_cannot_limit(monkeypatch, tmp_path):
    options = "freezer,memory,pids,cpu,cpuacct"
    host(monkeypatch, tmp_path, [f"41 31 0:38 / {tmp_path}/gone rw - cgroup cgroup rw,{options}"])
    found = detect()
    assert found.version is None
    assert found.reason.startswith("cannot make cgroups in")
