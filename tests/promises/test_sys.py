"""SYS: system calls that functions do not need are refused, by whatever gate they come."""

from __future__ import annotations

import errno
import signal

import pytest
from promises.deeds import call, refused, x86_64

# A bit that the kernel does not look at where the argument is an int.
HIGH = 1 << 32

NEWNS, NEWCGROUP, NEWUTS, NEWIPC = 0x20000, 0x2000000, 0x4000000, 0x8000000
NEWUSER, NEWPID, NEWNET, NEWTIME = 0x10000000, 0x20000000, 0x40000000, 0x80
PARENT = 0x8000
NAMESPACES = (NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET)


# --- SYS-1: dangerous system calls are refused ---


@pytest.mark.parametrize(
    "arguments",
    [
        ("sethostname", "mine", 4),
        ("setdomainname", "mine", 4),
        ("clock_settime", 0, 16 * "\0"),
        ("settimeofday", 16 * "\0", None),
        ("swapon", "/tmp/swap", 0),
        ("swapoff", "/tmp/swap"),
        ("reboot", 0),
        ("acct", "/tmp/acct"),
        ("iopl", 3),
        ("ioperm", 0x80, 1, 1),
        ("personality", 0x40000),
        ("personality", 0x40000 + HIGH),
        ("quotactl", 0, None, 0, None),
        ("klogctl", 3, None, 0),
        ("vhangup",),
    ],
    ids=lambda call: " ".join(map(str, call[:2])),
)
def test_sys_1_a_call_that_would_change_the_machine_is_refused(inside, arguments):
    refused(inside, call, *arguments)


@x86_64
@pytest.mark.parametrize(
    ("name", "number"),
    {
        "modify_ldt": 154,
        "init_module": 175,
        "delete_module": 176,
        "io_setup": 206,
        "lookup_dcookie": 212,
        "kexec_load": 246,
        "migrate_pages": 256,
        "perf_event_open": 298,
        "finit_module": 313,
        "kexec_file_load": 320,
        "bpf": 321,
        "userfaultfd": 323,
        "io_uring_setup": 425,
        "io_uring_enter": 426,
        "io_uring_register": 427,
        "quotactl_fd": 443,
        "memfd_secret": 447,
        "lsm_set_self_attr": 460,
        "one that there is not yet": 999,
    }.items(),
)
def test_sys_1_a_system_call_that_functions_do_not_need_is_refused(inside, name, number):
    refused(inside, call, "syscall", number, 0, 0, 0, 0, 0)


def run_code(code, argument):
    """Run machine code in a child; how it ended: what it returned, or the signal, negative."""
    import ctypes
    import mmap
    import os

    child = os.fork()
    if child == 0:
        page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        page.write(bytes.fromhex(code))
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        run = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(address)
        os._exit(0 if run(argument) > 0 else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


# The number of the call comes as the first argument. The first is the 64-bit gate, to see that
# this is how to run code; its getpid is 39, that of the 32-bit gate 20.
BY_SYSCALL = "89f8 0f05 c3"  # mov eax, edi; syscall; ret
BY_INT_80 = "53 89f8 31db cd80 5b c3"  # push rbx; mov eax, edi; xor ebx, ebx; int 0x80; pop; ret
X32 = 0x40000000


@x86_64
@pytest.mark.parametrize(
    ("code", "number"), [(BY_INT_80, 20), (BY_SYSCALL, X32 + 39)], ids=["int 0x80", "x32"]
)
def test_sys_1_the_gates_of_other_architectures_end_who_uses_them(inside, code, number):
    assert inside(run_code, BY_SYSCALL, 39) == 0
    assert inside(run_code, code, number) in {-signal.SIGSYS, -signal.SIGSEGV}


@x86_64
def test_sys_1_the_filter_holds_in_programs_too(inside):
    def in_a_program():
        import subprocess
        import sys

        code = "import ctypes; lib = ctypes.CDLL(None, use_errno=True);"
        code += "print(lib.syscall(321, 0, 0, 0), ctypes.get_errno())"
        command = [sys.executable, "-c", code]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert inside(in_a_program) == f"-1 {errno.EPERM}\n"


# --- SYS-2: no new namespaces, and no joining of others ---


@pytest.mark.parametrize("flag", [*NAMESPACES, NEWTIME], ids=hex)
def test_sys_2_a_namespace_cannot_be_unshared(inside, flag):
    refused(inside, call, "unshare", flag)


@x86_64
@pytest.mark.parametrize("flag", [*NAMESPACES, NEWUSER | NEWNET | NEWNS], ids=hex)
@pytest.mark.parametrize("more", [0, HIGH], ids=["", "high"])
def test_sys_2_a_process_in_a_new_namespace_cannot_be_cloned(inside, flag, more):
    def clone(flags):
        import ctypes
        import os

        library = ctypes.CDLL(None, use_errno=True)
        pid = library.syscall(56, ctypes.c_ulong(flags | 17), None, None, None, None)
        if pid == 0:
            os._exit(0)
        if pid == -1:
            raise OSError(ctypes.get_errno(), "clone")
        os.waitpid(pid, 0)

    inside(clone, more)
    refused(inside, clone, flag | more)


@x86_64
def test_sys_1_a_child_of_ones_parent_cannot_be_cloned(inside):
    """The parent of a clone of a template is a process outside."""
    refused(inside, call, "syscall", 56, PARENT | 17, 0, 0, 0, 0)


@x86_64
def test_sys_2_clone3_is_not_there(inside):
    with pytest.raises(OSError, match=r".") as caught:
        inside(call, "syscall", 435, 88 * "\0", 88)
    assert caught.value.errno == errno.ENOSYS


@pytest.mark.parametrize("kind", ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user"])
@pytest.mark.parametrize("whose", ["self", "1"])
def test_sys_2_a_namespace_cannot_be_joined(inside, kind, whose):
    def join(path):
        import ctypes
        import os

        library = ctypes.CDLL(None, use_errno=True)
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if library.setns(descriptor, 0) == -1:
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(descriptor)

    refused(inside, join, f"/proc/{whose}/ns/{kind}")


def test_sys_2_the_namespaces_of_a_process_cannot_be_joined(inside):
    def join_process(pid):
        import ctypes
        import os

        library = ctypes.CDLL(None, use_errno=True)
        descriptor = os.pidfd_open(pid)
        try:
            if library.setns(descriptor, 0x7E020000) == -1:
                raise OSError(ctypes.get_errno(), "setns")
        finally:
            os.close(descriptor)

    refused(inside, join_process, 1)


# --- SYS-3: keyrings are not shared ---


@x86_64
@pytest.mark.parametrize(
    ("number", "arguments"),
    [
        (248, ("user", "name", "text", 4, -3)),
        (249, ("user", "name", None, -3)),
        (250, (0, -3, 1)),  # KEYCTL_GET_KEYRING_ID of the session's
        (250, (1, None)),  # KEYCTL_JOIN_SESSION_KEYRING
        (250, (11, -4, None, 0)),  # KEYCTL_READ of the user's
    ],
    ids=["add_key", "request_key", "find", "join", "read"],
)
def test_sys_3_keys_are_out_of_reach(inside, number, arguments):
    refused(inside, call, "syscall", number, *arguments)


# --- SYS-4: there is no terminal to type into ---


@pytest.mark.parametrize("request_number", [0x5412, 0x541C], ids=["TIOCSTI", "TIOCLINUX"])
@pytest.mark.parametrize("more", [0, HIGH], ids=["", "high"])
def test_sys_4_nothing_can_be_typed_for_others(inside, request_number, more):
    """Refused by the filter: a descriptor that is no terminal would answer ENOTTY."""
    for descriptor in range(3):
        refused(inside, call, "ioctl", descriptor, request_number + more, "\n")


def test_sys_4_there_is_no_terminal(inside):
    def terminals():
        import os

        found = [number for number in range(64) if os.isatty(number)]
        for name in ("tty", "console", "ptmx", "pts/0", "tty0", "tty1", "vcs"):
            try:
                found.append(os.open(f"/dev/{name}", os.O_RDWR | os.O_NOCTTY))
            except OSError:
                continue
        with open("/proc/self/stat") as file:
            number = file.read().rpartition(")")[2].split()[4]
        return [found, number]

    assert inside(terminals) == [[], "0"]
