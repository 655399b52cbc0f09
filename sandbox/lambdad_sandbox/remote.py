"""System calls that a stopped process makes for whoever stopped it.

What runs in it is one loop of machine code that is written into it each time: it takes call after
call from a list, notes each result, stops at the first failure and at the end. Nothing that the
process itself holds is run or believed. So a process may have rights here that the program whose
memory it has must never get. Which calls make sense is not known here. See ptrace(2).
"""

from __future__ import annotations

import errno
import os
import platform
import signal
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Union

from lambdad_sandbox import syscalls
from lambdad_sandbox.errors import StepFailed

_PAGE_BYTES = 4_096
_DATA_PAGES = 8
_ENTRY = struct.Struct("<7Qq")
ROOM_BYTES = _DATA_PAGES * _PAGE_BYTES
_ERRNO_MAX = 4_095
_NOT_MADE = -errno.ECANCELED  # The result of a call that the loop has not come to.

# rbx is the list of calls, r12 their number. The numbers are those of the Intel manual, volume 2.
_CODE = bytes.fromhex(
    "488b03"  # next: mov rax, [rbx]
    "488b7b08"  # mov rdi, [rbx+8]
    "488b7310"  # mov rsi, [rbx+16]
    "488b5318"  # mov rdx, [rbx+24]
    "4c8b5320"  # mov r10, [rbx+32]
    "4c8b4328"  # mov r8, [rbx+40]
    "4c8b4b30"  # mov r9, [rbx+48]
    "0f05"  # syscall
    "48894338"  # mov [rbx+56], rax
    "4883c340"  # add rbx, 64
    "483d01f0ffff"  # cmp rax, -4095
    "7305"  # jae end
    "49ffcc"  # dec r12
    "75ce"  # jnz next
    "cc"  # end: int3
)

# struct user_regs_struct, arch/x86/include/asm/user_64.h: 27 words, of which these are used here.
_WORDS = 27
_R12, _RBX, _RAX, _ORIG_RAX, _RIP = 3, 5, 10, 15, 16
_NO_CALL = 2**64 - 1
_RESTARTS = {-512, -513, -514}  # ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND; linux/errno.h
_RESTART_BLOCK = -516
_EINTR = -4
_CALL_BYTES = 2
# What the kernel sends a process for what it does itself; here only when its room is not as it was.
_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGSYS}


class Pointing(NamedTuple):
    """A structure in memory that itself points to something: what stands before and behind that."""

    before: bytes
    to: bytes
    behind: bytes = b""


Argument = Union[int, bytes, Pointing]


def supported() -> bool:
    """Whether this is the machine that the loop is written for."""
    return platform.machine() == "x86_64" and struct.calcsize("P") == 8


class Call(NamedTuple):
    """One system call.

    Attributes:
        what: what it does, in words.
        number: its number.
        arguments: numbers, or what a pointer is to point to; it is given room.
        expected: its result, where only one will do.
    """

    what: str
    number: int
    arguments: tuple[Argument, ...]
    expected: int | None = None


class Room:
    """A place in memory for the loop and its list; whoever is forked has it at the same address."""

    def __init__(self) -> None:
        read, write, execute = 1, 2, 4
        self.code = syscalls.mmap_anonymous(_PAGE_BYTES, read | execute)
        self.data = syscalls.mmap_anonymous(ROOM_BYTES, read | write)

    def mappings(self) -> tuple[tuple[int, str], ...]:
        """What /proc/PID/maps has to say of it: address and permissions."""
        return (self.code, "r-xp"), (self.data, "rw-p")


def laid_out(calls: Sequence[Call], address: int) -> bytes:
    """The list as the loop reads it from ``address``, and behind it what its pointers point to."""
    entries, pointed = [], bytearray()
    behind = address + len(calls) * _ENTRY.size

    def place(argument: Argument) -> int:
        if isinstance(argument, int):
            return argument % 2**64
        if isinstance(argument, Pointing):
            to = place(argument.to).to_bytes(8, "little")
            argument = argument.before + to + argument.behind
        at = behind + len(pointed)
        pointed.extend(argument + bytes(-len(argument) % 8))
        return at

    for call in calls:
        words = [place(argument) for argument in call.arguments]
        entries.append(_ENTRY.pack(call.number, *words, *[0] * (6 - len(words)), _NOT_MADE))
    return b"".join(entries) + bytes(pointed)


def in_portions(calls: Sequence[Call]) -> Iterator[Sequence[Call]]:
    """As many at once as there is room for.

    Raises:
        ValueError: there is none for one of them.
    """
    first, used = 0, 0
    for number, call in enumerate(calls):
        size = _ENTRY.size + sum(map(_pointed_bytes, call.arguments))
        if size > ROOM_BYTES:
            raise ValueError(f"cannot {call.what}: it needs {size} bytes")
        if used + size > ROOM_BYTES:
            yield calls[first:number]
            first, used = number, 0
        used += size
    yield calls[first:]


def _pointed_bytes(argument: Argument) -> int:
    """How much of the room it takes beside its entry."""
    if isinstance(argument, int):
        return 0
    if isinstance(argument, Pointing):
        size = len(argument.before) + 8 + len(argument.behind) + _pointed_bytes(argument.to)
    else:
        size = len(argument)
    return size + -size % 8


class Stopped:
    """A process that is stopped, and ours to trace.

    Args:
        pid: the process, seen from here.
        room: where its loop is to be.
    """

    def __init__(self, pid: int, room: Room) -> None:
        self.pid, self._room = pid, room

    @classmethod
    def seize(cls, pid: int, room: Room) -> Stopped:
        """Stop a process that runs.

        Raises:
            OSError: it is gone, or not ours to stop.
        """
        options = (
            syscalls.PTRACE_O_EXITKILL | syscalls.PTRACE_O_TRACEFORK | syscalls.PTRACE_O_TRACECLONE
        )
        syscalls.ptrace(syscalls.PTRACE_SEIZE, pid, 0, options)
        syscalls.ptrace(syscalls.PTRACE_INTERRUPT, pid)
        wait_stopped(pid)
        return cls(pid, room)

    def run(self, calls: Sequence[Call]) -> list[int]:
        """Make these calls, one after the other; their results.

        Raises:
            StepFailed: one failed; those behind it were not made.
            OSError: the process is gone, or has no room for them any more.
        """
        results: list[int] = []
        for portion in in_portions(calls):
            results += self._run(portion)[0]
        return results

    def fork(self, calls: Sequence[Call]) -> Stopped:
        """Make these calls, one of which forks: what it makes, stopped before it has run.

        Raises:
            StepFailed, OSError: as ``run``.
        """
        _, forked = self._run(calls)
        assert forked is not None
        wait_stopped(forked)
        return Stopped(forked, self._room)

    def registers(self) -> dict[int, bytes]:
        """All of them, by kind; a call that was interrupted is about to be made again.

        Raises:
            OSError: EINVAL, it runs 32-bit code, of which clones cannot be made.
        """
        general = _restarted(syscalls.ptrace_registers(self.pid, syscalls.NT_PRSTATUS))
        try:
            kind = syscalls.NT_X86_XSTATE
            extended = syscalls.ptrace_registers(self.pid, kind)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise
            kind = syscalls.NT_PRFPREG  # A processor that has no others beside these.
            extended = syscalls.ptrace_registers(self.pid, kind)
        return {syscalls.NT_PRSTATUS: general, kind: extended}

    def set_registers(self, registers: dict[int, bytes]) -> None:
        for kind, content in registers.items():
            syscalls.ptrace_set_registers(self.pid, kind, content)

    def write(self, address: int, content: bytes) -> None:
        """Write into its memory, whatever protects it.

        Raises:
            OSError: there is none.
        """
        memory = os.open(f"/proc/{self.pid}/mem", os.O_WRONLY | os.O_CLOEXEC)
        try:
            written = os.pwrite(memory, content, address)
        finally:
            os.close(memory)
        if written != len(content):
            raise _no_room()

    def let_go(self) -> None:
        """Let it run on, with the registers that it has."""
        syscalls.ptrace(syscalls.PTRACE_DETACH, self.pid)

    def _run(self, calls: Sequence[Call]) -> tuple[list[int], int | None]:
        self.write(self._room.code, _CODE)
        self.write(self._room.data, laid_out(calls, self._room.data))
        before = syscalls.ptrace_registers(self.pid, syscalls.NT_PRSTATUS)
        words = list(struct.unpack(f"<{_WORDS}Q", before))
        words[_RBX], words[_R12] = self._room.data, len(calls)
        words[_RIP], words[_ORIG_RAX] = self._room.code, _NO_CALL
        registers = struct.pack(f"<{_WORDS}Q", *words)
        syscalls.ptrace_set_registers(self.pid, syscalls.NT_PRSTATUS, registers)
        forked = self._until_the_end()
        results = self._results(len(calls))
        for call, result in zip(calls, results):
            if -_ERRNO_MAX <= result < 0:
                raise StepFailed(call.what, -result)
            if call.expected not in (None, result):
                raise StepFailed(call.what, errno.EBADF)
        return results, forked

    def _until_the_end(self) -> int | None:
        forked = None
        while True:
            syscalls.ptrace(syscalls.PTRACE_CONT, self.pid)
            status = wait_stopped(self.pid)
            if status >> 16 in syscalls.PTRACE_EVENTS:
                forked = syscalls.ptrace_event_message(self.pid)
            elif status >> 8 == signal.SIGTRAP:
                return forked
            elif os.WSTOPSIG(status) in _FAULTS:
                raise _no_room()
            # Else a signal that nobody in here is to see.

    def _results(self, count: int) -> list[int]:
        memory = os.open(f"/proc/{self.pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            entries = os.pread(memory, count * _ENTRY.size, self._room.data)
        finally:
            os.close(memory)
        if len(entries) != count * _ENTRY.size:
            raise _no_room()
        return [fields[-1] for fields in _ENTRY.iter_unpack(entries)]


def wait_stopped(pid: int) -> int:
    """Wait until a tracee stops; its status as wait(2) gives it.

    Raises:
        ProcessLookupError: it has ended.
    """
    _, status = os.waitpid(pid, syscalls.WALL)
    if not os.WIFSTOPPED(status):
        raise ProcessLookupError(errno.ESRCH, "it has ended")
    return status


def _no_room() -> OSError:
    return OSError(errno.EFAULT, "its room for calls is not as it was made")


def _restarted(registers: bytes) -> bytes:
    """As the kernel would leave them, had it let a process go on that it stopped in a call."""
    if len(registers) != _WORDS * 8:
        raise OSError(errno.EINVAL, "it runs 32-bit code")
    words = list(struct.unpack(f"<{_WORDS}Q", registers))
    result = words[_RAX] - 2**64 if words[_RAX] >= 2**63 else words[_RAX]
    if words[_ORIG_RAX] != _NO_CALL:
        if result in _RESTARTS:
            words[_RAX] = words[_ORIG_RAX]
            words[_RIP] -= _CALL_BYTES
        elif result == _RESTART_BLOCK:
            words[_RAX] = _EINTR % 2**64
    words[_ORIG_RAX] = _NO_CALL
    return struct.pack(f"<{_WORDS}Q", *words)
