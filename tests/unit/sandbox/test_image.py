"""What is known of images, asked of files that no kernel has mounted."""

import os
import struct

import pytest

from lambdad_sandbox import image
from lambdad_sandbox.image import BLOCK_BYTES, INODE_BYTES

FIRST, SECOND, THIRD = 1_879_048_192, 1_879_048_193, 1_879_113_729


def inode(uid):
    """One that is full of ones but for its user."""
    made = bytearray(b"\xff" * INODE_BYTES)
    struct.pack_into("<H", made, 2, uid & 0xFFFF)
    struct.pack_into("<H", made, 0x78, uid >> 16)
    return bytes(made)


@pytest.fixture
def file(tmp_path):
    descriptor = os.open(tmp_path, os.O_TMPFILE | os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def test_only_inodes_of_that_user_become_the_others():
    users = [FIRST, 0, SECOND, FIRST, FIRST & 0xFFFF, THIRD]
    changed = image.with_owner(b"".join(map(inode, users)), FIRST, THIRD)
    wanted = [THIRD if user == FIRST else user for user in users]
    assert changed == b"".join(map(inode, wanted))


def test_no_inodes_are_nobodys():
    assert image.with_owner(b"", FIRST, SECOND) == b""
    unused = bytes(BLOCK_BYTES)
    assert image.with_owner(unused, FIRST, SECOND) == unused


def test_extents_are_what_holds_data_between_two_places(file):
    os.ftruncate(file, 64 * BLOCK_BYTES)
    assert list(image.extents(file)) == []
    os.pwrite(file, b"x" * 3 * BLOCK_BYTES, 4 * BLOCK_BYTES)
    os.pwrite(file, b"x", 63 * BLOCK_BYTES)
    in_blocks = lambda *place: [  # noqa: E731  used three times, in this test
        (start // BLOCK_BYTES, -(-end // BLOCK_BYTES))
        for start, end in image.extents(file, *(at * BLOCK_BYTES for at in place))
    ]
    assert in_blocks() == [(4, 7), (63, 64)]
    assert in_blocks(5, 6) == [(5, 6)]
    assert in_blocks(8, 60) == []


def test_a_copy_has_the_data_and_the_holes(file, tmp_path):
    os.ftruncate(file, 1024 * BLOCK_BYTES)
    os.pwrite(file, b"a" * BLOCK_BYTES, 7 * BLOCK_BYTES)
    os.pwrite(file, b"b" * 2 * BLOCK_BYTES, 900 * BLOCK_BYTES)
    copied = os.open(tmp_path / "copy", os.O_CREAT | os.O_RDWR)
    os.ftruncate(copied, 1024 * BLOCK_BYTES)
    image.copy(file, copied)
    assert os.fstat(copied).st_size == 1024 * BLOCK_BYTES
    assert list(image.extents(copied)) == list(image.extents(file))
    assert list(image.pieces(copied)) == list(image.pieces(file))
    os.close(copied)


def test_a_file_system_that_shares_blocks_is_asked_to(file, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(image.fcntl, "ioctl", lambda *arguments: asked.append(arguments))
    monkeypatch.delattr(os, "copy_file_range")
    image.copy(file, 99)
    assert asked == [(99, 0x40049409, file)]


def test_a_copy_that_gets_no_further_is_refused(file, monkeypatch):
    os.pwrite(file, b"x", 0)
    monkeypatch.setattr(os, "copy_file_range", lambda *_: 0)
    with pytest.raises(OSError, match="the image ends early"):
        image.copy(file, file)


def test_a_copy_is_marked_as_written_to_the_end_and_keeps_its_other_marks(file):
    os.pwrite(file, b"\xff" * 2 * BLOCK_BYTES, 0)
    os.pwrite(file, b"\x82\xff", 1_024 + 0x3A)
    image.mark_clean(file)
    marked = bytearray(b"\xff" * 2 * BLOCK_BYTES)
    marked[1_024 + 0x3A] = 0x83
    assert os.pread(file, 3 * BLOCK_BYTES, 0) == marked
