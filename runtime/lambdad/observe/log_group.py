"""One log group: a folder of segments, of which only the newest is written to.

A group is written on the event loop and read elsewhere: ``Group`` belongs to the loop, a
``View`` is what there was at one moment and may be read in any thread, as slowly as it takes.
What is in the newest segment is known from the first use on; older ones are looked through when
somebody asks. Nobody waits for a disk to have written anything.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass, field, replace
from io import FileIO
from pathlib import Path
from typing import NamedTuple

from lambdad.model import limits
from lambdad.observe import log_records
from lambdad.observe.log_records import Contents, Span

_FACTS, _SUFFIX = "group.json", ".segment"
_READ_BYTES = 64 * 1024
_DAY_MS = 86_400_000
_OFFSET_BITS = 32
ALWAYS_MS = 2**63


class Event(NamedTuple):
    """One log event.

    Attributes:
        position: grows with every event of a group, and is never given twice.
    """

    position: int
    stream: str
    timestamp_ms: int
    ingested_ms: int
    message: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What is recorded of a group beside its events.

    Attributes:
        by_itself: it began with its first event; nobody asked for it.
    """

    name: str
    created_ms: int
    retention_days: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    by_itself: bool = False


@dataclass(slots=True)
class Segment:
    """One file; ``contents`` is ``None`` until somebody has looked."""

    number: int
    path: Path
    size: int
    contents: Contents | None = None

    def survey(self) -> Contents:
        """What there is in it. Reads the file the first time.

        Raises:
            OSError: it cannot be read.
        """
        if self.contents is None:
            self.contents = log_records.survey(self.path.read_bytes()[: self.size])
            self.size = self.contents.size
        return self.contents


@dataclass(frozen=True, slots=True)
class Query:
    """Which events are asked for.

    Attributes:
        streams: ``None`` for all.
        start_ms, end_ms: from the one to before the other.
        matches: of a message.
    """

    streams: Collection[str] | None = None
    start_ms: int = 0
    end_ms: int = ALWAYS_MS
    matches: Callable[[str], bool] = lambda _: True


class Group:
    """A log group, as its only writer has it.

    Raises:
        OSError: there is no group in this folder that can be read.
        ValueError: the same.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.facts = Facts(**json.loads((folder / _FACTS).read_bytes()))
        found = sorted(path for path in folder.iterdir() if path.suffix == _SUFFIX)
        self._segments = [Segment(int(path.stem), path, path.stat().st_size) for path in found]
        self._file: FileIO | None = None

    @property
    def stored_bytes(self) -> int:
        return sum(segment.size for segment in self._segments)

    @property
    def is_open(self) -> bool:
        return self._file is not None

    def close(self) -> None:
        """Give the descriptor back; the next event takes one again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def append(self, stream: str, events: Collection[tuple[int, bytes]], now_ms: int) -> None:
        """Write events, each with its time in milliseconds; with none, begin the stream.

        Raises:
            OSError: none of them is written.
        """
        newest, contents = self._newest(now_ms)
        span, parts = contents.streams.get(stream), []
        if span is None:
            span = Span(contents.numbers, now_ms)
            parts.append(log_records.pack_stream(span.number, stream, now_ms))
        first_ms, last_ms, size = span.first_ms, span.last_ms, span.message_bytes
        for timestamp_ms, message in events:
            parts.append(log_records.pack_event(span.number, timestamp_ms, now_ms, message))
            size += len(message)
            last_ms = max(last_ms, timestamp_ms)
            first_ms = timestamp_ms if first_ms is None else min(first_ms, timestamp_ms)
        data = b"".join(parts)
        if not _has_room(newest, len(data)):
            self._rotate(now_ms)
            self.append(stream, events, now_ms)
            return
        self._write(data, newest)
        contents.numbers = max(contents.numbers, span.number + 1)
        contents.streams[stream] = Span(span[0], span[1], first_ms, last_ms, now_ms, size)

    def view(self, now_ms: int) -> View:
        """What there is now.

        Raises:
            OSError: the newest segment cannot be read.
        """
        if self._segments:
            self._segments[-1].survey()
        days, since_ms = self.facts.retention_days, 0
        if days is not None:
            since_ms = now_ms - days * _DAY_MS
        segments = [*self._segments[:-1], *map(_copied, self._segments[-1:])]
        return View(segments, since_ms)

    def change(self, **facts: object) -> None:
        """Record something else of the group.

        Raises:
            OSError: it is not recorded.
        """
        changed = replace(self.facts, **facts)  # type: ignore[arg-type]
        _write_facts(self._folder, changed)
        self.facts = changed

    def delete_stream(self, stream: str, now_ms: int) -> None:
        """Forget what a stream has said so far.

        Raises:
            OSError: it is not forgotten.
        """
        newest, contents = self._newest(now_ms)
        span, data = contents.streams.get(stream), b""
        number = contents.numbers if span is None else span.number
        if span is None:
            data = log_records.pack_stream(number, stream, now_ms)
        data += log_records.pack_deletion(number, now_ms)
        if not _has_room(newest, len(data)):
            self._rotate(now_ms)
            self.delete_stream(stream, now_ms)
            return
        self._write(data, newest)
        contents.numbers = max(contents.numbers, number + 1)
        contents.streams.pop(stream, None)
        contents.deleted.add(stream)

    def _newest(self, now_ms: int) -> tuple[Segment, Contents]:
        """The newest segment, to be appended to; without what a crash left at its end."""
        if not self._segments:
            self._begin(now_ms)
        newest = self._segments[-1]
        contents = newest.survey()
        if self._file is None:
            self._file = FileIO(newest.path, "ab")
            if self._file.tell() != newest.size:
                self._file.truncate(newest.size)
        return newest, contents

    def _write(self, data: bytes, segment: Segment) -> None:
        """All of it or nothing: half a record would hide those that follow."""
        assert self._file is not None, "whoever writes has opened"
        try:
            written = self._file.write(data)
        except OSError:
            self.close()
            raise
        if written != len(data):
            self.close()
            os.truncate(segment.path, segment.size)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        segment.size += len(data)

    def _begin(self, now_ms: int) -> None:
        number = max(now_ms, self._segments[-1].number + 1 if self._segments else 0)
        path = self._folder / f"{number:015}{_SUFFIX}"
        path.touch(mode=0o600, exist_ok=False)
        self._segments.append(Segment(number, path, 0, Contents()))

    def _rotate(self, now_ms: int) -> None:
        """Begin the next segment; the oldest ones make way."""
        self.close()
        self._begin(now_ms)
        while self._is_due(self._segments[0], now_ms):
            self._segments.pop(0).path.unlink(missing_ok=True)

    def _is_due(self, oldest: Segment, now_ms: int) -> bool:
        if oldest is self._segments[-1]:
            return False
        days = self.facts.retention_days
        # What was written last in a segment came before the next one began.
        expired = days is not None and self._segments[1].number < now_ms - days * _DAY_MS
        return expired or len(self._segments) > limits.log_segments_max


@dataclass(frozen=True, slots=True)
class View:
    """What there was of a group at one moment; what has been removed since is not there."""

    segments: list[Segment]
    since_ms: int

    def streams(self) -> dict[str, Span]:
        """What there is of each stream.

        Raises:
            OSError: a segment cannot be read.
        """
        found: dict[str, Span] = {}
        for _, streams in reversed(list(self._backwards())):
            for name, span in streams.items():
                found[name] = found[name].joined(span) if name in found else span
        return found

    def events(self, query: Query, begin: int = 0) -> Iterator[Event]:
        """The events at a position or behind it, in the order in which they came.

        Raises:
            OSError: a segment cannot be read.
        """
        for segment, streams in reversed(list(self._backwards())):
            if begin < (segment.number << _OFFSET_BITS) + segment.size:
                yield from self._in(segment, streams, query, begin, ALWAYS_MS << _OFFSET_BITS)

    def events_backwards(self, query: Query, end: int) -> Iterator[Event]:
        """The events before a position, the last one first.

        Raises:
            OSError: a segment cannot be read.
        """
        for segment, streams in self._backwards():
            if segment.number << _OFFSET_BITS < end:
                yield from reversed(list(self._in(segment, streams, query, 0, end)))

    def _backwards(self) -> Iterator[tuple[Segment, dict[str, Span]]]:
        """Each segment, the newest first, with what of it has not been deleted later."""
        deleted: set[str] = set()
        for segment in reversed(self.segments):
            try:
                contents = segment.survey()
            except FileNotFoundError:
                continue
            streams = contents.streams
            if deleted:
                streams = {name: span for name, span in streams.items() if name not in deleted}
            yield segment, streams
            deleted |= contents.deleted

    def _in(
        self, segment: Segment, streams: dict[str, Span], query: Query, begin: int, end: int
    ) -> Iterator[Event]:
        start_ms = max(query.start_ms, self.since_ms)
        numbers = {
            span.number
            for name, span in streams.items()
            if (query.streams is None or name in query.streams)
            and span.last_ms >= start_ms
            and (span.first_ms is not None and span.first_ms < query.end_ms)
        }
        if not numbers:
            return
        position = segment.number << _OFFSET_BITS
        for record in _records(segment):
            at, position = position, (segment.number << _OFFSET_BITS) + record.end
            if (
                record.message is not None
                and record.number in numbers
                and begin <= at < end
                and start_ms <= record.timestamp_ms < query.end_ms
            ):
                text = record.message.decode(errors="replace")
                if query.matches(text):
                    yield Event(at, record.stream, record.timestamp_ms, record.ingested_ms, text)


def create(folder: Path, facts: Facts) -> Group:
    """Make a group, all of it or none.

    Raises:
        OSError: there is none now.
    """
    staging = folder.with_name(f".{folder.name}-{facts.created_ms}")
    staging.mkdir(0o700)
    _write_facts(staging, facts)
    staging.rename(folder)
    return Group(folder)


def _write_facts(folder: Path, facts: Facts) -> None:
    written = folder / f".{_FACTS}"
    written.write_text(json.dumps(asdict(facts)))
    written.replace(folder / _FACTS)


def _copied(segment: Segment) -> Segment:
    """The newest segment as it is now: its writer goes on."""
    return replace(segment, contents=segment.survey().copy())


def _has_room(segment: Segment, size: int) -> bool:
    """Whether it takes this much more; an empty one takes anything."""
    return not segment.size or segment.size + size <= limits.log_segment_bytes_max


def _records(segment: Segment) -> Iterator[log_records.Record]:
    try:
        file = segment.path.open("rb", _READ_BYTES)
    except FileNotFoundError:
        return
    with file:
        yield from log_records.records(file, segment.size)
