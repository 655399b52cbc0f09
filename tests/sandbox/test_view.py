"""What a function sees of the machine: itself, its code, the system's programs, nothing else."""

from __future__ import annotations

import os
import socket

import pytest

# ruff: noqa: PTH101, PTH107, PTH110, PTH115, PTH123, PTH208  what runs inside asks the kernel, not pathlib

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

MIB = 1024 * 1024
DEVICES = {"null": [1, 3], "zero": [1, 5], "full": [1, 7], "random": [1, 8], "urandom": [1, 9]}
RLIMITS = {
    "NOFILE": [1_024, 1_024],
    "NPROC": [1_024, 1_024],
    "CORE": [0, 0],
    "MEMLOCK": [65_536, 65_536],
    "MSGQUEUE": [0, 0],
    "RTPRIO": [0, 0],
    "NICE": [0, 0],
}

# Each of the plain functions below runs inside, alone: it brings its imports along.


def own_status():
    with open("/proc/self/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file)


def read(path):
    with open(path) as file:
        return file.read()


def listed(path):
    import os

    return sorted(os.listdir(path))


def user_names():
    import grp
    import os
    import pwd

    return [pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name]


def processes():
    import os

    return {
        "own": os.getpid(),
        "parent": os.getppid(),
        "seen": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
    }


def descriptors():
    import os

    kinds = {}
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            kinds[name] = os.readlink(f"/proc/self/fd/{name}").partition(":")[0]
        except FileNotFoundError:  # The listing's own.
            continue
    return kinds


def mounts():
    with open("/proc/self/mountinfo") as file:
        fields = [line.split() for line in file]
    return {field[4]: field[5].split(",") for field in fields}


def device_numbers():
    import os
    import stat

    found = {}
    for name in os.listdir("/dev"):
        status = os.lstat(f"/dev/{name}")
        if not stat.S_ISLNK(status.st_mode):
            assert stat.S_ISCHR(status.st_mode), name
            found[name] = [os.major(status.st_rdev), os.minor(status.st_rdev)]
    return found


def tmp_facts():
    import os
    import subprocess

    size = os.statvfs("/tmp")
    with open("/tmp/script", "w") as file:
        file.write("#!/bin/sh\necho it runs\n")
    os.chmod("/tmp/script", 0o700)
    said = subprocess.run(["/tmp/script"], capture_output=True, text=True, check=True).stdout
    os.remove("/tmp/script")
    return {"bytes": size.f_blocks * size.f_frsize, "said": said}


def existing(paths):
    import os

    return [path for path in paths if os.path.exists(path) and os.listdir(path)]


def writable(path):
    """What below it, on its own file system, one may make or change."""
    import os

    found = []
    for folder, _, files in os.walk(path):
        found += [name for name in [folder] if os.access(name, os.W_OK)]
        found += [f"{folder}/{name}" for name in files if os.access(f"{folder}/{name}", os.W_OK)]
    return found


def rlimits(names):
    import resource

    return {name: resource.getrlimit(getattr(resource, f"RLIMIT_{name}")) for name in names}


def network():
    import socket

    return {"interfaces": socket.if_nameindex(), "host": socket.gethostname()}


def connect(host, port):
    import socket

    socket.create_connection((host, port), timeout=5).close()


def test_a_function_has_no_privilege_and_cannot_gain_one(inside):
    status = inside(own_status)
    for capabilities in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[capabilities], 16) == 0, capabilities
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"


def test_a_function_is_an_ordinary_user_without_groups(inside):
    status = inside(own_status)
    uids, gids = set(status["Uid"].split("\t")), set(status["Gid"].split("\t"))
    assert len(uids) == len(gids) == 1
    assert "0" not in uids | gids
    assert status["Groups"].strip() == ""
    assert inside(user_names) == ["sbx_user1051", "sbx_user1051"]


def test_a_function_sees_its_init_and_itself_and_no_other_process(inside):
    seen = inside(processes)
    assert seen["parent"] == 1
    assert seen["own"] > 1
    assert seen["seen"] == [1, seen["own"]]


def test_a_function_has_only_its_streams_and_its_connection_open(inside):
    kinds = inside(descriptors)
    streams = [kinds.pop(number) for number in "012"]
    assert streams == ["/dev/null", "pipe", "pipe"]
    assert list(kinds.values()) == ["socket"]


def test_nothing_is_mounted_writable_but_tmp_and_proc(inside):
    options = inside(mounts)
    assert {path for path, given in options.items() if "rw" in given} == {"/tmp", "/proc"}
    for path, given in options.items():
        assert "nosuid" in given, path
        assert "nodev" in given or path == "/dev" or path.startswith("/proc/"), path
    assert "noexec" not in options["/tmp"]


@pytest.mark.parametrize("path", ["/var", "/etc", "/run", "/opt", "/mnt"])
def test_nothing_there_can_be_written_by_a_function(inside, path):
    assert inside(writable, path) == []


def test_the_code_of_a_function_is_all_that_is_in_its_task_root(inside):
    assert inside(listed, "/var/task") == ["lambda_function.py"]


def test_no_machinery_is_left_where_a_function_looks(inside):
    assert inside(listed, "/run/lambdad") == []


def test_homes_and_the_kernels_objects_are_not_there(inside):
    hidden = ["/root", "/home", "/sys", "/boot", "/srv", "/media", "/var/lib", "/var/log"]
    assert inside(existing, hidden) == []


def test_the_state_of_the_daemon_is_not_there(daemon, inside):
    assert inside(listed, "/tmp") == []
    for above in daemon.state_dir.parents[:-2]:
        with pytest.raises(FileNotFoundError):
            inside(listed, str(above))


def test_etc_tells_nothing_of_the_host(inside):
    assert inside(read, "/etc/hostname") == "localhost\n"
    assert inside(read, "/etc/resolv.conf") == ""
    assert not {"shadow", "machine-id", "fstab", "ssh"} & set(inside(listed, "/etc"))


def test_devices_are_the_five_harmless_ones(inside):
    assert inside(device_numbers) == DEVICES


def test_tmp_is_private_sized_and_may_hold_programs(inside):
    facts = inside(tmp_facts)
    assert facts["bytes"] == 512 * MIB
    assert facts["said"] == "it runs\n"


def test_the_network_is_a_loopback_of_ones_own(inside):
    assert inside(network) == {"interfaces": [[1, "lo"]], "host": "localhost"}


def test_neither_the_daemon_nor_anything_else_can_be_reached(daemon, inside):
    port = int(daemon.url.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        inside(connect, "127.0.0.1", port)
    for address in ("192.0.2.1", "8.8.8.8", "169.254.169.254", *own_addresses()):
        with pytest.raises(OSError, match="unreachable"):
            inside(connect, address, port)


def own_addresses():
    """Those that the host is known by, without asking anybody."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return []
        return [probe.getsockname()[0]]


def test_limits_of_a_process_are_as_promised(inside):
    assert inside(rlimits, list(RLIMITS)) == RLIMITS


def test_cgroups_are_seen_from_their_own_root(inside):
    seen = [line.split(":", 2) for line in inside(read, "/proc/self/cgroup").splitlines()]
    limited = [path for _, controllers, path in seen if not controllers.startswith("name=")]
    assert limited
    assert set(limited) == {"/"}


def test_nothing_of_the_daemons_environment_is_there(daemon, inside):
    assert inside(read, "/proc/1/cmdline").count(str(daemon.state_dir)) == 0
    text = inside(read, "/proc/self/environ")
    assert "LAMBDAD" not in text
    for name in ("HOME", "USER", "VIRTUAL_ENV"):
        assert f"{name}={os.environ.get(name, '?')}" not in text
