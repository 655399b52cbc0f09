"""FS: a function sees its code and the system's programs, writes to /tmp, and nothing else."""

from __future__ import annotations

import errno
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from promises.deeds import call, listed, mounts, read, readable, refused, write, x86_64
from scenario.package import zipped
from scenario.program import PATIENCE, wait_until_ended, watch

MIB = 1024 * 1024
DEVICES = {"null": [1, 3], "zero": [1, 5], "full": [1, 7], "random": [1, 8], "urandom": [1, 9]}
MS_REMOUNT, MS_BIND, MS_MOVE, MNT_DETACH = 32, 4096, 8192, 2


# --- FS-1: no file of the host beyond the runtime's image ---


def climb():
    """Go up by descriptor, further than any root is deep; what the uppermost folder holds."""
    import os

    opened = [os.open("/var/task", os.O_RDONLY)]
    for _ in range(64):
        opened.append(os.open("..", os.O_RDONLY, dir_fd=opened[-1]))
    found = sorted(os.listdir(opened[-1]))
    for folder in opened:
        os.close(folder)
    return found


def test_fs_1_no_way_leads_to_a_file_of_the_host(inside, host_files):
    doors = ["", "/proc/1/root", "/proc/1/cwd", "/proc/self/root", "/proc/self/cwd/../../../.."]
    doors += ["/.." * 32, "/run/lambdad/../../..", "/oldroot", "/.pivot", "/mnt"]
    ways = [f"{door}{file}" for door in doors for file in host_files]
    assert all(file.read_text() for file in host_files)
    assert inside(readable, ways) == []


def test_fs_1_links_in_tmp_lead_to_no_file_of_the_host(inside, host_files):
    def through_links(paths):
        import os

        found = []
        for path in paths:
            os.symlink(path, "/tmp/way")
            try:
                with open("/tmp/way") as file:
                    found.append(file.read())
            except FileNotFoundError:
                pass
            finally:
                os.remove("/tmp/way")
        return found

    assert inside(through_links, [str(file) for file in host_files]) == []


def test_fs_1_climbing_ends_at_ones_own_root(inside):
    assert inside(climb) == inside(listed, "/")


def test_fs_1_homes_and_the_kernels_objects_are_not_there(inside):
    hidden = ["/root", "/home", "/sys", "/boot", "/srv", "/media", "/var/lib", "/var/log"]

    def existing(paths):
        import os

        return [path for path in paths if os.path.exists(path) and os.listdir(path)]

    assert inside(existing, hidden) == []


def test_fs_1_etc_tells_nothing_of_the_host(inside):
    assert inside(read, "/etc/hostname") == "localhost\n"
    assert not {"shadow", "machine-id", "fstab", "ssh"} & set(inside(listed, "/etc"))


def test_fs_1_the_state_of_the_daemon_is_not_there(daemon, inside):
    assert inside(listed, "/tmp") == []
    for above in daemon.state_dir.parents[:-2]:
        with pytest.raises(FileNotFoundError):
            inside(listed, str(above))


# --- FS-2: no other function's code ---


def files_with(word):
    """Every file in sight that holds the word; the system's and Python's are not searched."""
    import os
    import pathlib
    import stat

    found = []
    for folder, folders, names in os.walk("/"):
        if folder in ("/", "/var"):
            folders[:] = [name for name in folders if name not in ("usr", "proc", "lang")]
        for name in names:
            path = pathlib.Path(folder, name)
            try:
                if stat.S_ISREG(path.lstat().st_mode) and word.encode() in path.read_bytes():
                    found.append(str(path))
            except PermissionError:
                continue
    return found


def test_fs_2_a_neighbours_code_is_nowhere_in_sight(inside, neighbour, secret):
    assert inside(files_with, secret) == []
    assert inside(listed, "/var/task") == ["lambda_function.py"]


def test_fs_2_another_user_of_the_host_cannot_read_code_or_zip(daemon, neighbour, secret):
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    held = [path for path in daemon.state_dir.rglob("*") if path.is_file()]
    assert any(secret.encode() in path.read_bytes() for path in held)
    for path in held:
        tried = subprocess.run(["/bin/cat", path], user=65534, capture_output=True, check=False)
        assert tried.returncode != 0, path


# --- FS-3: only /tmp can be written ---


def writable_folders():
    """All folders in sight in which a file can be made, but those of processes."""
    import os

    found = []
    for folder, folders, _ in os.walk("/"):
        if folder == "/":
            folders.remove("proc")
        if os.access(folder, os.W_OK):
            try:
                os.close(os.open(f"{folder}/mine", os.O_CREAT | os.O_WRONLY))
            except OSError:
                continue
            found.append(folder)
            os.remove(f"{folder}/mine")
    return found


def test_fs_3_a_file_can_be_made_in_tmp_and_nowhere_else(inside):
    assert inside(writable_folders) == ["/tmp"]


@pytest.mark.parametrize("path", ["/var/task/lambda_function.py", "/var/runtime/bootstrap.py"])
def test_fs_3_what_a_function_runs_from_cannot_be_changed(inside, path):
    assert inside(changes_that_succeed, path) == []


def changes_that_succeed(path):
    import os

    attempts = {
        "open": lambda: os.close(os.open(path, os.O_WRONLY)),
        "truncate": lambda: os.truncate(path, 0),
        "chmod": lambda: os.chmod(path, 0o777),
        "utime": lambda: os.utime(path),
        "remove": lambda: os.remove(path),
        "rename": lambda: os.rename(path, path + ".old"),
        "link": lambda: os.link(path, os.path.dirname(path) + "/link"),
        "setxattr": lambda: os.setxattr(path, "user.mine", b""),
    }
    succeeded = []
    for name, attempt in attempts.items():
        try:
            attempt()
        except OSError:
            continue
        succeeded.append(name)
    return succeeded


def test_fs_3_nothing_is_mounted_writable_but_tmp_and_proc(inside):
    options = inside(mounts)
    assert {path for path, given in options.items() if "rw" in given} == {"/tmp", "/proc"}
    for path, given in options.items():
        assert "nosuid" in given, path
        assert "nodev" in given or path.startswith(("/dev", "/proc/")), path
    assert "noexec" not in options["/tmp"]


def test_fs_3_no_machinery_is_left_where_a_function_looks(inside):
    assert inside(listed, "/run/lambdad") == []


# --- FS-4: /tmp is private to an environment ---


def test_fs_4_environments_share_no_tmp(deploy, invoke):
    """Three of one function and one of another, all at the same time."""
    source = f"""
        import os, pathlib, time

        def handler(event, context):
            pathlib.Path(f"/tmp/{{event}}").touch()
            time.sleep({0.5 * PATIENCE})
            return os.listdir("/tmp")
    """
    names = [deploy(source)] * 3 + [deploy(source)]
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(invoke, names, "abcd"))
    assert [answer.payload for answer in answers] == [["a"], ["b"], ["c"], ["d"]]


def test_fs_4_two_revisions_of_a_function_share_no_tmp(daemon, deploy, invoke):
    source = """
        import os, pathlib

        def handler(event, context):
            before = os.listdir("/tmp")
            pathlib.Path("/tmp/mine").touch()
            return before
    """
    name = deploy(source)
    assert [invoke(name).payload, invoke(name).payload] == [[], ["mine"]]
    again = source.replace("before", "found")
    daemon.client.update_function_code(FunctionName=name, ZipFile=zipped(again))
    daemon.wait("function_updated_v2", name)
    assert invoke(name).payload == []


# --- FS-5: /tmp is limited, and what is promised can be used ---

FILLER = """
    import os

    def handler(event, context):
        if event == "files":
            try:
                for number in range(1_000_000):
                    os.close(os.open(f"/tmp/{number}", os.O_CREAT | os.O_WRONLY))
            except OSError as error:
                return [error.errno, number]
        if event == "look":
            return os.listdir("/tmp")
        size = 0
        try:
            with open("/tmp/full", "wb", buffering=0) as file:
                while True:
                    size += file.write(bytes(1 << 20))
        except OSError as error:
            return [error.errno, size]
"""


def test_fs_5_tmp_takes_what_was_promised_and_no_more(deploy, invoke):
    name = deploy(FILLER, Timeout=40 * PATIENCE)
    number, size = invoke(name, "fill").payload
    assert number == errno.ENOSPC
    assert 510 * MIB <= size <= 512 * MIB  # A file system keeps the places of blocks in blocks.
    assert invoke(name, "look").payload == ["full"]


def test_fs_5_files_in_tmp_are_counted(deploy, invoke):
    name = deploy(FILLER, Timeout=60 * PATIENCE)
    number, files = invoke(name, "files").payload
    assert number == errno.ENOSPC
    assert 10_000 <= files <= 100_000
    assert invoke(name, "look").error is None


@pytest.mark.promise("FS-5")
def test_fs_5_tmp_can_be_filled_by_a_function_with_less_memory(deploy, invoke):
    name = deploy(FILLER, MemorySize=128, Timeout=60 * PATIENCE)
    number, size = invoke(name, "fill").payload
    assert number == errno.ENOSPC
    assert size >= 510 * MIB


def test_fs_5_tmp_is_sized_as_configured_and_may_hold_programs(deploy, invoke):
    source = """
        import os, subprocess

        def handler(event, context):
            size = os.statvfs("/tmp")
            with open("/tmp/script", "w") as file:
                file.write("#!/bin/sh\\necho it runs\\n")
            os.chmod("/tmp/script", 0o700)
            said = subprocess.run(["/tmp/script"], capture_output=True, text=True).stdout
            return [size.f_blocks * size.f_frsize, said]
    """
    size, said = invoke(deploy(source, EphemeralStorage={"Size": 600})).payload
    assert size >= 600 * MIB
    assert size < 640 * MIB
    assert said == "it runs\n"


# --- FS-6: no device but five harmless ones ---


def test_fs_6_devices_are_the_five_harmless_ones(inside):
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

    assert inside(device_numbers) == DEVICES


@pytest.mark.parametrize("path", ["/tmp/memory", "/dev/memory"])
@pytest.mark.parametrize("kind", [0x2000, 0x6000, 0x12000], ids=["char", "block", "char, bit 16"])
def test_fs_6_a_device_cannot_be_made(inside, path, kind):
    """The kernel looks at 16 bits of the mode: a filter must not look at more."""
    for name, arguments in {"mknod": [path], "mknodat": [-100, path]}.items():
        refused(inside, call, name, *arguments, kind | 0o666, os.makedev(1, 1))


# --- FS-7: roots and mounts cannot be changed or left ---


@pytest.mark.parametrize(
    "arguments",
    [
        ("mount", "none", "/tmp", "tmpfs", 0, None),
        ("mount", "proc", "/tmp", "proc", 0, None),
        ("mount", "sysfs", "/tmp", "sysfs", 0, None),
        ("mount", "cgroup", "/tmp", "cgroup", 0, "memory"),
        ("mount", "/usr", "/tmp", None, MS_BIND, None),
        ("mount", None, "/var/task", None, MS_REMOUNT, None),
        ("mount", None, "/var/task", None, MS_REMOUNT | MS_BIND, None),
        ("mount", "/proc", "/tmp", None, MS_MOVE, None),
        ("umount2", "/tmp", MNT_DETACH),
        ("umount2", "/proc/sys", MNT_DETACH),
        ("chroot", "/tmp"),
        ("name_to_handle_at", -100, "/", None, None, 0),
        ("open_by_handle_at", -100, None, 0),
        ("fanotify_init", 0, 0),
    ],
    ids=lambda call: f"{call[0]} {call[1]}",
)
def test_fs_7_a_mount_or_root_cannot_be_changed(inside, arguments):
    refused(inside, call, *arguments)


@x86_64
@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        (155, (".", ".")),
        (428, (-100, "/", 1)),
        (429, (-100, "/tmp", -100, "/mnt", 0)),
        (430, ("tmpfs", 0)),
        (432, (3, 0, 0)),
        (433, (-100, "/", 0)),
        (442, (-100, "/var/task", 0, None, 0)),
        (467, (-100, "/", 1, None, 0)),
        (457, (None, None, 0, 0)),
        (458, (None, None, 0, 0)),
    ],
    ids=[
        "pivot_root", "open_tree", "move_mount", "fsopen", "fsmount", "fspick", "mount_setattr",
        "open_tree_attr", "statmount", "listmount",
    ],
)  # fmt: skip
def test_fs_7_the_newer_calls_for_mounts_are_refused(inside, number, arguments):
    refused(inside, call, "syscall", number, *arguments)


# --- FS-8: the kernel's knobs and memory ---


@pytest.mark.parametrize(
    "path",
    [
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/sys/kernel/shmmax",
        "/proc/sys/user/max_user_namespaces",
        "/proc/sys/vm/drop_caches",
        "/proc/sys/vm/overcommit_memory",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sys/net/core/somaxconn",
        "/proc/sys/fs/mqueue/queues_max",
        "/proc/sys/fs/binfmt_misc/register",
        "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity",
    ],
)
def test_fs_8_a_knob_of_the_kernel_cannot_be_turned(inside, path):
    refused(inside, write, path, "1", also=[errno.ENOENT, errno.EINVAL])


def test_fs_8_no_file_of_proc_but_ones_own_can_be_opened_for_writing(inside):
    def knobs_that_open():
        """Those that belong to none of our processes."""
        import os

        opened = []
        for folder, folders, files in os.walk("/proc"):
            if folder == "/proc":
                folders[:] = [name for name in folders if not name.isdigit()]
                folders[:] = [name for name in folders if name not in ("self", "thread-self")]
            for name in files:
                path = f"{folder}/{name}"
                try:
                    descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
                except OSError:
                    continue
                if os.fstat(descriptor).st_rdev != os.makedev(1, 3):  # /dev/null masks some.
                    opened.append(path)
                os.close(descriptor)
        return opened

    assert inside(knobs_that_open) == []


@pytest.mark.parametrize(
    "name", ["kcore", "kallsyms", "kmsg", "keys", "key-users", "timer_list", "vmallocinfo",
             "slabinfo", "kpageflags", "sched_debug"],
)  # fmt: skip
def test_fs_8_the_memory_of_the_kernel_is_masked(inside, name):
    def content(path):
        try:
            with open(path, "rb") as file:
                return len(file.read(100))
        except OSError:
            return 0

    assert inside(content, f"/proc/{name}") == 0


# --- FS-9: cleaning up does not leave, and does not follow ---


def test_fs_9_what_is_left_in_tmp_is_gone_and_what_it_points_to_is_not(
    daemon, deploy, invoke, host_files
):
    """Links to files and folders of the host, closed folders, a deep tree, strange names."""
    source = """
        import os

        def handler(targets, context):
            for number, target in enumerate(targets):
                os.symlink(target, f"/tmp/{number}")
                os.symlink(os.path.dirname(target), f"/tmp/folder-{number}")
            os.symlink("/tmp", "/tmp/round")
            os.makedirs("/tmp/closed/inner")
            open("/tmp/closed/inner/file", "w").close()
            open(b"/tmp/\\xff\\n\\x1b[2J", "w").close()
            os.mkfifo("/tmp/pipe")
            os.chmod("/tmp/closed", 0)
            os.chdir("/tmp")
            for _ in range(2_000):
                os.mkdir("deep" * 20)
                os.chdir("deep" * 20)
    """
    before = daemon.environments()
    name = daemon.deploy(source)
    assert invoke(name, [str(file) for file in host_files]).error is None
    ended = watch([one for one in daemon.environments() if one not in before])
    assert ended
    daemon.client.delete_function(FunctionName=name)
    wait_until_ended(ended)
    assert all(file.read_text().startswith("secret") for file in host_files)
    assert [file for file in host_files if len(list(file.parent.iterdir())) != 1] == []
    assert daemon.mounts() == []
    assert list(daemon.state_dir.rglob("deep*")) == []
