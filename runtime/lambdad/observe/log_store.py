"""Where all that functions and the platform log is kept: log groups in folders, each bounded.

A group begins with its first event, as on AWS. Names are never file names: what could lead out
of the folder is replaced. A log that cannot be written is lost, and said to be, once: no function
fails for that.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Sequence
from concurrent.futures import Executor
from pathlib import Path

import structlog

from lambdad.model import limits
from lambdad.model.clock import Clock
from lambdad.observe import log_group
from lambdad.observe.log_group import Facts, Group

_log = structlog.get_logger()

_FOLDER, _GONE = "log", ".gone-"
# A name has up to 512 characters, a file name 255.
_READABLE_CHARACTERS_MAX = 160


class LogStore:
    """The log groups below ``folder``, which must exist; used on one thread only.

    Args:
        clock: stamps events with the time of their arrival.
        disk: removes what is not wanted any more.
    """

    def __init__(self, folder: Path, clock: Clock, disk: Executor) -> None:
        self._folder, self._clock, self._disk = folder, clock, disk
        self._groups: dict[str, Group] = {}
        self._open: dict[str, Group] = {}
        self._failing = False
        for path in folder.iterdir():
            if path.name.startswith("."):
                self._disk.submit(shutil.rmtree, path, ignore_errors=True)
            elif path.is_dir():
                self._take_up(path)

    def _take_up(self, path: Path) -> None:
        try:
            group = Group(path)
        except (OSError, ValueError, TypeError) as error:
            _log.warning("cannot read a log group", path=str(path), reason=str(error))
        else:
            self._groups[group.facts.name] = group

    # --- writing ----------------------------------------------------------------------

    def write(self, group: str, stream: str, timestamp_ms: int, messages: Sequence[bytes]) -> None:
        """Keep messages as they are, each as one event of this time, or say that they are lost."""
        try:
            self.put(group, stream, [(timestamp_ms, message) for message in messages])
        except OSError as error:
            if not self._failing:
                _log.warning("cannot write logs", group=group, reason=str(error))
            self._failing = True
        else:
            self._failing = False

    def put(self, group: str, stream: str, events: Collection[tuple[int, bytes]]) -> None:
        """Keep messages, each with its time in milliseconds; with none, begin the stream.

        Raises:
            OSError: none of them is kept.
        """
        self._opened(group).append(stream, events, self.now_ms())

    def delete_stream(self, group: str, stream: str) -> None:
        """Forget what a stream of a group that there is has said so far.

        Raises:
            OSError: it is not forgotten.
        """
        self._opened(group).delete_stream(stream, self.now_ms())

    def create(
        self, name: str, tags: dict[str, str] | None = None, *, by_itself: bool = False
    ) -> Group:
        """Make a group that there is not.

        Raises:
            OSError: it cannot be made.
        """
        folder = self._folder / _folder_name(name)
        if folder.exists():  # It could not be read.
            self._put_away(folder)
        facts = Facts(name, self.now_ms(), tags=tags or {}, by_itself=by_itself)
        group = log_group.create(folder, facts)
        self._groups[name] = group
        return group

    def _opened(self, name: str) -> Group:
        """A group to be written to; the one that was opened first goes before one more is opened.

        Raises:
            OSError: it cannot be made.
        """
        group = self._groups.get(name) or self.create(name, by_itself=True)
        if not group.is_open:
            self._open.pop(name, None)
            if len(self._open) >= limits.log_files_open_max:
                self._open.pop(next(iter(self._open))).close()
            self._open[name] = group
        return group

    # --- reading ----------------------------------------------------------------------

    def group(self, name: str) -> Group | None:
        return self._groups.get(name)

    def groups(self) -> list[Group]:
        """All groups, in order of their names."""
        return [self._groups[name] for name in sorted(self._groups)]

    def now_ms(self) -> int:
        return int(self._clock.now() * 1000)

    # --- ending -----------------------------------------------------------------------

    def close(self, group: str) -> None:
        """Nothing writes to the group for now."""
        found = self._open.pop(group, None)
        if found is not None:
            found.close()

    def close_all(self) -> None:
        for name in list(self._open):
            self.close(name)

    def remove(self, group: str) -> None:
        """Nobody logs to a group any more: it goes, unless somebody has asked for it."""
        found = self._groups.get(group)
        if found is not None and found.facts.by_itself:
            self.delete(group)

    def delete(self, group: str) -> None:
        """The group is no more, nor is what it held."""
        self.close(group)
        if self._groups.pop(group, None) is not None:
            self._put_away(self._folder / _folder_name(group))

    def _put_away(self, folder: Path) -> None:
        """Out of its place now, from the disk in a while; the next start tries again."""
        away = folder.with_name(f"{_GONE}{folder.name}-{self.now_ms()}")
        try:
            folder.rename(away)
        except OSError as error:
            _log.warning("cannot remove a log group", path=str(folder), reason=str(error))
        else:
            self._disk.submit(shutil.rmtree, away, ignore_errors=True)


def _folder_name(group: str) -> str:
    """One name for each group: slashes, which are frequent, become commas, which names lack."""
    if len(group) <= _READABLE_CHARACTERS_MAX:
        return _FOLDER + group.replace("/", ",")
    digest = hashlib.sha256(group.encode()).hexdigest()
    return f"{_FOLDER}{group[:_READABLE_CHARACTERS_MAX].replace('/', ',')}~{digest}"
