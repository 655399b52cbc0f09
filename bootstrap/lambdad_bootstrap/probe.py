"""Run inside a throw-away environment at start: tries what must fail, and prints what did not.

One line for each attempt that succeeded: the promise that it breaks, a tab, what was done. No
line means that all is well; the last line is always ``done``. It is no test suite: it shows that
on this host, today, each mechanism is there. Standard library only, Python 3.9 and later.
"""

from __future__ import annotations

import ctypes
import os
import socket
import stat
import sys
from collections.abc import Callable
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWUSER, _CLONE_NEWNS = 0x10000000, 0x20000
_PTRACE_ATTACH = 16

# The promise, the deed, and how to try it.
_Attempt = tuple[str, str, Callable[..., Any], tuple[Any, ...]]


def _call(name: str, *arguments: object) -> None:
    """A libc function that says -1 when it is refused."""
    if getattr(_libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)


def _read(path: str) -> None:
    with open(path, "rb") as file:
        if not file.read(1):  # What is masked is there, and empty.
            raise OSError


def _write(path: str) -> None:
    with open(path, "r+b"):
        pass


def _make_device() -> None:
    os.mknod("/tmp/device", stat.S_IFCHR | 0o666, os.makedev(1, 1))


def _see_processes() -> None:
    """Only PID 1 and this one are to be seen."""
    if sum(name.isdigit() for name in os.listdir("/proc")) <= 2:
        raise OSError


def _connect(port: str) -> None:
    socket.create_connection(("127.0.0.1", int(port)), timeout=1).close()


def _have_capabilities() -> None:
    with open("/proc/self/status", encoding="ascii") as status:
        sets = [line.split()[1] for line in status if line.startswith("Cap")]
    if not any(int(one, 16) for one in sets):
        raise OSError


def _attempts(canary_file: str, canary_port: str) -> list[_Attempt]:
    """All that must fail."""
    attempts: list[_Attempt] = [
        ("FS-1", "read a file of the host", _read, (canary_file,)),
        ("FS-3", "write to its own code", os.mkdir, ("/var/task/probe",)),
        ("FS-3", "write to /var/runtime", os.mkdir, ("/var/runtime/probe",)),
        ("FS-6", "make a device", _make_device, ()),
        ("FS-7", "mount", _call, ("mount", b"none", b"/mnt", b"tmpfs", 0, None)),
        ("FS-7", "change the root", os.chroot, ("/tmp",)),
        ("FS-8", "change a knob of the kernel", _write, ("/proc/sys/kernel/core_pattern",)),
        ("FS-8", "read the memory of the kernel", _read, ("/proc/kcore",)),
        ("PID-1", "see processes of the host", _see_processes, ()),
        ("PID-2", "trace PID 1", _call, ("ptrace", _PTRACE_ATTACH, 1, None, None)),
        ("PID-2", "read the variables of PID 1", _read, ("/proc/1/environ",)),
        ("PRV-1", "have a capability", _have_capabilities, ()),
        ("PRV-1", "become root", os.setuid, (0,)),
        ("SYS-1", "use keyrings", _call, ("syscall", _keyctl(), 0, -3, 1)),
        ("SYS-2", "make a user namespace", _call, ("unshare", _CLONE_NEWUSER)),
        ("SYS-2", "make a mount namespace", _call, ("unshare", _CLONE_NEWNS)),
        ("NET-5", "make a raw socket", socket.socket, (socket.AF_INET, socket.SOCK_RAW, 1)),
    ]
    if canary_port:
        attempts.append(("NET-1", "connect to the host", _connect, (canary_port,)))
    return attempts


def _keyctl() -> int:
    return {"x86_64": 250, "aarch64": 219}[os.uname().machine]


def main(canary_file: str, canary_port: str) -> None:
    """Try everything; a file and a port of the host serve as canaries."""
    for promise, deed, attempt, arguments in _attempts(canary_file, canary_port):
        try:
            attempt(*arguments)
        except (OSError, ValueError):
            continue
        print(promise, deed, sep="\t")
    print("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
