"""Zips that nobody means well with, and some that only look like it; byte by byte.

``REFUSED`` and ``TOO_LARGE`` are to be refused, ``ACCEPTED`` are to be unpacked. Each is made when
it is asked for.
"""

from __future__ import annotations

import functools
import itertools
import stat
import struct
import zlib

FILE, DIRECTORY, LINK = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755, stat.S_IFLNK | 0o777
HANDLER = b"def handler(event, context): return event\n"
STORED, DEFLATED, BZIP2, LZMA = 0, 8, 12, 14
ENCRYPTED, UTF8 = 1, 1 << 11
UNIX = 3
MIB = 1024 * 1024
UNZIPPED_BYTES_MAX = 262_144_000
ENTRIES_MAX = 65_535


@functools.cache
def deflated_zeros(size):
    packer = zlib.compressobj(9, wbits=-15)
    piece = bytes(MIB)
    packed = [packer.compress(piece) for _ in range(size // MIB)]
    return b"".join([*packed, packer.compress(bytes(size % MIB)), packer.flush()])


def zeros_crc(size):
    crc, piece = 0, bytes(MIB)
    for _ in range(size // MIB):
        crc = zlib.crc32(piece, crc)
    return zlib.crc32(bytes(size % MIB), crc)


class Entry:
    """A local record and its central header, each field of which can be made to lie."""

    def __init__(self, name, content=b"", mode=FILE, method=DEFLATED, **fields):
        self.name = name if isinstance(name, bytes) else name.encode()
        packed = fields.get("packed", content)
        if method == DEFLATED and "packed" not in fields:
            packer = zlib.compressobj(9, wbits=-15)
            packed = packer.compress(content) + packer.flush()
        self.packed, self.mode, self.method = packed, mode, method
        self.crc = fields.get("crc", zlib.crc32(content))
        self.zipped = fields.get("zipped", len(packed))
        self.unzipped = fields.get("unzipped", len(content))
        self.flags = fields.get("flags", UTF8)
        self.system = fields.get("system", UNIX)
        self.disk = fields.get("disk", 0)
        self.extra = fields.get("extra", b"")
        self.comment = fields.get("comment", b"")
        self.local_name = fields.get("local_name", self.name)
        self.header_at = fields.get("header_at")

    def local(self):
        fields = (20, self.flags, self.method, 0, 33, self.crc, self.zipped, self.unzipped)
        head = struct.pack("<4s5H3L2H", b"PK\3\4", *fields, len(self.local_name), 0)
        return head + self.local_name + self.packed

    def central(self, at):
        head = struct.pack(
            "<4s2B5H3L5H2L",
            b"PK\1\2", 20, self.system, 20, self.flags, self.method, 0, 33,
            self.crc, self.zipped, self.unzipped,
            len(self.name), len(self.extra), len(self.comment), self.disk, 0,
            self.mode << 16, at if self.header_at is None else self.header_at,
        )  # fmt: skip
        return head + self.name + self.extra + self.comment


def zip_of(*entries, prefix=b"", comment=b"", disk=0, count=None, size=None, records=None):
    """A zip; ``records`` gets the offset of each record."""
    data, starts = bytearray(), []
    for entry in entries:
        starts.append(len(data))
        data += entry.local()
    central_at = len(data)
    ends = [*starts]
    for entry, at in zip(entries, starts, strict=True):
        ends.append(len(data))
        data += entry.central(at)
    count = len(entries) if count is None else count
    size = len(data) - central_at if size is None else size
    ends.append(len(data))
    if records is not None:
        records += ends
    end = (disk, disk, count & 0xFFFF, count & 0xFFFF, size, central_at, len(comment))
    return prefix + bytes(data) + struct.pack("<4s4H2LH", b"PK\5\6", *end) + comment


def with_handler(*entries, **more):
    """What would work, were it not for the rest."""
    return zip_of(Entry("lambda_function.py", HANDLER), *entries, **more)


def zip64_of(*entries, count=None, size=None, start=None):
    """A zip with the end record that zip64 has; its own says nothing."""
    data, starts = bytearray(), []
    for entry in entries:
        starts.append(len(data))
        data += entry.local()
    central_at = len(data)
    for entry, at in zip(entries, starts, strict=True):
        data += entry.central(at)
    count = len(entries) if count is None else count
    size = len(data) - central_at if size is None else size
    start = central_at if start is None else start
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, len(data), 1)
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    return bytes(data) + wide + locator + end


def zeros(name, size):
    return Entry(
        name, packed=deflated_zeros(size), crc=zeros_crc(size), unzipped=size, method=DEFLATED
    )


def links(*pairs):
    return [Entry(name, target.encode(), LINK) for name, target in pairs]


def named(name, **fields):
    return lambda: with_handler(Entry(name, b"x", **fields))


def linked(*pairs, more=()):
    return lambda: with_handler(*links(*pairs), *more)


def wide_entry(value):
    """An entry whose size stands in the zip64 extra field."""
    extra = struct.pack("<2HQ", 1, 8, value)
    return Entry("f", b"x", unzipped=0xFFFFFFFF, extra=extra)


def overlapping(copies):
    """Many headers for one record, as a bomb that does not recurse has them."""
    kernel = zeros("f", MIB)
    others = [Entry("f", b"", packed=b"", crc=kernel.crc, header_at=0) for _ in range(copies)]
    for other in others:
        other.zipped, other.unzipped = kernel.zipped, kernel.unzipped
    data = bytearray(kernel.local())
    central_at = len(data)
    for entry in (kernel, *others):
        data += entry.central(0)
    size, count = len(data) - central_at, copies + 1
    return bytes(data) + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, size, central_at, 0)


def nested():
    inner = zip_of(zeros("zeros", 10 * MIB))
    for _ in range(5):
        inner = zip_of(*(Entry(f"{number}.zip", inner) for number in range(10)))
    return with_handler(Entry("inner.zip", inner))


def many_directories():
    deep = "/".join("d" * 62)
    return zip_of(*(Entry(f"{number}/{deep}/f", b"") for number in range(1_100)))


def cut():
    """An honest zip, cut at and around every border between records."""
    borders = []
    entries = (Entry("a.py", b"A" * 50), Entry("b/", mode=DIRECTORY), *links(("l", "a.py")))
    honest = with_handler(*entries, comment=b"comment", records=borders)
    lengths = {border + by for border in borders for by in (-1, 0, 1)} | {len(honest) - 1}
    return {f"cut at {length}": honest[:length] for length in sorted(lengths) if length >= 0}


TOO_LARGE = {
    "one bomb": lambda: with_handler(zeros("zeros", UNZIPPED_BYTES_MAX)),
    "bombs together": lambda: zip_of(*(zeros(str(number), 10 * MIB) for number in range(26))),
    "4 GB declared": named("f", unzipped=0xFFFFFFFE),
    "zip64 declares 8 EB": lambda: with_handler(wide_entry(2**63)),
}

REFUSED = {
    "empty": zip_of,
    "no bytes": lambda: b"",
    "text": lambda: b"no zip",
    "4 GB packed": named("f", zipped=0xFFFFFFFE),
    "more than declared": lambda: with_handler(
        Entry("f", packed=deflated_zeros(100 * MIB), crc=0, unzipped=10)
    ),
    "less than declared": named("f", unzipped=1_000),
    "overlapping entries": lambda: overlapping(200),
    "too many entries": lambda: zip64_of(*[Entry("f", method=STORED)] * (ENTRIES_MAX + 1)),
    "too many directories": many_directories,
    "zip64 counts too many": lambda: zip64_of(Entry("f"), count=2**40),
    "zip64 directory of 8 EB": lambda: zip64_of(Entry("f"), size=2**63),
    "zip64 directory elsewhere": lambda: zip64_of(Entry("f"), start=2**63),
    "zip64 value is missing": named("f", unzipped=0xFFFFFFFF),
    "parent": named("../evil"),
    "parents": named("../" * 20 + "etc/evil"),
    "parent within": named("a/../../evil"),
    "absolute": named("/etc/evil"),
    "two slashes": named("//evil"),
    "drive": named("C:/evil"),
    "backslash": named("..\\evil"),
    "absolute link": linked(("l", "/etc/passwd")),
    "link out": linked(("l", "../../etc/passwd")),
    "link out, deeper": linked(("a/b", "../../x")),
    "chain of links": linked(("a/b/c", "../.."), ("x", "a/b/c/..")),
    "file through a link": linked(("l", "d"), more=[Entry("d/", mode=DIRECTORY), Entry("l/f")]),
    "link below a link": linked(("l", "."), ("l/m", "x")),
    "long target": linked(("l", "x" * 5_000)),
    "empty target": linked(("l", "")),
    "NUL in target": linked(("l", "a\0b")),
    "target is not UTF-8": lambda: with_handler(Entry("l", b"\xff", LINK)),
    "fifo": named("f", mode=stat.S_IFIFO | 0o666),
    "character device": named("f", mode=stat.S_IFCHR | 0o666),
    "block device": named("f", mode=stat.S_IFBLK | 0o666),
    "socket": named("f", mode=stat.S_IFSOCK | 0o666),
    "directory with contents": named("d/"),
    "file and directory": lambda: with_handler(Entry("a"), Entry("a/b")),
    "NUL in name": named("a\0b"),
    "no name": named(""),
    "name is not UTF-8": named(b"\xc3\x28"),
    "256 bytes": named("x" * 256),
    "path of 1,025 bytes": named("/".join(["y" * 204] * 5) + "/z"),
    "65 deep": named("/".join("d" * 65)),
    "two names": named("a", local_name=b"b"),
    "encrypted": named("f", flags=ENCRYPTED),
    "bzip2": named("f", method=BZIP2),
    "lzma": named("f", method=LZMA),
    "several disks": lambda: with_handler(disk=1),
    "entry on another disk": named("f", disk=1),
    "bad CRC": named("f", crc=1),
    "broken stream": named("f", packed=b"\xff" * 50),
    "comment is cut": lambda: with_handler(comment=b"x" * 100)[:-1],
    **{name: lambda data=data: data for name, data in cut().items()},
}

ACCEPTED = {
    "plain": with_handler,
    "nested zips": nested,
    "ratio of 1,000": lambda: with_handler(zeros("zeros", 64 * MIB)),
    "zip64": lambda: zip64_of(Entry("lambda_function.py", HANDLER)),
    "comment of 64 KiB": lambda: with_handler(comment=b"PK\5\6" * 16_383),
    "something before it": lambda: with_handler(prefix=b"#!/usr/bin/env python3\n"),
    "comments of entries": named("f", comment=b"PK\1\2" * 1_000),
    "set-uid and sticky": named("f", mode=stat.S_IFREG | 0o7777),
    "modes of no Unix": named("f", mode=stat.S_IFIFO | 0o7777, system=0),
    "unreadable": lambda: with_handler(Entry("d/", mode=stat.S_IFDIR), named_nothing("d/f")),
    "control characters": named("a\x1b[31m\r\n\x07b"),
    "code page 437": named(b"\x82", flags=0),
    "UTF-8 that does not say so": named("é", flags=0),
    "NFC and NFD": lambda: with_handler(Entry("\u00e9", b"C"), Entry("e\u0301", b"D")),
    "case": lambda: with_handler(Entry("Name", b"N"), Entry("name", b"n")),
    "255 bytes": named("x" * 255),
    "64 deep": named("/".join("d" * 64)),
    "path of 1,024 bytes": named("/".join(["y" * 204] * 5)),
    "twice": lambda: with_handler(Entry("f", b"first"), Entry("f", b"second")),
    "file after a link": linked(("l", "lambda_function.py"), more=[Entry("l", b"file")]),
    "links inside": linked(("l", "lambda_function.py"), ("a/m", "../l"), ("n", "missing")),
    "circle of links": linked(("a", "b"), ("b", "a"), ("c", "c")),
    "single dots": named("./a/./b"),
}


def named_nothing(name):
    return Entry(name, b"", stat.S_IFREG)


def mutable():
    """Small zips that together have every kind of record."""
    return [
        with_handler(Entry("d/f.py", b"pass\n" * 20), *links(("d/l", "f.py")), comment=b"c" * 9),
        zip64_of(Entry("lambda_function.py", HANDLER, method=STORED), wide_entry(1)),
        with_handler(Entry(b"\x82", b"x", flags=0), Entry("e/", mode=DIRECTORY), prefix=b"#!\n"),
    ]


assert not set(itertools.chain(REFUSED, TOO_LARGE)) & set(ACCEPTED)
