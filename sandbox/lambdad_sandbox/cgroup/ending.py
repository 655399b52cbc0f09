"""How groups end: removing takes as long as their processes take to die."""

from __future__ import annotations

import errno
import time
from collections.abc import Iterator
from pathlib import Path

from lambdad_sandbox.cgroup.protocol import Cgroup, CgroupBusy


def patience() -> Iterator[None]:
    """Turns of trying again, with pauses that grow from 0.1 ms to 50 ms: about 3 s in all."""
    pause_s = 0.0001
    for _ in range(70):
        yield
        time.sleep(pause_s)
        pause_s = min(pause_s * 2, 0.05)


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


def end_all(cgroups: list[Cgroup]) -> int:
    """Kill and remove each, and take it off the list; how many they were.

    Raises:
        CgroupBusy: one could not be ended; it is still on the list.
    """
    count = len(cgroups)
    while cgroups:
        cgroups[-1].kill()
        cgroups[-1].remove()
        cgroups.pop()
    return count
