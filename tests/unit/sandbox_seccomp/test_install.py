"""The filter in the kernel: a child installs it and tries what it should and should not."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import signal
import socket
import struct
import subprocess
import sys
import threading

import pytest

from lambdad_sandbox.seccomp import compile as seccomp_compile
from lambdad_sandbox.seccomp.arch import ARCHITECTURES

pytestmark = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the calls tried are those of x86_64"
)

NUMBERS = ARCHITECTURES["x86_64"].numbers
PR_SET_NO_NEW_PRIVS, SECCOMP_SET_MODE_FILTER = 38, 1
CLONE_NEWUSER = 0x10000000
libc = ctypes.CDLL(None, use_errno=True)


def install(program):
    instructions = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(instructions))
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert libc.syscall(NUMBERS["seccomp"], SECCOMP_SET_MODE_FILTER, 0, header) == 0


def confined(act):
    """Run ``act`` under the filter in a child; the exit status, or the negative signal."""
    program = seccomp_compile.load()
    pid = os.fork()
    if pid == 0:
        try:
            install(program)
            status = int(act() or 0)
        except BaseException:  # noqa: BLE001  nothing may return into the test in a child
            status = 99
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def error_of(name, *arguments):
    ctypes.set_errno(0)
    libc.syscall(NUMBERS[name], *arguments)
    return ctypes.get_errno()


@pytest.mark.parametrize(
    ("name", "arguments", "error"),
    [
        ("ptrace", (0, 0, 0, 0), errno.EPERM),
        ("mount", (b"none", b"/tmp", b"tmpfs", 0, 0), errno.EPERM),
        ("unshare", (CLONE_NEWUSER,), errno.EPERM),
        ("clone", (CLONE_NEWUSER | signal.SIGCHLD, 0, 0, 0, 0), errno.EPERM),
        ("clone3", (0, 0), errno.ENOSYS),
        ("keyctl", (0, 0), errno.EPERM),
        ("io_uring_setup", (1, 0), errno.EPERM),
        ("socket", (socket.AF_VSOCK, socket.SOCK_STREAM, 0), errno.EAFNOSUPPORT),
        ("socket", (socket.AF_INET, socket.SOCK_RAW, 1), errno.EPERM),
        ("personality", (0x0040000,), errno.EPERM),
    ],
)
def test_the_kernel_refuses(name, arguments, error):
    assert confined(lambda: error_of(name, *arguments)) == error


def test_an_x32_call_kills_the_process():
    assert confined(lambda: error_of("getpid") or libc.syscall(0x40000000 | 39)) == -signal.SIGSYS


def start_threads():
    done = []
    threads = [threading.Thread(target=done.append, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == [0, 1, 2, 3]


def start_processes():
    program = "import json, ssl, socket, asyncio; print(6 * 7)"
    output = subprocess.check_output([sys.executable, "-I", "-c", program])
    assert output == b"42\n"


def speak_over_sockets():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        accepted, _ = server.accept()
        with accepted:
            accepted.sendall(b"hello")
            assert client.recv(5) == b"hello"
    one, other = socket.socketpair()
    with one, other:
        one.send(b"x")
        assert other.recv(1) == b"x"
    socket.getaddrinfo("127.0.0.1", 80)
    assert socket.if_nameindex()


def use_files(directory):
    os.mkfifo(directory / "fifo")
    (directory / "file").write_text("x")
    (directory / "file").rename(directory / "renamed")
    assert len(list(directory.iterdir())) == 2
    assert os.getrandom(8)
    os.close(os.memfd_create("x"))
    os.close(os.pidfd_open(os.getpid()))


def test_threads_work():
    assert confined(start_threads) == 0


def test_subprocesses_work():
    assert confined(start_processes) == 0


def test_sockets_work():
    assert confined(speak_over_sockets) == 0


def test_files_and_pipes_work(tmp_path):
    assert confined(lambda: use_files(tmp_path)) == 0
