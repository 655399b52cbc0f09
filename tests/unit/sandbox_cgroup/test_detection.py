from __future__ import annotations

from pathlib import Path

import pytest

from lambdad_sandbox.cgroup import CannotLimit, Detected, detect, keeper
from lambdad_sandbox.cgroup.delegation import candidates, own_directory
from lambdad_sandbox.cgroup.detection import Unified, mounted

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
    assert unified == Unified(Path("/sys/fs/cgroup/unified"), "/")


def test_a_host_without_cgroups_has_no_hierarchies():
    assert mounted("22 1 0:20 / /proc rw - proc proc rw") == ({}, None)


@pytest.mark.parametrize(
    ("membership", "root", "own"),
    [
        ("0::/", "/", "/cg"),
        ("8:pids:/elsewhere\n0::/user.slice/session", "/", "/cg/user.slice/session"),
        ("0::/docker/abc/inner", "/docker/abc", "/cg/inner"),
        ("0::/docker/abcdef", "/docker/abc", None),
        ("0::/../sibling", "/", None),
        ("8:pids:/", "/", None),
    ],
)
def test_the_own_cgroup_is_found_below_the_mount_if_it_is_there(membership, root, own):
    assert own_directory(membership, Path("/cg"), root) == (Path(own) if own else None)


@pytest.mark.parametrize(
    ("own", "tried"),
    [
        (None, ["/cg"]),
        ("/cg", ["/cg"]),
        ("/cg/user/session", ["/cg", "/cg/user/session", "/cg/user"]),
    ],
)
def test_the_root_is_tried_first_and_then_upwards_from_the_own_cgroup(own, tried):
    assert candidates(Path("/cg"), Path(own) if own else None) == tuple(map(Path, tried))


@pytest.mark.parametrize(
    "name", ["docker", "", "lambdad/../docker", "lambdad-x/y", "lambdad-x.daemon", "lambdad\n"]
)
def test_a_keeper_refuses_names_that_are_not_ours(name):
    with pytest.raises(ValueError, match="must begin with lambdad"):
        keeper(name, Detected(None))


def test_a_host_that_cannot_limit_is_refused_with_a_reason_and_a_hint():
    with pytest.raises(CannotLimit) as refused:
        keeper("lambdad-unit", Detected(None, reason="cannot limit memory", hint="mount cgroup2"))
    assert (refused.value.reason, refused.value.hint) == ("cannot limit memory", "mount cgroup2")


def test_a_host_that_cannot_limit_watches_if_that_is_asked_for():
    found = keeper("lambdad-unit", Detected(None), allow_unlimited=True)
    assert (found.version, found.controllers, found.can_freeze) == ("none", frozenset(), False)


@pytest.mark.parametrize(("version", "hint"), [("v1", "run as root"), ("v2", "systemd-run")])
def test_a_hierarchy_that_cannot_be_written_to_is_refused_with_a_hint(version, hint, tmp_path):
    gone = tmp_path / "gone"
    tops = dict.fromkeys(("freezer", "memory", "pids", "cpu", "cpuacct"), gone)
    with pytest.raises(CannotLimit, match=hint):
        keeper("lambdad-unit", Detected(version, tops))


def test_a_v1_that_can_be_had_in_part_only_is_left_as_it_was(tmp_path):
    tops = dict.fromkeys(("freezer", "memory", "pids", "cpu"), tmp_path)
    with pytest.raises(CannotLimit):
        keeper("lambdad-unit", Detected("v1", {**tops, "cpuacct": tmp_path / "gone"}))
    assert list(tmp_path.iterdir()) == []


def host(monkeypatch, tmp_path, lines):
    """Let mountinfo be ``lines``, and we be in the root; everything else is as it is."""
    for name, text in (("mountinfo", "\n".join(lines)), ("membership", "0::/")):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(f"lambdad_sandbox.cgroup.detection._{name.upper()}", tmp_path / name)


def v2_group(directory, controllers="cpu memory pids", processes=""):
    """What looks like a v2 cgroup, as far as it is asked before one is made."""
    directory.mkdir(exist_ok=True)
    (directory / "cgroup.controllers").write_text(controllers + "\n")
    (directory / "cgroup.subtree_control").write_text(controllers + "\n")
    (directory / "cgroup.procs").write_text(processes)


def test_a_v2_without_controllers_beside_no_v1_cannot_limit(monkeypatch, tmp_path):
    (tmp_path / "cgroup.controllers").write_text("hugetlb\n")
    host(monkeypatch, tmp_path, [f"41 31 0:38 / {tmp_path} rw - cgroup2 cgroup2 rw"])
    found = detect()
    assert found.version is None
    assert "no cgroup controller cpu, cpuacct, freezer, memory, pids" in found.reason
    assert found.hint


def test_a_v2_without_memory_below_the_root_says_what_was_not_given(monkeypatch, tmp_path):
    v2_group(tmp_path)
    (tmp_path / "cgroup.procs").unlink()  # The root is not ours.
    v2_group(tmp_path / "mine", controllers="cpu pids")
    host(monkeypatch, tmp_path, [f"41 31 0:38 / {tmp_path} rw - cgroup2 cgroup2 rw"])
    (tmp_path / "membership").write_text("0::/mine\n")
    found = detect()
    assert found.version is None
    assert found.reason == f"cannot make cgroups in {tmp_path}/mine: no controller memory given"
    assert "systemd-run --user --scope -p Delegate=yes" in found.hint


def test_a_v2_without_cgroup_kill_cannot_be_used(monkeypatch, tmp_path):
    v2_group(tmp_path)
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
