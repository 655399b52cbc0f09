"""The daemon's end of unpacking: spawns the unpacker, waits so long and no longer, judges.

The daemon itself looks at no byte of a zip. What the process does to be trusted with one is in
``lambdad.code.unpacker``.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from pathlib import Path

from lambdad.code import unpacker, verdict
from lambdad.code.archive import BadArchive
from lambdad.code.verdict import NoVerdict
from lambdad.model import limits
from lambdad.model.errors import PlatformFault

_PROGRAM = "from lambdad.code.unpacker import main; main()"
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def unpack(zip_file: Path, tree: Path) -> None:
    """Have a zip unpacked into ``tree``, an empty directory; blocks until it is done.

    What a failure leaves in ``tree`` is the caller's to remove.

    Raises:
        BadArchive, ArchiveTooLarge: see ``lambdad.code.archive.unpack``; also a BadArchive when it
            takes too long or too much memory, or ends the unpacker in another way.
        OSError: the file system would not take it.
        PlatformFault: the unpacker cannot be started or confined here; the zip was not read.
    """
    with contextlib.ExitStack() as descriptors:
        source = os.open(zip_file, os.O_RDONLY | os.O_CLOEXEC)
        descriptors.callback(os.close, source)
        directory = os.open(tree, _OPEN_DIRECTORY)
        descriptors.callback(os.close, directory)
        heard, says = os.pipe2(os.O_CLOEXEC)
        descriptors.callback(os.close, heard)
        try:
            pid = _spawn(source, says, directory)
        finally:
            os.close(says)
        in_time, status = _outcome(pid)
        said = os.read(heard, verdict.BYTES_MAX)
    fault = judge(said, os.waitstatus_to_exitcode(status), in_time=in_time)
    if fault is not None:
        raise fault


def judge(said: bytes, exit_code: int, *, in_time: bool) -> Exception | None:
    """What to raise when the unpacker has ended; ``None`` when the tree is complete. Pure.

    Args:
        said: all that came out of its pipe.
        exit_code: negative for a signal, see ``os.waitstatus_to_exitcode``.
        in_time: whether it ended by itself.
    """
    confined = said.startswith(verdict.CONFINED)
    with contextlib.suppress(NoVerdict):
        if in_time and exit_code == 0:
            return verdict.read(said.removeprefix(verdict.CONFINED))
    if not confined:
        return PlatformFault(f"cannot start the unpacker: it ended with {exit_code}, unconfined")
    if not in_time:
        return BadArchive(f"it takes more than {limits.unpack_s_max} s")
    if exit_code == -signal.SIGXCPU:
        return BadArchive(f"it takes more than {limits.unpack_cpu_s_max} s of processor time")
    return BadArchive(f"the unpacker did not survive it, and ended with {exit_code}")


def _spawn(source: int, says: int, directory: int) -> int:
    """Start the unpacker: an empty environment, four descriptors, a session of its own.

    The standard error is ours until the unpacker is confined: for what keeps it from starting.
    """
    # In this order no descriptor is overwritten before it has been put in its place.
    actions = [
        (os.POSIX_SPAWN_DUP2, source, unpacker.ZIP),
        (os.POSIX_SPAWN_DUP2, says, unpacker.SAYS),
        (os.POSIX_SPAWN_DUP2, directory, unpacker.TREE),
    ]
    command = [sys.executable, "-I", "-c", _PROGRAM]
    return os.posix_spawn(command[0], command, {}, file_actions=actions, setsid=True)


def _outcome(pid: int) -> tuple[bool, int]:
    """Whether a child has ended in time, and its wait status. Afterwards it is no more."""
    in_time = False
    try:
        in_time = _ends_in_time(pid)
    finally:
        # It has not been waited for, so the pid is still its own; a zombie takes no notice.
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
    return in_time, status


def _ends_in_time(pid: int) -> bool:
    pidfd = os.pidfd_open(pid)
    try:
        ends = select.poll()
        ends.register(pidfd, select.POLLIN)
        return bool(ends.poll(limits.unpack_s_max * 1000))
    finally:
        os.close(pidfd)
