"""Log events as they lie in a segment, which is a file that is only appended to. Pure.

A segment can be read without those before it. It holds three kinds of records: one gives a log
stream its number in this segment, one is an event of the stream with that number, one says that
the stream was deleted: what came before, in earlier segments too, does not count. A record that
was cut off by a crash, and whatever stands behind it, is none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import BinaryIO, NamedTuple

# Kind, number of the stream, length of what follows, time of the event, time of arrival (both
# in milliseconds since the epoch). No byte of UTF-8 is F5.
_HEADER = Struct(">2sHIQQ")
_STREAM, _EVENT, _DELETED = b"\xf5S", b"\xf5E", b"\xf5D"

_pack, _unpack = _HEADER.pack, _HEADER.unpack


class Record(NamedTuple):
    """One record; ``end`` is where the next one begins."""

    end: int
    number: int
    stream: str
    timestamp_ms: int
    ingested_ms: int
    message: bytes | None
    """``None``: the stream is new here, or was deleted."""


class Span(NamedTuple):
    """What a segment holds of one stream; with no event in it, ``first_ms`` is ``None``."""

    number: int
    created_ms: int
    first_ms: int | None = None
    last_ms: int = 0
    ingested_ms: int = 0
    message_bytes: int = 0

    def joined(self, later: Span) -> Span:
        """What two segments hold together."""
        if later.first_ms is None or self.first_ms is None:
            seen = self if later.first_ms is None else later
            return seen._replace(created_ms=min(self.created_ms, later.created_ms))
        return Span(
            later.number,
            min(self.created_ms, later.created_ms),
            min(self.first_ms, later.first_ms),
            max(self.last_ms, later.last_ms),
            max(self.ingested_ms, later.ingested_ms),
            self.message_bytes + later.message_bytes,
        )


@dataclass(slots=True)
class Contents:
    """What a segment holds.

    Attributes:
        streams: by name, without what was deleted.
        deleted: the names of which earlier segments have nothing that counts.
        numbers: how many were given to streams.
        size: where the last whole record ends.
    """

    streams: dict[str, Span] = field(default_factory=dict)
    deleted: set[str] = field(default_factory=set)
    numbers: int = 0
    size: int = 0

    def copy(self) -> Contents:
        return Contents(dict(self.streams), set(self.deleted), self.numbers, self.size)


def pack_stream(number: int, name: str, now_ms: int) -> bytes:
    encoded = name.encode()
    return _pack(_STREAM, number, len(encoded), now_ms, now_ms) + encoded


def pack_event(number: int, timestamp_ms: int, now_ms: int, message: bytes) -> bytes:
    return _pack(_EVENT, number, len(message), timestamp_ms, now_ms) + message


def pack_deletion(number: int, now_ms: int) -> bytes:
    return _pack(_DELETED, number, 0, now_ms, now_ms)


def records(file: BinaryIO, size: int) -> Iterator[Record]:
    """The records of a file whose first ``size`` bytes count."""
    streams: list[str] = []
    begin = 0
    while len(header := file.read(_HEADER.size)) == _HEADER.size:
        kind, number, length, timestamp_ms, ingested_ms = _unpack(header)
        end = begin + _HEADER.size + length
        if end > size:
            return
        payload = file.read(length)
        message: bytes | None = payload
        if kind == _STREAM and number == len(streams):
            streams.append(payload.decode(errors="replace"))
            message = None
        elif number >= len(streams) or kind not in (_EVENT, _DELETED):
            return
        elif kind == _DELETED:
            message = None
        yield Record(end, number, streams[number], timestamp_ms, ingested_ms, message)
        begin = end


def survey(data: bytes) -> Contents:
    """What a segment holds."""
    names: list[str] = []
    spans: list[Span] = []
    gone: set[int] = set()
    begin, size = 0, len(data)
    while begin + _HEADER.size <= size:
        kind, number, length, timestamp_ms, ingested_ms = _HEADER.unpack_from(data, begin)
        end = begin + _HEADER.size + length
        if end > size:
            break
        if kind == _EVENT and number < len(spans):
            _, created_ms, first_ms, last_ms, _, message_bytes = spans[number]
            spans[number] = Span(
                number,
                created_ms,
                timestamp_ms if first_ms is None else min(first_ms, timestamp_ms),
                max(last_ms, timestamp_ms),
                ingested_ms,
                message_bytes + length,
            )
        elif kind == _STREAM and number == len(spans):
            names.append(data[begin + _HEADER.size : end].decode(errors="replace"))
            spans.append(Span(number, ingested_ms))
        elif kind == _DELETED and number < len(spans):
            gone.add(number)
        else:
            break
        begin = end
    streams = {names[span.number]: span for span in spans if span.number not in gone}
    return Contents(streams, {names[number] for number in gone}, len(names), begin)
