"""The trailer fields of a chunked body, which aiohttp's parser reads over. Pure.

It looks at the same bytes as that parser and at nothing but where chunks begin and end; it hands
on no content, and whether the framing is as it should be is the parser's to judge. Source: RFC
9112, 7.1.
"""

from __future__ import annotations

import re

from lambdad.model import limits

_LINE_END = b"\r\n"
# Where a chunk begins that is not the last one, as nearly all do.
_CHUNK = re.compile(rb"0*([1-9a-fA-F][0-9a-fA-F]{0,14})\r\n")
# No sign, no underscore, as int() would have them: the parser may not have come so far yet, and
# a chunk of less than nothing would lead back to where it began.
_SIZE = re.compile(rb"[0-9a-fA-F]+")


class BadTrailers(Exception):
    """What came is no chunked body, or its trailer section is too large."""


class Trailers:
    """Looks for those of one body.

    Attributes:
        fields: by their names in lower case; complete when ``done``.
        section_bytes: how much of the trailer section has come.
        done: the end of the body has been seen.
    """

    __slots__ = ("_chunk_bytes", "_last", "_line", "done", "fields", "section_bytes")

    def __init__(self) -> None:
        self.fields: dict[str, str] = {}
        self.section_bytes, self.done = 0, False
        self._chunk_bytes = 0  # still to come of a chunk, with its line end
        self._line = bytearray()  # the beginning of a line whose end has not come
        self._last = False  # the last chunk, which is empty, has been seen

    def feed(self, data: bytes) -> None:
        """Look at what came next; what follows the end of the body is passed over.

        Raises:
            BadTrailers: there is no sense in it.
        """
        at = 0
        while at < len(data) and not self.done:
            if self._chunk_bytes:
                step = min(self._chunk_bytes, len(data) - at)
                self._chunk_bytes -= step
                at += step
                continue
            if not (self._line or self._last):
                at = _behind_chunks(data, at)
            end = data.find(b"\n", at) + 1 or len(data)
            self._line += data[at:end]
            self._count(end - at)
            at = end
            if self._line.endswith(b"\n"):
                self._take(bytes(self._line))
                self._line.clear()

    def _count(self, size: int) -> None:
        if self._last:
            self.section_bytes += size
        elif len(self._line) > limits.chunk_size_line_bytes_max:
            raise BadTrailers
        if self.section_bytes > limits.trailer_section_bytes_max:
            raise BadTrailers

    def _take(self, line: bytes) -> None:
        if not line.endswith(_LINE_END):
            raise BadTrailers
        if not self._last:
            size = _size(line)
            self._last = size == 0
            self._chunk_bytes = size + len(_LINE_END) if size else 0
        elif line == _LINE_END:
            self.done = True
        else:
            name, _, value = line.decode("latin-1").partition(":")
            self.fields[name.lower()] = value.strip()


def _behind_chunks(data: bytes, at: int) -> int:
    """Where something else begins than a whole chunk: there may be tens of thousands of them."""
    while (chunk := _CHUNK.match(data, at)) is not None:
        end = chunk.end() + int(chunk[1], 16) + len(_LINE_END)
        if end > len(data):
            break
        at = end
    return at


def _size(line: bytes) -> int:
    digits = line.partition(b";")[0].strip()
    if _SIZE.fullmatch(digits) is None:
        raise BadTrailers
    return int(digits, 16)
