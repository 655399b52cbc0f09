"""Where in a v2 hierarchy the daemon may make cgroups: at its root, or in what it was given.

Not the cgroups themselves: ``v2`` makes those, below the foothold that is had here.

Source: https://docs.kernel.org/admin-guide/cgroup-v2.html, "Delegation" and "No Internal Process
Constraint".
"""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from lambdad_sandbox.cgroup.protocol import CannotLimit

# Many distributions delegate no more than these two. Without cpu nobody is held to a share.
REQUIRED = frozenset({"memory", "pids"})
WANTED = REQUIRED | {"cpu"}

HINT_DELEGATE = (
    "start it in a cgroup of its own: systemd-run --user --scope -p Delegate=yes lambdad serve"
)
HINT_WRITE = (
    "run as root; in a container, with --privileged --cgroupns=host and /sys/fs/cgroup writable"
)
_HINTS = {errno.EROFS: HINT_WRITE}


def own_directory(membership: str, top: Path, root: str) -> Path | None:
    """The directory of the v2 cgroup that a process is in; None if the mount does not show it.

    Args:
        membership: the process's /proc/PID/cgroup, see cgroups(7).
        top: where the hierarchy is mounted.
        root: which of its cgroups is mounted there, see mountinfo in proc(5).
    """
    for line in membership.splitlines():
        if line.startswith("0::"):
            path = Path(line[len("0::") :])
            shown = path.is_relative_to(root) and ".." not in path.parts
            return top / path.relative_to(root) if shown else None
    return None


def candidates(top: Path, own: Path | None) -> tuple[Path, ...]:
    """Where to try, in this order: the uppermost, where we are, and up from there."""
    if own is None:
        return (top,)
    upwards = (own, *own.parents)
    return (top, *upwards[: upwards.index(top)])


def controllers_of(directory: Path) -> frozenset[str]:
    """Those that this cgroup may give to its children."""
    return _words(directory / "cgroup.controllers")


def enable(directory: Path, controllers: frozenset[str]) -> None:
    """Give the children of ``directory`` these controllers.

    Raises:
        OSError: EBUSY when processes are in it and it is not the host's root, EACCES, EROFS.
    """
    control = directory / "cgroup.subtree_control"
    if not _words(control) >= controllers:
        control.write_text(" ".join(f"+{name}" for name in sorted(controllers)))


class Foothold:
    """A cgroup whose children can be limited.

    A cgroup other than the host's root has processes, or children with limits, but not both. So
    if this process is alone in it, it moves itself into a child, ``<name>.daemon``.

    Attributes:
        directory: the cgroup.
        controllers: what its children have.
    """

    def __init__(self, directory: Path, name: str) -> None:
        """Make it so.

        Raises:
            CannotLimit: it is not ours, lacks a controller, or others are in it, too.
        """
        self.directory = directory
        self._seat = directory / f"{name}.daemon"
        self._moved = False
        try:
            self.controllers = WANTED & controllers_of(directory)
            self._require()
            self._before = _words(directory / "cgroup.subtree_control")
            self._enable()
        except OSError as error:
            self.leave()
            reason = f"cannot make cgroups in {directory}: {error.strerror}"
            raise CannotLimit(reason, _HINTS.get(error.errno or 0, HINT_DELEGATE)) from error

    def leave(self) -> None:
        """Go back to where we were, unless there are still limited children."""
        if not self._moved:
            return
        ours = self.controllers - self._before
        try:
            _write(self.directory, "subtree_control", " ".join(f"-{name}" for name in sorted(ours)))
            _write(self.directory, "procs", "0")
            self._moved = False
            self._seat.rmdir()
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise

    def _require(self) -> None:
        missing = REQUIRED - self.controllers
        if missing:
            names = ", ".join(sorted(missing))
            raise OSError(errno.ENOENT, f"no controller {names} given")
        # Who is born into a child comes from here or below: that asks for this permission.
        if not os.access(self.directory / "cgroup.procs", os.W_OK):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    def _enable(self) -> None:
        try:
            enable(self.directory, self.controllers)
        except OSError as error:
            if error.errno != errno.EBUSY:
                raise
            self._move_out()
            enable(self.directory, self.controllers)

    def _move_out(self) -> None:
        if _words(self.directory / "cgroup.procs") != {str(os.getpid())}:
            raise OSError(errno.EBUSY, "other processes are in it, too")
        self._seat.mkdir(exist_ok=True)
        try:
            _write(self._seat, "procs", "0")
        except OSError:
            with contextlib.suppress(OSError):
                self._seat.rmdir()
            raise
        self._moved = True


def _words(file: Path) -> frozenset[str]:
    return frozenset(file.read_text().split())


def _write(directory: Path, file: str, text: str) -> None:
    (directory / f"cgroup.{file}").write_text(text)
