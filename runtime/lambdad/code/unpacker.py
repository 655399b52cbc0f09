"""The unpacker: a process of its own that gives up everything, then reads one zip.

It is spawned by ``lambdad.code.unpacking`` with the zip as standard input, a pipe for the verdict
as standard output and the empty directory to fill as descriptor 3; nothing else of the daemon's is
in it. Whoever finds a hole in zlib or in our own parser holds a process that can write into that
directory and speak one sentence. The steps are those of environments where these have them, in the
order of docs/decisions/0002.
"""
# ruff: noqa: ARG002  each step applies to what is at hand, needed or not

from __future__ import annotations

import codecs
import os
from dataclasses import dataclass
from typing import Final, NoReturn

from lambdad.code import archive, verdict
from lambdad.code.archive import ArchiveTooLarge, BadArchive
from lambdad.model import limits
from lambdad_sandbox import enter, syscalls
from lambdad_sandbox.errors import StepFailed
from lambdad_sandbox.seccomp.arch import this_machine
from lambdad_sandbox.seccomp.compile import compile_policy
from lambdad_sandbox.steps import (
    CloseDescriptors,
    Descriptors,
    DieWithParent,
    DropBoundingSet,
    DropCapabilities,
    NewKeyring,
    NewMountNamespace,
    NewUserNamespace,
    NoNewPrivileges,
    PivotRoot,
    Rlimits,
    Step,
)

ZIP, SAYS, TREE = 0, 1, 3
_STANDARD_ERROR = 2
_CAP_SYS_ADMIN = 21

# All that inflating and writing down takes, by trial. What acts on other processes is missing with
# the rest (kill, prlimit64, sched_setaffinity, fcntl, which can send signals): the unpacker has the
# daemon's user id, so the kernel would not refuse them.
POLICY: Final = {
    "allow": [
        {
            "reason": "The interpreter's own memory, locks, signal handlers and end.",
            "names": [
                "brk", "mmap", "munmap", "mremap", "mprotect", "madvise", "futex", "getrandom",
                "rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "exit",
                "exit_group", "restart_syscall",
            ],
        },
        {
            "reason": "Reading the zip, speaking the verdict, making files below the root.",
            "names": [
                "read", "write", "lseek", "close", "fstat", "newfstatat", "open", "openat",
                "mkdirat", "symlinkat", "fchmod",
            ],
        },
    ],
    "refuse": [],
    "ask": [],
}  # fmt: skip


@dataclass(frozen=True)
class Silence(Step):
    """No standard error from now on: what a zip makes this process say is for no log."""

    def apply(self, at_hand: Descriptors) -> None:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, _STANDARD_ERROR)
        os.close(null)

    def describe(self) -> str:
        return "close the standard error"


@dataclass(frozen=True)
class Enter(Step):
    """Go where a descriptor leads; a mount namespace made afterwards takes the place along."""

    descriptor: str

    def apply(self, at_hand: Descriptors) -> None:
        directory = at_hand.pop(self.descriptor)
        os.fchdir(directory)
        os.close(directory)

    def describe(self) -> str:
        return f"enter {self.descriptor}"


@dataclass(frozen=True)
class NewNetworkIpcUts(Step):
    """A network without interfaces, System V objects and a host name of one's own."""

    def apply(self, at_hand: Descriptors) -> None:
        syscalls.unshare(syscalls.CLONE_NEWNET | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS)

    def describe(self) -> str:
        return "make network, ipc and uts namespaces"


@dataclass(frozen=True)
class MountHere(Step):
    """Make the working directory a mount of its own, from which nothing can be executed."""

    def apply(self, at_hand: Descriptors) -> None:
        tree = syscalls.open_tree(".")
        syscalls.mount_setattr(
            tree,
            syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOEXEC,
        )
        syscalls.move_mount(tree, ".")
        os.fchdir(tree)
        os.close(tree)

    def describe(self) -> str:
        return "mount the working directory on itself"


@dataclass(frozen=True)
class OnlyUnpacking(Step):
    """The system call filter: what is not in ``POLICY`` is not there."""

    def apply(self, at_hand: Descriptors) -> None:
        syscalls.seccomp(syscalls.SeccompProgram(compile_policy(POLICY, this_machine())))

    def describe(self) -> str:
        return "install the system call filter of the unpacker"


def plan(*, privileged: bool) -> tuple[Step, ...]:
    """The steps from a bare process to one that can do nothing but unpack. Pure.

    Args:
        privileged: whether the process may make namespaces as it is. One that may not makes a user
            namespace first; where that is refused, unpacking is.
    """
    return (
        Silence(),
        Enter("tree"),
        *(() if privileged else (NewUserNamespace(0, 0),)),
        NewMountNamespace(),
        NewNetworkIpcUts(),
        MountHere(),
        PivotRoot("."),
        Rlimits(
            (
                ("AS", limits.unpack_memory_bytes_max, limits.unpack_memory_bytes_max),
                # One second later it would be SIGKILL, which does not say why.
                ("CPU", limits.unpack_cpu_s_max, limits.unpack_cpu_s_max + 1),
                ("FSIZE", limits.unzipped_bytes_max, limits.unzipped_bytes_max),
                # A path of 64 components is reached through as many descriptors.
                ("NOFILE", 128, 128),
                ("NPROC", 0, 0),
                ("CORE", 0, 0),
            )
        ),
        CloseDescriptors(()),
        DropBoundingSet(),
        DropCapabilities(),
        NewKeyring(),
        DieWithParent(),
        NoNewPrivileges(),
        OnlyUnpacking(),
    )


def confine() -> None:
    """Give up everything but the zip, the pipe and the directory, which becomes ``/``.

    Raises:
        StepFailed: this host does not allow it; nothing has been read.
    """
    # In an empty root nothing can be imported any more.
    codecs.lookup("cp437")
    enter.run(plan(privileged=_is_privileged()), {"tree": TREE})


def main() -> NoReturn:
    """Unpack and say how it went; what is not foreseen ends the process without a word."""
    try:
        confine()
    except StepFailed as failed:
        _end(verdict.refusal(failed))
    os.write(SAYS, verdict.CONFINED)
    try:
        with open(ZIP, "rb", closefd=False) as source:
            archive.unpack(source.read(), "/")
    except (BadArchive, ArchiveTooLarge, OSError) as error:
        _end(verdict.refusal(error))
    _end(verdict.UNPACKED)


def _end(said: bytes) -> NoReturn:
    os.write(SAYS, said)
    os._exit(0)


def _is_privileged() -> bool:
    """Whether this is root with CAP_SYS_ADMIN, see capabilities(7) and proc_pid_status(5)."""
    with open("/proc/self/status", "rb") as status:  # noqa: PTH123  pathlib takes long to load
        effective = next(line for line in status if line.startswith(b"CapEff:"))
    return os.geteuid() == 0 and bool(int(effective.split()[1], 16) >> _CAP_SYS_ADMIN & 1)
