"""Zips that contradict themselves: made by changing single fields of an honest one."""

import io
import struct
import zipfile

import pytest

from lambdad.code import zip_format
from lambdad.code.zip_format import BadArchive
from lambdad.model import limits

# Offsets of fields in a header of the central directory and in the end record.
FLAGS, METHOD, CRC, ZIPPED, UNZIPPED, DISK, HEADER_AT = 8, 10, 16, 20, 24, 34, 42
END_DISK, END_HERE, END_COUNT, END_SIZE, END_START = 4, 8, 10, 12, 16


def read(data):
    """All entries with their contents."""
    found = zip_format.entries(data, entries_max=limits.zip_entries_max)
    return {entry.name: b"".join(zip_format.contents(data, entry)) for entry in found}


def with_field(data, form, *, at, value):
    changed = bytearray(data)
    struct.pack_into(form, changed, at, value)
    return bytes(changed)


def central(data, nth=0):
    """Where the nth header of the central directory stands."""
    at = -1
    for _ in range(nth + 1):
        at = data.index(b"PK\1\2", at + 1)
    return at


def end(data):
    return data.rindex(b"PK\5\6")


@pytest.fixture
def honest(new_zip):
    return new_zip().add("a", b"A" * 1000).add("b", b"B" * 1000).bytes()


def test_an_honest_zip_is_read(honest):
    assert read(honest) == {b"a": b"A" * 1000, b"b": b"B" * 1000}


def test_a_comment_may_follow_even_one_that_looks_like_an_end(honest):
    comment = b"PK\5\6" * 30
    assert read(with_field(honest, "<H", at=len(honest) - 2, value=len(comment)) + comment)


def test_something_may_stand_before_the_zip(honest):
    assert read(b"#!/usr/bin/env python3\n" + honest) == read(honest)


def test_a_zip_written_to_a_pipe_is_read():
    class Pipe(io.RawIOBase):
        written = b""

        def writable(self):
            return True

        def write(self, data):
            self.written += bytes(data)
            return len(data)

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as written:
        written.writestr("a", b"A" * 100_000)
        with written.open("b", "w", force_zip64=True) as member:
            member.write(b"B")
    assert read(pipe.written) == {b"a": b"A" * 100_000, b"b": b"B"}


@pytest.mark.parametrize("data", [b"", b"PK", b"not a zip" * 100, b"PK\3\4" * 50, b"PK\5\6"])
def test_what_is_no_zip_is_refused(data):
    with pytest.raises(BadArchive, match="end record"):
        read(data)


def test_an_empty_zip_has_no_entries(new_zip):
    assert read(new_zip().bytes()) == {}


def test_cut_short_anywhere_it_is_refused(honest):
    for length in range(len(honest)):
        with pytest.raises(BadArchive):
            read(honest[:length])


@pytest.mark.parametrize(
    ("form", "offset", "value", "reason"),
    [
        ("<H", FLAGS, 1, "encrypted"),
        ("<H", METHOD, 12, "method 12"),
        ("<H", METHOD, 9, "method 9"),
        ("<L", CRC, 1, "CRC"),
        ("<L", ZIPPED, 3, "another size|no end|damaged"),
        ("<L", ZIPPED, 500, "overlap"),
        ("<L", ZIPPED, 0xFFFFFFFF, "zip64 value is missing"),
        ("<L", UNZIPPED, 999, "another size"),
        ("<L", UNZIPPED, 1001, "another size"),
        ("<L", UNZIPPED, 0, "another size"),
        ("<H", DISK, 1, "several"),
        ("<L", HEADER_AT, 1, "no record"),
        ("<L", HEADER_AT, 0x7FFFFFFF, "cut short"),
    ],
)
def test_a_header_that_lies_is_refused(honest, form, offset, value, reason):
    crooked = with_field(honest, form, at=central(honest) + offset, value=value)
    with pytest.raises(BadArchive, match=reason):
        read(crooked)


@pytest.mark.parametrize(
    ("form", "offset", "value", "reason"),
    [
        ("<H", END_DISK, 1, "several"),
        ("<H", END_HERE, 1, "several"),
        ("<L", END_SIZE, 0xFFFFFFF, "does not fit"),
        ("<L", END_START, 0xFFFFFFF, "does not fit"),
        ("<L", END_SIZE, 10, "cut short"),
    ],
)
def test_an_end_record_that_lies_is_refused(honest, form, offset, value, reason):
    crooked = with_field(honest, form, at=end(honest) + offset, value=value)
    with pytest.raises(BadArchive, match=reason):
        read(crooked)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_wrong_number_of_entries_is_refused(honest, count):
    crooked = with_field(honest, "<H", at=end(honest) + END_HERE, value=count)
    crooked = with_field(crooked, "<H", at=end(honest) + END_COUNT, value=count)
    with pytest.raises(BadArchive, match=r"another size|cut short"):
        read(crooked)


def test_a_hundred_thousand_entries_are_refused_before_any_is_read(new_zip):
    maker = new_zip(zipfile.ZIP_STORED)
    maker.add("a", b"")
    honest = maker.bytes()
    directory = honest[central(honest) : end(honest)] * 100_000
    start = central(honest)
    zip64 = struct.pack(
        "<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, 100_000, 100_000, len(directory), start
    )
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, start + len(directory), 1)
    crooked = honest[:start] + directory + zip64 + locator + honest[end(honest) :]
    with pytest.raises(BadArchive, match="100000 entries"):
        read(crooked)


def test_as_many_entries_as_allowed_are_read(new_zip):
    maker = new_zip(zipfile.ZIP_STORED)
    for number in range(5):
        maker.add(f"{number}", b"")
    data = maker.bytes()
    assert len(zip_format.entries(data, entries_max=5)) == 5
    with pytest.raises(BadArchive, match="5 entries; 4 are allowed"):
        zip_format.entries(data, entries_max=4)


def test_two_entries_cannot_share_their_bytes(new_zip):
    data = new_zip().add("a", b"A" * 1000).add("a2", b"A" * 1000).bytes()
    first, second = central(data), central(data, 1)
    # The second header becomes a copy of the first: both name the same local header.
    shared = data[:second] + data[first:second] + data[end(data) :]
    size = 2 * (second - first)
    shared = with_field(shared, "<L", at=end(shared) + END_SIZE, value=size)
    with pytest.raises(BadArchive, match="overlap"):
        read(shared)


def test_an_entry_cannot_have_two_names(honest):
    with pytest.raises(BadArchive, match="two names"):
        read(honest.replace(b"a", b"c", 1))


def test_data_cannot_reach_into_the_central_directory(honest):
    at = central(honest, 1) + ZIPPED
    (size,) = struct.unpack_from("<L", honest, at)
    with pytest.raises(BadArchive, match="overlap"):
        read(with_field(honest, "<L", at=at, value=size + 1))


def test_a_bomb_never_gives_more_than_it_declares(new_zip):
    data = new_zip().add("bomb", bytes(50 * limits.MIB)).bytes()
    crooked = with_field(data, "<L", at=central(data) + UNZIPPED, value=1000)
    (entry,) = zip_format.entries(crooked, entries_max=1)
    given = []
    with pytest.raises(BadArchive, match="another size"):
        given.extend(zip_format.contents(crooked, entry))
    assert sum(map(len, given)) <= 1000
