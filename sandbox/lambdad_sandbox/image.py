"""The image of a disk, in a sparse file that no kernel has mounted: its copy, and whose it is.

All of it is done to blocks: no path is walked, nothing that a guest has named is looked up, and
it takes as long as there are blocks in use. What is known here of ext4 is where it keeps inodes,
see Documentation/filesystems/ext4 in the kernel's sources, without the features `64bit`,
`meta_bg` and `metadata_csum`. How images are formatted is ``disk``'s.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator

BLOCK_BYTES = 4_096
INODE_BYTES = 256

_FICLONE = 0x40049409  # include/uapi/linux/fs.h
_PART_BYTES = 1024 * 1024

# The superblock lies behind room for a boot sector; the next block begins the list of groups.
_SUPERBLOCK_AT, _GROUPS_AT = 1_024, BLOCK_BYTES
# struct ext4_super_block: blocks, blocks of a group, inodes of a group; the flags of its state.
_SUPERBLOCK = struct.Struct("<4xI24xI4xI")
_STATE_AT, _VALID_FS = _SUPERBLOCK_AT + 0x3A, 1
# struct ext4_group_desc: the block where its inodes begin.
_GROUP = struct.Struct("<8xI20x")
# struct ext4_inode: the user in two halves, and where they stand.
_INODE = struct.Struct(f"<2xH116xH{INODE_BYTES - 122}x")
_USER_LOW_AT, _USER_HIGH_AT = 2, 120


def extents(image: int, start: int = 0, end: int | None = None) -> Iterator[tuple[int, int]]:
    """Where a file holds data: each first byte, and the one after the last; see lseek(2)."""
    end = os.fstat(image).st_size if end is None else end
    while start < end:
        try:
            start = os.lseek(image, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        if start < end:
            stop = min(end, os.lseek(image, start, os.SEEK_HOLE))
            yield start, stop
            start = stop


def pieces(image: int) -> Iterator[tuple[int, bytes]]:
    """The blocks that are not all zeros, and where they are."""
    for start, end in extents(image):
        for offset in range(start, end, BLOCK_BYTES):
            block = os.pread(image, BLOCK_BYTES, offset)
            if any(block):
                yield offset, block


def copy(source: int, target: int) -> None:
    """Let an empty file of the same size hold what ``source`` does; holes stay holes.

    Where the host's file system can, blocks are shared until one of them is written to.
    """
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError:  # It cannot, as most; what else may be wrong is met again.
        for start, end in extents(source):
            _copy_extent(source, target, start, end)


def _copy_extent(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        copied = os.copy_file_range(source, target, end - start, start, start)
        if not copied:
            raise OSError(errno.EIO, "the image ends early")
        start += copied


def change_owner(image: int, from_uid: int, to_uid: int) -> None:
    """Give all files of one user to another; no other user's, and no user's access lists."""
    for table_start, table_end in _inode_tables(image):
        for start, end in extents(image, table_start, table_end):
            for offset in range(start, end, _PART_BYTES):
                inodes = os.pread(image, min(_PART_BYTES, end - offset), offset)
                changed = with_owner(inodes, from_uid, to_uid)
                if changed != inodes:
                    os.pwrite(image, changed, offset)


def with_owner(inodes: bytes, from_uid: int, to_uid: int) -> bytes:
    """Inodes as they are when those of one user are another's."""
    changed = bytearray(inodes)
    wanted = from_uid & 0xFFFF, from_uid >> 16
    for number, halves in enumerate(_INODE.iter_unpack(inodes)):
        if halves == wanted:
            at = number * INODE_BYTES
            struct.pack_into("<H", changed, at + _USER_LOW_AT, to_uid & 0xFFFF)
            struct.pack_into("<H", changed, at + _USER_HIGH_AT, to_uid >> 16)
    return bytes(changed)


def _inode_tables(image: int) -> Iterator[tuple[int, int]]:
    superblock = os.pread(image, _SUPERBLOCK.size, _SUPERBLOCK_AT)
    blocks, group_blocks, group_inodes = _SUPERBLOCK.unpack(superblock)
    groups = -(-blocks // group_blocks)
    descriptors = os.pread(image, groups * _GROUP.size, _GROUPS_AT)
    for (block,) in _GROUP.iter_unpack(descriptors):
        start = block * BLOCK_BYTES
        yield start, start + group_inodes * INODE_BYTES


def mark_clean(image: int) -> None:
    """Say of a copy that all of it was written; the kernel would else complain when it mounts it.

    A mounted file system bears no such mark, and one without a journal cannot say more.
    """
    (state,) = struct.unpack("<H", os.pread(image, 2, _STATE_AT))
    os.pwrite(image, struct.pack("<H", state | _VALID_FS), _STATE_AT)
