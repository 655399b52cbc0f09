"""The zip format: from bytes to entries, and from an entry to its contents.

A zip is believed in nothing that can be checked: records stand where they should, no byte belongs
to two entries, contents have their declared size and CRC. What the names say and which kinds of
files are welcome is not known here: see ``lambdad.code.archive``.

The standard library's ``zipfile`` is not used: it makes an object of every entry before it can be
asked how many there are, and how much it lets pass differs from one Python to the next.

Source: APPNOTE.TXT 6.3 (https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT).
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

_CHUNK_BYTES = 64 * 1024

_END = struct.Struct("<4s4H2LH")
_END_COMMENT_BYTES_MAX = 65_535
_ZIP64_LOCATOR = struct.Struct("<4sLQL")
_ZIP64_END = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s4B4H3L5H2L")
_LOCAL = struct.Struct("<4s2B4H3L2H")
_ZIP64_EXTRA = 1
_IN_ZIP64 = 0xFFFFFFFF  # says of a field of 32 bits that its value stands in the extra field

_ENCRYPTED, _UTF8_NAME = 1 << 0, 1 << 11
_UNIX = 3
_STORED, _DEFLATED = 0, 8


class BadArchive(Exception):
    """The bytes are no zip, or one that no honest tool writes; ``reason`` says which."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"cannot unzip: {reason}")
        self.reason = reason


class Entry(NamedTuple):
    """One header of the central directory, as far as it is of use.

    Attributes:
        name_is_utf8: whether the zip says so; if not, the name should be in code page 437.
        mode: type and permissions as in inode(7); 0 if the zip was not written on a Unix.
        header_at, data_at: offsets of the local header and of the packed bytes.
    """

    name: bytes
    name_is_utf8: bool
    mode: int
    deflated: bool
    crc: int
    zipped_bytes: int
    unzipped_bytes: int
    header_at: int
    data_at: int


def entries(data: bytes, *, entries_max: int) -> list[Entry]:
    """All entries of a zip in the order of its central directory.

    Raises:
        BadArchive: it is no zip, is one of several parts, is encrypted, is compressed otherwise
            than by deflate, has more than ``entries_max`` entries, or contradicts itself.
    """
    extent = _extent(data)
    if extent.entries > entries_max:
        raise BadArchive(f"it has {extent.entries} entries; {entries_max} are allowed")
    found, at = [], extent.start
    for _ in range(extent.entries):
        entry, at = _entry(data, at, extent.shift)
        found.append(entry)
    if at != extent.end:
        raise BadArchive("its central directory has another size than it says")
    _check_overlap(found, extent.start)
    return found


def contents(data: bytes, entry: Entry) -> Iterator[bytes]:
    """The unpacked bytes of an entry in pieces, never more than it declares.

    Raises:
        BadArchive: they are more or fewer than declared, or damaged. Only the end of the
            iteration says that all was well.
    """
    packed = memoryview(data)[entry.data_at : entry.data_at + entry.zipped_bytes]
    size, crc = 0, 0
    try:
        for piece in _inflated(packed) if entry.deflated else _pieces(packed):
            size += len(piece)
            if size > entry.unzipped_bytes:
                break
            crc = zlib.crc32(piece, crc)
            yield bytes(piece)
    except zlib.error as error:
        raise BadArchive(f"{entry.name!r} is damaged: {error}") from error
    if size != entry.unzipped_bytes:
        raise BadArchive(f"{entry.name!r} has another size than it says")
    if crc != entry.crc:
        raise BadArchive(f"{entry.name!r} is damaged: its CRC differs")


# Records


def _fields(form: struct.Struct, data: bytes, at: int, signature: bytes) -> tuple[int, ...]:
    """The fields of a record after its signature."""
    if at + form.size > len(data):
        raise BadArchive("it is cut short")
    found, *fields = form.unpack_from(data, at)
    if found != signature:
        raise BadArchive(f"no record {signature!r} stands at {at}")
    return tuple(fields)


class _Extent(NamedTuple):
    """Where the central directory lies.

    Attributes:
        shift: what to add to every offset; not zero where something stands before the zip.
    """

    start: int
    end: int
    entries: int
    shift: int


def _extent(data: bytes) -> _Extent:
    end = _end_at(data)
    disk, central_disk, here, count, size, start, _ = _fields(_END, data, end, b"PK\5\6")
    locator_at = end - _ZIP64_LOCATOR.size
    if locator_at >= 0 and data.startswith(b"PK\6\7", locator_at):
        end = locator_at - _ZIP64_END.size
        if end < 0:
            raise BadArchive("its zip64 end record is missing")
        _, _, _, disk, central_disk, here, count, size, start = _fields(
            _ZIP64_END, data, end, b"PK\6\6"
        )
    if disk or central_disk or here != count:
        raise BadArchive("it is one part of several")
    shift = end - size - start
    if shift < 0:
        raise BadArchive("its central directory does not fit")
    return _Extent(end - size, end, count, shift)


def _end_at(data: bytes) -> int:
    """Where the end record stands: the last one whose comment ends with the zip."""
    floor = max(0, len(data) - _END.size - _END_COMMENT_BYTES_MAX)
    at = data.rfind(b"PK\5\6", floor)
    while at >= 0:
        comment_bytes = int.from_bytes(data[at + _END.size - 2 : at + _END.size], "little")
        if at + _END.size + comment_bytes == len(data):
            return at
        at = data.rfind(b"PK\5\6", floor, at + 3)
    raise BadArchive("it has no end record")


def _entry(data: bytes, at: int, shift: int) -> tuple[Entry, int]:
    """The entry at ``at``, and where the next one is."""
    fields = _fields(_CENTRAL, data, at, b"PK\1\2")
    _, system, _, _, flags, method, _, _, crc, zipped_bytes, unzipped_bytes = fields[:11]
    name_bytes, extra_bytes, comment_bytes, disk, _, attributes, header_at = fields[11:]
    extra_at = at + _CENTRAL.size + name_bytes
    name, extra = data[at + _CENTRAL.size : extra_at], data[extra_at : extra_at + extra_bytes]
    if disk:
        raise BadArchive("it is one part of several")
    if flags & _ENCRYPTED:
        raise BadArchive("it is encrypted")
    if method not in (_STORED, _DEFLATED):
        raise BadArchive(f"compression method {method} is not supported")
    unzipped_bytes, zipped_bytes, header_at = _with_zip64(
        (unzipped_bytes, zipped_bytes, header_at), extra
    )
    entry = Entry(
        name=name,
        name_is_utf8=bool(flags & _UTF8_NAME),
        mode=attributes >> 16 if system == _UNIX else 0,
        deflated=method == _DEFLATED,
        crc=crc,
        zipped_bytes=zipped_bytes,
        unzipped_bytes=unzipped_bytes,
        header_at=header_at + shift,
        data_at=_data_at(data, header_at + shift, name),
    )
    return entry, extra_at + extra_bytes + comment_bytes


def _data_at(data: bytes, header_at: int, name: bytes) -> int:
    """Where the packed bytes begin: behind the local header, whose lengths are its own."""
    name_bytes, extra_bytes = _fields(_LOCAL, data, header_at, b"PK\3\4")[-2:]
    name_at = header_at + _LOCAL.size
    if data[name_at : name_at + name_bytes] != name:
        raise BadArchive("an entry has two names")
    return name_at + name_bytes + extra_bytes


def _with_zip64(values: tuple[int, ...], extra: bytes) -> list[int]:
    """The values, those that did not fit into 32 bits taken from the zip64 extra field."""
    wanted = values.count(_IN_ZIP64)
    field = _extra_field(extra, _ZIP64_EXTRA)[: wanted * 8]
    if len(field) < wanted * 8:
        raise BadArchive("a zip64 value is missing")
    wide = iter(struct.unpack(f"<{wanted}Q", field))
    return [next(wide) if value == _IN_ZIP64 else value for value in values]


def _extra_field(extra: bytes, wanted: int) -> bytes:
    at = 0
    while at + 4 <= len(extra):
        kind, size = struct.unpack_from("<2H", extra, at)
        if kind == wanted:
            return extra[at + 4 : at + 4 + size]
        at += 4 + size
    return b""


def _check_overlap(found: list[Entry], central_at: int) -> None:
    """See that no byte belongs to two entries, or to one and the central directory.

    Overlapping entries let a small zip hold a great many large files
    (https://www.bamsoftware.com/hacks/zipbomb/).
    """
    extents = sorted((entry.header_at, entry.data_at + entry.zipped_bytes) for entry in found)
    for (_, end), (next_start, _) in itertools.pairwise([*extents, (central_at, central_at)]):
        if end > next_start:
            raise BadArchive("its entries overlap")


# Contents


def _pieces(packed: memoryview) -> Iterator[memoryview]:
    for at in range(0, len(packed), _CHUNK_BYTES):
        yield packed[at : at + _CHUNK_BYTES]


def _inflated(packed: memoryview) -> Iterator[bytes]:
    """Never more than a chunk in memory, whatever the ratio."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for piece in _pieces(packed):
        pending: bytes | memoryview = piece
        while pending and not inflater.eof:
            yield inflater.decompress(pending, _CHUNK_BYTES)
            pending = inflater.unconsumed_tail
    yield inflater.flush()
    if not inflater.eof:
        raise zlib.error("the stream has no end")
