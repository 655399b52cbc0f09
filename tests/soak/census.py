"""What there is of a daemon, counted where the kernel shows it: two counts can be compared.

Counts are of things that somebody has to end. Memory and files that may grow to a bound are
weighed instead.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
from scenario.program import START_S_MAX, Program

MIB = 1 << 20
# One for each function that ever was, as AWS keeps log groups.
_KEPT_FOR_EVER = "logs"
# Trees of deleted functions are swept when a daemon starts.
_SWEPT_AT_START = "code"
# What ends in several steps, some of them put off, is not settled between two of them.
_LOOKS, _LOOK_EACH_S = 30, 0.1


@dataclass(frozen=True)
class Census:
    """How many there are.

    Attributes:
        cgroups: directories of the daemon, in all hierarchies.
        host_mounts: lines of the mount table that everybody sees.
        mounts: the same of the daemon and of each zygote.
        descriptors: that the daemon and its zygotes have open.
        processes: that descend from the daemon; spare sandboxes are among them.
        zombies: those of them that nobody has waited for.
        uids: of environments, that a process has.
        network_namespaces: other than the host's, in which a process is.
        loop_devices: whose file is in the state directory.
        state_files: without logs and code.
        staged: half-written or half-removed code.
    """

    cgroups: int
    host_mounts: int
    mounts: tuple[int, ...]
    descriptors: tuple[int, ...]
    processes: int
    zombies: int
    uids: int
    network_namespaces: int
    loop_devices: int
    state_files: int
    staged: int


@dataclass(frozen=True)
class Weight:
    """What may grow, to a bound.

    Attributes:
        daemon, zygotes: their memory, in bytes.
        store: the size of its files.
        trees: of code, those of deleted functions too.
        logs: files, those of deleted functions too.
        host_network_namespaces: of everybody, by the kernel's own count, which is a rough one.
    """

    daemon: int
    zygotes: int
    store: int
    trees: int
    logs: int
    host_network_namespaces: int

    def __str__(self) -> str:
        large = ("daemon", "zygotes", "store")
        sizes = [f"{name} {getattr(self, name) / MIB:.1f} MiB" for name in large]
        counts = [f"{self.trees} trees", f"{self.logs} logs"]
        return ", ".join([*sizes, *counts, f"{self.host_network_namespaces} network namespaces"])


def taken(program: Program) -> Census:
    """The census of this moment.

    Raises:
        psutil.NoSuchProcess, OSError: something ended while it was looked at.
    """
    daemon = psutil.Process(program.process.pid)
    zygotes = daemon.children()
    everybody = daemon.children(recursive=True)
    state = program.state_dir
    return Census(
        cgroups=sum(1 for top in program.cgroups() for _ in os.walk(top)),
        host_mounts=_lines(Path("/proc/self/mountinfo"), str(state)),
        mounts=tuple(_lines(Path(f"/proc/{one.pid}/mountinfo")) for one in (daemon, *zygotes)),
        descriptors=tuple(one.num_fds() for one in (daemon, *zygotes)),
        processes=len(everybody),
        zombies=sum(one.status() == psutil.STATUS_ZOMBIE for one in everybody),
        uids=len({one.uids().real for one in everybody} - {0}),
        network_namespaces=len({_network_namespace(one.pid) for one in (daemon, *everybody)}) - 1,
        loop_devices=sum(str(state) in path.read_text() for path in _loop_devices()),
        state_files=_files(state, but={_KEPT_FOR_EVER, _SWEPT_AT_START}),
        staged=_entries(state / "code/staging"),
    )


def weighed(program: Program) -> Weight:
    daemon = psutil.Process(program.process.pid)
    state = program.state_dir
    return Weight(
        daemon=daemon.memory_info().rss,
        zygotes=sum(zygote.memory_info().rss for zygote in daemon.children()),
        store=sum(path.stat().st_size for path in state.glob("lambdad.sqlite*")),
        trees=_entries(state / "code") - 1,  # beside them is where they are staged
        logs=_entries(state / "logs"),
        host_network_namespaces=_in_use("net_namespace"),
    )


def settled(program: Program, holds: Callable[[Census], bool]) -> Census:
    """The first census for which something holds and that stays as it is for a while, or that
    of the moment when patience ends.
    """
    last = time.monotonic() + START_S_MAX
    before, looks = None, 0
    while True:
        census = _taken_if_still(program)
        looks = looks + 1 if census == before else 0
        before = census
        is_over = time.monotonic() > last
        if census is not None and (is_over or (looks >= _LOOKS and holds(census))):
            return census
        assert time.monotonic() < last + START_S_MAX, "it never stands still"
        time.sleep(_LOOK_EACH_S)


def _taken_if_still(program: Program) -> Census | None:
    """The census; none if something ended while it was looked at."""
    try:
        return taken(program)
    except (psutil.NoSuchProcess, OSError):
        return None


def _lines(path: Path, with_text: str = "") -> int:
    return sum(with_text in line for line in path.read_text().splitlines())


def _network_namespace(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def _in_use(slab: str) -> int:
    """Objects of a kind that the kernel has in use, see slabinfo(5); 0 where it does not say."""
    table = Path("/proc/slabinfo")
    lines = table.read_text().splitlines() if table.exists() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith(slab + " "))


def _loop_devices() -> list[Path]:
    return list(Path("/sys/block").glob("loop*/loop/backing_file"))


def _entries(folder: Path) -> int:
    return sum(1 for _ in folder.iterdir())


def _files(folder: Path, *, but: set[str]) -> int:
    """Files and folders below it, without those entries of its own."""
    entries = [entry for entry in folder.iterdir() if entry.name not in but]
    return len(entries) + sum(
        len(folders) + len(files) for entry in entries for _, folders, files in os.walk(entry)
    )
