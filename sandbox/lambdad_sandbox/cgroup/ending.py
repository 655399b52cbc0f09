"""How groups end: removing takes as long as their processes take to die."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator, MutableSequence
from pathlib import Path
from typing import Protocol, TypeVar

from lambdad_sandbox.cgroup.protocol import CgroupBusy


class _Leaf(Protocol):
    @property
    def name(self) -> str: ...

    def is_empty(self) -> bool: ...

    def strike(self) -> None:
        """SIGKILL to everyone in it, waiting for nobody."""

    def remove(self) -> None: ...


Leaf = TypeVar("Leaf", bound=_Leaf)


def patience() -> Iterator[None]:
    """Turns of trying again, with pauses that grow from 0.1 ms to 50 ms: about 3 s in all."""
    pause_s = 0.0001
    for _ in range(70):
        yield
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.05)


def kill(leaf: _Leaf) -> None:
    """Strike until it is empty.

    Raises:
        CgroupBusy: some were still there after seconds.
    """
    for _ in patience():
        if leaf.is_empty():
            return
        leaf.strike()
    raise CgroupBusy(f"cannot empty cgroup {leaf.name}")


def end_all(leaves: MutableSequence[Leaf]) -> int:
    """Kill and remove each, and take it off the list; how many they were.

    All are struck before one is waited for, so that they die at the same time.

    Raises:
        CgroupBusy: some could not be ended; they are still on the list.
    """
    count = len(leaves)
    for _ in patience():
        for leaf in list(leaves):
            if leaf.is_empty():
                leaf.remove()
                leaves.remove(leaf)
            else:
                leaf.strike()
        if not leaves:
            return count
    raise CgroupBusy(f"cannot empty cgroup {', '.join(leaf.name for leaf in leaves)}")


def remove_directory(directory: Path) -> None:
    """Remove a group that may still have processes on their way out, if it is there.

    Raises:
        CgroupBusy: some were still there after seconds.
    """
    for _ in patience():
        try:
            directory.rmdir()
        except FileNotFoundError:
            return
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
        else:
            return
    raise CgroupBusy(f"cannot remove {directory}")


def remove_if_childless(directory: Path) -> None:
    try:
        directory.rmdir()
    except OSError as error:
        if error.errno not in {errno.EBUSY, errno.ENOENT}:
            raise
