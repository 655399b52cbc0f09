"""What a clone needs beside memory and registers to be like its original, read from /proc; and
what of an original cannot be had twice.

Two clones are never to share what one of them can write to: memory, a socket, a file's offset. So
sockets are dead in a clone, files are opened anew, and what is left is a reason not to clone.
See proc(5). How a clone is made is not known here.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TextIO

from lambdad_sandbox.messages import LOG_FD

_DEVICES = {"/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"}
_OUTPUTS = (1, 2)
_OPEN_FLAGS = os.O_ACCMODE | os.O_APPEND | os.O_NONBLOCK | os.O_DIRECTORY | os.O_CLOEXEC
_HEAD = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ (\S+) \S+ *(.*)")
# Of the 1,024 that a guest may have; a few are needed while they are put in their places.
_DESCRIPTORS_MAX = 1_000


class CannotClone(Exception):
    """Why an original can not be had twice, in words for whoever wrote its code."""


class OpenFile(NamedTuple):
    """A file that is to be opened again: number, path inside, flags of open(2), and offset."""

    number: int
    path: str
    flags: int
    offset: int


class Likeness(NamedTuple):
    """What is not in memory.

    Attributes:
        outputs: descriptors of the log pipe; the standard streams among them.
        sockets: descriptors that are to be dead ones.
        files: those that are opened again.
        directory: where it stands.
        umask: of the files that it makes.
        anonymous_bytes: memory that clones share until they write to it.
    """

    outputs: tuple[int, ...]
    sockets: tuple[int, ...]
    files: tuple[OpenFile, ...]
    directory: str
    umask: int
    anonymous_bytes: int

    @property
    def numbers(self) -> frozenset[int]:
        """All descriptors but the log's."""
        files = (file.number for file in self.files)
        return frozenset((0, *self.outputs, *self.sockets, *files))


def of(pid: int, init: int, room: Sequence[tuple[int, str]]) -> Likeness:
    """Look at a stopped process.

    Args:
        pid: the process, seen from here.
        init: PID 1 of its namespace.
        room: mappings that have to be as they were made, by address and permissions.

    Raises:
        CannotClone: something of it cannot be had twice.
        OSError: it is gone.
    """
    threads = len(os.listdir(f"/proc/{pid}/task"))
    if threads > 1:
        raise CannotClone(f"it has {threads} threads, and only one would be left")
    if not is_alone(init):
        raise CannotClone("it has started other processes")
    if _read(f"/proc/{pid}/timers").strip():
        raise CannotClone("it has set timers, see timer_create(2)")
    with _open(f"/proc/{pid}/smaps") as smaps:
        anonymous_bytes = memory(smaps, room, device_of_tmp(init))
    umask = of_status(_read(f"/proc/{pid}/status"))
    outputs, sockets, files = descriptors(_open_descriptors(pid))
    directory = os.readlink(f"/proc/{pid}/cwd")
    return Likeness(outputs, sockets, files, directory, umask, anonymous_bytes)


def limits(pid: int) -> str:
    """Its resource limits, in the words of /proc/PID/limits."""
    return _read(f"/proc/{pid}/limits")


def is_alone(init: int) -> bool:
    """Whether there is nobody in a pid namespace but PID 1 and one more.

    Whose child somebody is says nothing, see CLONE_PARENT; and whoever shares memory with the
    process could write there what its clones do. It is looked for twice: the kernel lists by
    number, and of a chain of processes, each of which makes the next and ends, it may once miss
    the one with which numbers begin anew.
    """
    return all(_processes(init) <= 2 for _ in range(2))


def _processes(init: int) -> int:
    return sum(name.isdigit() for name in os.listdir(os.path.join(f"/proc/{init}/root", "proc")))


def of_status(status: str) -> int:
    """The umask, by /proc/PID/status.

    Raises:
        CannotClone: it has a system call filter more than a clone would have.
    """
    fields = dict(line.split(":", 1) for line in status.split("\n") if ":" in line)
    if int(fields.get("Seccomp_filters", "1")) > 1:
        raise CannotClone("it has installed a filter of system calls")
    return int(fields["Umask"], 8)


def device_of_tmp(init: int) -> str:
    """The device of a namespace's ``/tmp``, as /proc/PID/smaps names it."""
    device = os.stat(os.path.join(f"/proc/{init}/root", "tmp")).st_dev
    return f"{os.major(device):02x}:{os.minor(device):02x}"


def memory(smaps: Iterable[str], room: Sequence[tuple[int, str]], tmp: str) -> int:
    """Bytes of anonymous memory, by the lines of /proc/PID/smaps.

    Args:
        smaps: those lines.
        room: as ``of`` has it.
        tmp: as ``device_of_tmp`` has it.

    Raises:
        CannotClone: clones would share some that they can write to, or it is of a file of /tmp.
    """
    wanted, anonymous_kb, path = set(room), 0, ""
    for line in smaps:
        head = _HEAD.fullmatch(line.rstrip("\n"))
        if head is not None:
            path = head[5]
            if not path:  # The kernel may have made one of several.
                wanted -= {(at, how) for at, how in wanted if _holds(head, at) and how == head[3]}
            if path and (head[4] == tmp or path.endswith(" (deleted)")):
                raise CannotClone(f"it has mapped {path} into its memory")
            continue
        name, _, value = line.partition(":")
        if name == "Anonymous":
            anonymous_kb += int(value.split()[0])
        elif name == "VmFlags" and {"sh", "mw"} <= set(value.split()):
            raise CannotClone(f"it has memory to share with other processes ({path or 'no name'})")
    if wanted:
        raise CannotClone("it has changed mappings that are not its own")
    return anonymous_kb * 1024


def _holds(head: re.Match[str], address: int) -> bool:
    return int(head[1], 16) <= address < int(head[2], 16)


def descriptors(
    found: Iterable[tuple[int, str, int, str]],
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[OpenFile, ...]]:
    """Outputs, sockets and files, from each number, what it leads to, its mode, and its fdinfo.

    Raises:
        CannotClone: one leads to what cannot be opened again, or there are too many.
    """
    found = tuple(found)
    if len(found) > _DESCRIPTORS_MAX:
        raise CannotClone(f"it has {len(found)} descriptors open")
    targets = {number: target for number, target, _, _ in found}
    pipes = {targets.get(number) for number in _OUTPUTS}
    outputs, sockets, files = [], [], []
    for number, target, mode, info in found:
        if number == LOG_FD or (number == 0 and target == os.devnull):
            continue
        if target in pipes and target.startswith("pipe:"):
            outputs.append(number)
        elif target.startswith("socket:"):
            sockets.append(number)
        elif target in _DEVICES or _can_be_reopened(target, mode):
            fields = dict(line.split(":", 1) for line in info.split("\n") if ":" in line)
            flags = int(fields["flags"], 8) & _OPEN_FLAGS
            files.append(OpenFile(number, target, flags, int(fields["pos"])))
        else:
            raise CannotClone(f"its descriptor {number} is open to {target}")
    return tuple(outputs), tuple(sockets), tuple(files)


def _can_be_reopened(target: str, mode: int) -> bool:
    """Whether that is a file which still has its name, and not one of the kernel's.

    To open any other kind may wait for somebody, as a FIFO does.
    """
    named = target.startswith("/") and (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return named and not (
        target.endswith(" (deleted)") or target.startswith(("/proc/", "/dev/", "/memfd:"))
    )


def _open_descriptors(pid: int) -> Iterator[tuple[int, str, int, str]]:
    for name in sorted(os.listdir(f"/proc/{pid}/fd"), key=int):
        path = f"/proc/{pid}/fd/{name}"
        info = _read(f"/proc/{pid}/fdinfo/{name}")
        yield int(name), os.readlink(path), os.stat(path).st_mode, info


def _open(path: str) -> TextIO:
    """Lines end with a line feed and nothing else: names may hold the other signs."""
    return open(path, encoding="utf-8", errors="surrogateescape", newline="\n")


def _read(path: str) -> str:
    with _open(path) as file:
        return file.read()
