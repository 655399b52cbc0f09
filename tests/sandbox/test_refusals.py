"""What a function must not be able to do, tried by one that wants to."""

from __future__ import annotations

import errno
import platform

import pytest

# ruff: noqa: PTH123  what runs inside asks the kernel, not pathlib

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

REFUSED = {errno.EPERM, errno.EACCES, errno.ENOSYS}

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
NEWUSER, NEWPID, NEWNET = 0x10000000, 0x20000000, 0x40000000
PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206

LIBC_CALLS = [
    ("mount", "none", "/tmp", "tmpfs", 0, None),
    ("mount", "/usr", "/tmp", None, 4096, None),
    ("mount", None, "/var/task", None, 32, None),
    ("umount2", "/tmp", 2),
    ("chroot", "/tmp"),
    *(("unshare", flag) for flag in (NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET)),
    ("setns", 0, 0),
    ("ptrace", PTRACE_ATTACH, 1, None, None),
    ("ptrace", PTRACE_SEIZE, 1, None, None),
    ("process_vm_readv", 1, None, 0, None, 0, 0),
    ("setuid", 0),
    ("setgid", 0),
    ("setresuid", 0, 0, 0),
    ("setgroups", 1, "\0\0\0\0"),
    ("sethostname", "mine", 4),
    ("clock_settime", 0, 16 * "\0"),
    ("swapon", "/tmp/swap", 0),
    ("reboot", 0),
    ("acct", "/tmp/acct"),
    ("iopl", 3),
    ("personality", 0x40000),
    ("name_to_handle_at", -100, "/", None, None, 0),
    ("open_by_handle_at", -100, None, 0),
    ("fanotify_init", 0, 0),
    ("quotactl", 0, None, 0, None),
    ("klogctl", 3, None, 0),
]

# Those without a wrapper in every C library, by their numbers on x86-64.
SYSTEM_CALLS = {
    "pivot_root": 155,
    "init_module": 175,
    "delete_module": 176,
    "kexec_load": 246,
    "add_key": 248,
    "request_key": 249,
    "keyctl": 250,
    "perf_event_open": 298,
    "finit_module": 313,
    "kexec_file_load": 320,
    "bpf": 321,
    "userfaultfd": 323,
    "io_uring_setup": 425,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "clone3": 435,
    "mount_setattr": 442,
}

AF_PACKET, AF_ALG, AF_VSOCK, SOCK_STREAM, SOCK_RAW, ICMP = 17, 38, 40, 1, 3, 1


def call(name, *arguments):
    """Call the C library; text becomes bytes, and a failure an OSError."""
    import ctypes
    import os

    library = ctypes.CDLL(None, use_errno=True)
    encoded = [item.encode() if isinstance(item, str) else item for item in arguments]
    if getattr(library, name)(*encoded) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def make_device(path):
    import os
    import stat

    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 1))


def open_socket(family, kind, protocol):
    import socket

    socket.socket(family, kind, protocol).close()


def open_for(path, how):
    with open(path, how):
        pass


def knobs_that_open():
    """Files of /proc that can be opened for writing and belong to none of our processes."""
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


def signal_everybody(number):
    import os

    os.kill(1, number)
    return os.getpid()


@pytest.mark.parametrize("arguments", LIBC_CALLS, ids=lambda call: f"{call[0]} {call[1]}")
def test_a_call_that_would_change_the_machine_is_refused(inside, arguments):
    with pytest.raises(OSError, match=r".") as refused:
        inside(call, *arguments)
    assert refused.value.errno in REFUSED


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers are those of x86-64")
@pytest.mark.parametrize("number", SYSTEM_CALLS.values(), ids=SYSTEM_CALLS.keys())
def test_a_system_call_that_functions_do_not_need_is_refused(inside, number):
    with pytest.raises(OSError, match=r".") as refused:
        inside(call, "syscall", number, 0, 0, 0, 0, 0)
    assert refused.value.errno in REFUSED


@pytest.mark.parametrize("path", ["/tmp/memory", "/dev/memory"])
def test_a_device_cannot_be_made(inside, path):
    with pytest.raises(OSError, match=r".") as refused:
        inside(make_device, path)
    assert refused.value.errno in {*REFUSED, errno.EROFS}


@pytest.mark.parametrize(
    ("family", "kind", "protocol"),
    [(2, SOCK_RAW, ICMP), (AF_PACKET, SOCK_RAW, 3), (AF_ALG, 5, 0), (AF_VSOCK, SOCK_STREAM, 0)],
    ids=["raw", "packet", "alg", "vsock"],
)
def test_only_ordinary_sockets_can_be_had(inside, family, kind, protocol):
    with pytest.raises(OSError, match=r".") as refused:
        inside(open_socket, family, kind, protocol)
    assert refused.value.errno in {*REFUSED, errno.EAFNOSUPPORT}


@pytest.mark.parametrize("name", ["environ", "mem", "maps", "root", "cwd", "fd/0"])
def test_init_is_a_closed_book(inside, name):
    with pytest.raises(PermissionError):
        inside(open_for, f"/proc/1/{name}", "rb")


@pytest.mark.parametrize(
    "path",
    [
        "/proc/sys/kernel/hostname",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/sys/vm/drop_caches",
        "/proc/sys/net/ipv4/ip_forward",
        "/proc/sysrq-trigger",
    ],
)
def test_a_knob_of_the_kernel_cannot_be_turned(inside, path):
    with pytest.raises(OSError, match=r".") as refused:
        inside(open_for, path, "wb")
    assert refused.value.errno in {*REFUSED, errno.EROFS, errno.ENOENT}


def test_no_file_of_proc_but_ones_own_can_be_opened_for_writing(inside):
    assert inside(knobs_that_open) == []


@pytest.mark.parametrize("path", ["/proc/kcore", "/proc/kallsyms", "/proc/kmsg", "/proc/keys"])
def test_the_memory_of_the_kernel_is_masked(inside, path):
    def content(path):
        try:
            with open(path, "rb") as file:
                return len(file.read(100))
        except OSError:
            return 0

    assert inside(content, path) == 0


@pytest.mark.parametrize("number", [9, 19, 15, 6, 2], ids=["KILL", "STOP", "TERM", "ABRT", "INT"])
def test_a_signal_to_init_does_nothing(inside, number):
    before = inside(signal_everybody, 0)
    assert inside(signal_everybody, number) == before
    assert inside(signal_everybody, 0) == before


@pytest.mark.parametrize("name", ["NOFILE", "NPROC", "CORE", "MEMLOCK", "RTPRIO"])
def test_a_limit_cannot_be_raised(inside, name):
    def attempt(name):
        import resource

        kind = getattr(resource, f"RLIMIT_{name}")
        try:
            resource.setrlimit(kind, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        except ValueError:
            return "refused"
        return "raised"

    assert inside(attempt, name) == "refused"


@pytest.mark.parametrize("path", ["/var/task/lambda_function.py", "/var/runtime/bootstrap.py"])
def test_what_a_function_runs_from_cannot_be_changed(inside, path):
    with pytest.raises(OSError, match=r"Read-only|denied"):
        inside(open_for, path, "ab")


def test_a_set_uid_program_gives_no_rights(inside):
    def status_of_a_child():
        import subprocess

        said = subprocess.run(
            ["/bin/sh", "-c", "test -u /usr/bin/su && echo found; cat /proc/self/status"],
            capture_output=True,
            text=True,
            check=True,
        )
        return said.stdout

    status = inside(status_of_a_child)
    assert "NoNewPrivs:\t1" in status
    assert "CapEff:\t0000000000000000" in status
    assert "Seccomp:\t2" in status
