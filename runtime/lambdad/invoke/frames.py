"""Cutting what comes through the log descriptor into frames. Pure; knows no pipe.

A frame is one log event, however many lines it has (runtime-protocol 6.5). Guests write here, so
anything may come: what is no frame is skipped up to what looks like the next one, and no more
than one frame's worth is ever kept.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from lambdad.invoke.log_level import Level
from lambdad.model import limits

# The last byte of a type holds the form in its lower two bits and the level above them: a form
# that says no time nor level, JSON, and text. Of what a frame says only its level and its text
# are believed: log events are dated when they arrive, and what is JSON shows by itself.
_TYPE_BYTES = 4
_OLDEST, _JSON, _TEXT = 1, 2, 3
_LAST_BYTES = bytes(
    [_OLDEST, *(level << 2 | form for level in (0, *Level) for form in (_JSON, _TEXT))]
)
MARK = b"\xa5\x5a\x00"
_TYPE = re.compile(MARK + b"[" + re.escape(_LAST_BYTES) + b"]", re.DOTALL)
_HEAD = struct.Struct(">4xI8x")
_OLDEST_HEAD = struct.Struct(">4xI")


@dataclass(frozen=True, slots=True)
class Frame:
    """One log event, or a piece of one that is too long.

    Attributes:
        level: as its writer says; None if it does not.
        text: as written, newlines included; its writer calls it UTF-8. Never empty.
    """

    level: Level | None
    text: bytes


class Frames:
    """The frames of one descriptor, cut out of its bytes however these arrive."""

    def __init__(self) -> None:
        self._rest = bytearray()
        self._level: Level | None = None
        self._begun = False
        self._left = 0  # bytes of the frame begun that have not been returned

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete with ``data``, and full pieces of one over 256 KiB."""
        self._rest += data
        frames: list[Frame] = []
        position = 0
        while True:
            if not self._begun:
                position, self._begun = self._read_head(position)
                if not self._begun:
                    break
            size = min(self._left, limits.log_line_bytes_max)
            if len(self._rest) - position < size:
                break
            if size:  # CloudWatch Logs knows no empty event.
                text = bytes(self._rest[position : position + size])
                frames.append(Frame(self._level, text))
            position += size
            self._left -= size
            self._begun = self._left > 0
        del self._rest[:position]
        return frames

    def _read_head(self, position: int) -> tuple[int, bool]:
        """Look for a frame: where its text begins, or what may still become its head does."""
        match = _TYPE.search(self._rest, position)
        if match is None:
            return max(position, len(self._rest) - _TYPE_BYTES + 1), False
        start, last = match.start(), self._rest[match.end() - 1]
        head = _OLDEST_HEAD if last == _OLDEST else _HEAD
        if len(self._rest) - start < head.size:
            return start, False
        (self._left,) = head.unpack_from(self._rest, start)
        self._level = Level(last >> 2) if last >> 2 else None
        return start + head.size, True
