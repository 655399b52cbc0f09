"""What a process that is born with rights has to do to be a guest like any other: as system calls.

The steps of a plan do the same to a process that runs our code; here it is spelled out for one
that must not run any, see ``remote``. Pure: from what is wanted to a list of calls, in the order
that is security. The numbers of calls are those of x86-64.
"""

from __future__ import annotations

import os
import signal
import struct
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from lambdad_sandbox import syscalls
from lambdad_sandbox.likeness import Likeness, OpenFile
from lambdad_sandbox.messages import LOG_FD
from lambdad_sandbox.remote import Call, Pointing
from lambdad_sandbox.steps import guest_filter

_NUMBERS = {
    "write": 1, "close": 3, "lseek": 8, "chdir": 80, "umask": 95, "setsid": 112,
    "setgroups": 116, "setresuid": 117, "setresgid": 119, "capset": 126, "prctl": 157,
    "keyctl": 250, "openat": 257, "set_robust_list": 273, "dup3": 292, "setns": 308,
    "seccomp": 317, "rseq": 334, "clone3": 435, "close_range": 436,
}  # fmt: skip
_NAMESPACES = (
    syscalls.CLONE_NEWNS
    | syscalls.CLONE_NEWIPC
    | syscalls.CLONE_NEWUTS
    | syscalls.CLONE_NEWNET
    | syscalls.CLONE_NEWCGROUP
)
_CLONE_ARGS_BYTES = 88
_KEYCTL_JOIN_SESSION_KEYRING, _SECCOMP_SET_MODE_FILTER = 1, 1
_CAPABILITY_VERSION_3 = 0x20080522
_RSEQ_UNREGISTER = 1
_DESCRIPTORS = 1_024  # RLIMIT_NOFILE of guests

# The original's pid in its namespace. Clones have the next that is free there, which is another:
# by that OpenSSL and others know that they are to draw new random numbers.
ORIGINAL_PID = 9


class Identity(NamedTuple):
    """Who a guest is: as in ``SandboxSpec``; and how many capabilities this kernel has."""

    root: bool
    uid: int
    gid: int
    capabilities: int


class Registered(NamedTuple):
    """What the kernel is told of a thread's memory by libc, and does not pass on.

    Attributes:
        thread_id: where libc remembers the thread's id; None if that cannot be told.
        rseq: address, size and signature, see ``syscalls.ptrace_rseq``.
        robust: head and size, see get_robust_list(2).
    """

    thread_id: int | None

    rseq: tuple[int, int, int] | None
    robust: tuple[int, int]


def birth(
    at_hand: Mapping[str, int], thread_id: int | None, *, shares_memory: bool
) -> tuple[Call, ...]:
    """What a twin does to have a child in the pid namespace of ``init``, and its parent's child.

    Args:
        at_hand: descriptors by their names, as ``ForkInto`` has them.
        thread_id: as ``Registered`` has it: the kernel writes the new one there.
        shares_memory: whether the child is the original, and no clone of it.
    """
    flags, cgroup = syscalls.CLONE_PARENT, at_hand.get("cgroup", 0)
    if cgroup:
        flags |= syscalls.CLONE_INTO_CGROUP
    if thread_id is not None:
        flags |= syscalls.CLONE_CHILD_SETTID | syscalls.CLONE_CHILD_CLEARTID
    if shares_memory:
        flags |= syscalls.CLONE_VM | syscalls.CLONE_SIGHAND
    before = struct.pack("<8Q", flags, 0, thread_id or 0, *[0] * 5)
    arguments: bytes | Pointing = before + struct.pack("<3Q", 0, 0, cgroup)
    if shares_memory:  # It points to the pid that is wanted, of which there is one.
        wanted = struct.pack("<i", ORIGINAL_PID)
        arguments = Pointing(before, wanted, struct.pack("<2Q", 1, cgroup))
    return (
        _call("join the pid namespace", "setns", at_hand["init"], syscalls.CLONE_NEWPID),
        _call("clone", "clone3", arguments, _CLONE_ARGS_BYTES),
    )


def calls(
    identity: Identity,
    at_hand: Mapping[str, int],
    like: Likeness,
    *,
    dead: int,
    registered: Registered,
) -> tuple[Call, ...]:
    """What the child does to be a guest in the sandbox of ``init``.

    Args:
        identity: who it is to be.
        at_hand: descriptors by their names, as ``ForkInto`` has them.
        like: what it is to find open, and where it is to stand.
        dead: a socket that nobody is at the other end of.
        registered: what libc has told the kernel of the thread.
    """
    tasks = [at_hand[name] for name in at_hand if name.startswith("tasks")]
    return (
        *(_call("join the cgroups of the environment", "write", fd, b"0", 1) for fd in tasks),
        _call("join the namespaces of the sandbox", "setns", at_hand["init"], _NAMESPACES),
        *(() if identity.root else _user_namespace(at_hand["init"], identity.capabilities)),
        _call("begin a session", "setsid"),
        *_descriptors(at_hand, like, dead),
        *_without_rights(identity),
        _call("set the umask", "umask", like.umask),
        _call("go to the working directory", "chdir", _text(like.directory)),
        *_registrations(registered),
        _call("install the system call filter", "seccomp", _SECCOMP_SET_MODE_FILTER, 0, _filter()),
        *_files(like, with_log="log" in at_hand),
    )


def rseq(registered: tuple[int, int, int], *, register: bool) -> Call:
    """Tell the kernel of restartable sequences, or take that back; see rseq(2)."""
    address, size, signature = registered
    flags = 0 if register else _RSEQ_UNREGISTER
    return _call("register restartable sequences", "rseq", address, size, flags, signature)


def _user_namespace(init: int, capabilities: int) -> Iterator[Call]:
    """Into that of init, which fills the bounding set again."""
    yield _call("join the user namespace", "setns", init, syscalls.CLONE_NEWUSER)
    for capability in range(capabilities):
        yield _call("empty the bounding set", "prctl", syscalls.PR_CAPBSET_DROP, capability)
    locked = (syscalls.PR_SET_SECUREBITS, syscalls.SECBITS_LOCKED, 0, 0, 0)
    yield _call("lock the secure bits", "prctl", *locked)


def _without_rights(identity: Identity) -> Iterator[Call]:
    uid, gid = identity.uid, identity.gid
    yield _call("join a new session keyring", "keyctl", _KEYCTL_JOIN_SESSION_KEYRING, 0)
    if identity.root:  # In a user namespace of one user the kernel wants groups kept.
        yield _call("leave all groups", "setgroups", 0, 0)
    yield _call("become the group", "setresgid", gid, gid, gid)
    yield _call("become the user", "setresuid", uid, uid, uid)
    none = struct.pack("<Ii", _CAPABILITY_VERSION_3, 0)
    clear = (syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    yield _call("drop ambient capabilities", "prctl", *clear)
    yield _call("drop all capabilities", "capset", none, bytes(24))
    yield _call("die with the template", "prctl", syscalls.PR_SET_PDEATHSIG, signal.SIGKILL)
    yield _call("be a process like others", "prctl", syscalls.PR_SET_DUMPABLE, 1)
    yield _call("set no_new_privs", "prctl", syscalls.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _descriptors(at_hand: Mapping[str, int], like: Likeness, dead: int) -> Iterator[Call]:
    """Each number leads to what is its own; every other is closed.

    What is needed is first put out of the way: its number may be one that is wanted.
    """
    taken = {*like.numbers, *at_hand.values(), dead, LOG_FD}
    free = (number for number in range(_DESCRIPTORS) if number not in taken)
    wanted: list[tuple[int, tuple[int, ...]]] = [
        (at_hand["stdout"], like.outputs),
        (dead, like.sockets),
    ]
    if "log" in at_hand:
        wanted.append((at_hand["log"], (LOG_FD,)))
    aside = [(next(free), numbers) for _, numbers in wanted]
    for (source, _), (number, _) in zip(wanted, aside):
        yield _call("put a descriptor aside", "dup3", source, number, os.O_CLOEXEC)
    for source, numbers in aside:
        for number in numbers:
            flags = os.O_CLOEXEC if numbers is like.sockets or number == LOG_FD else 0
            yield _call("place a descriptor", "dup3", source, number, flags)
    first = 1
    for number in sorted({0, *like.outputs, *like.sockets, *_log(at_hand)}):
        if first < number:
            yield _call("close descriptors", "close_range", first, number - 1, 0)
        first = number + 1
    yield _call("close descriptors", "close_range", first, 2**32 - 1, 0)


def _log(at_hand: Mapping[str, int]) -> tuple[int, ...]:
    return (LOG_FD,) if "log" in at_hand else ()


def _files(like: Likeness, *, with_log: bool) -> Iterator[Call]:
    """Open files again, as the guest: each at its own number and where it was read or written."""
    present = {0, *like.outputs, *like.sockets} | ({LOG_FD} if with_log else set())
    for file in sorted(like.files):
        number = next(number for number in range(_DESCRIPTORS) if number not in present)
        what = f"open {file.path} again"
        here = _open(file)
        yield Call(what, _NUMBERS["openat"], here, expected=number)
        if number != file.number:
            flags = file.flags & os.O_CLOEXEC
            yield _call(what, "dup3", number, file.number, flags)
            yield _call(what, "close", number)
        if file.offset:
            yield _call(what, "lseek", file.number, file.offset, os.SEEK_SET)
        present.add(file.number)


def _open(file: OpenFile) -> tuple[int, bytes, int, int]:
    return syscalls.AT_FDCWD, _text(file.path), file.flags, 0


def _registrations(registered: Registered) -> Iterator[Call]:
    if registered.rseq is not None:
        yield rseq(registered.rseq, register=True)
    if registered.robust[0]:
        yield _call("register robust futexes", "set_robust_list", *registered.robust)


def _filter() -> Pointing:
    instructions = guest_filter().instructions
    return Pointing(struct.pack("<H6x", len(instructions) // 8), instructions)


def _text(path: str) -> bytes:
    return os.fsencode(path) + b"\0"


def _call(what: str, name: str, *arguments: int | bytes | Pointing) -> Call:
    return Call(what, _NUMBERS[name], arguments)
