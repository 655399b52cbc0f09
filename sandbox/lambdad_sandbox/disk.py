"""The disk of an environment's /tmp: an ext4 image of exact size, mounted nowhere yet.

It lives in a file without a name, behind a loop device that frees itself, in a mount that only
descriptors hold. So all of it ends with the last process that has it, be that by SIGKILL. What a
function writes is page cache, which gives way when the function's memory is short; on a tmpfs it
would be memory of the function. The file is sparse: it takes from the host what was written.

Not for hosts without root, and not the tmpfs that serves them: see ``steps.Tmpfs``. Methods here
block; nothing in here walks what a guest has made.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from lambdad_sandbox import syscalls
from lambdad_sandbox.errors import SandboxError
from lambdad_sandbox.image import BLOCK_BYTES, INODE_BYTES, change_owner, copy, mark_clean, pieces

_BLOCKS_PER_MB = 256
_INODES_PER_MB = 128
_INODES_OF_EXT4 = 10  # never a file's; see ext4(5)
# The kernel keeps back so many blocks, for metadata of writes that it has already accepted:
# a 50th of all, and no more than 4,096 (fs/ext4/super.c, ext4_calculate_resv_clusters).
_KEPT_BACK_PART, _KEPT_BACK_MAX = 50, 4_096
# Bitmaps, descriptors, the root, roundings: 330 blocks in the largest image.
_SPARE_BLOCKS = 512

# No journal: nothing here outlives its environment. Nothing at the start but one superblock.
_FEATURES = (
    "none,extent,flex_bg,filetype,dir_index,large_file,huge_file,dir_nlink,extra_isize,"
    "sparse_super2,uninit_bg"
)
# Flags are true, strings have a value, see ext4(5). Without barriers fsync(2) of a guest does
# not make the host's journal commit. Without discard a deletion is not work for the host: the
# file never becomes larger than the disk.
_OPTIONS = (
    ("noinit_itable", None),
    ("nobarrier", None),
    ("nodiscard", None),
    ("errors", "continue"),
)

# include/uapi/linux/loop.h
_LOOP_CTL_GET_FREE, _LOOP_CONFIGURE = 0x4C82, 0x4C0A
_LO_FLAGS_AUTOCLEAR, _LO_FLAGS_DIRECT_IO = 4, 16
# struct loop_config: descriptor, block size, 13 words of loop_info64 of which the last holds the
# flags, three names, 10 words that are not used.
_LOOP_CONFIG = struct.Struct("II 5Q 4I 160x 2Q 8Q")
# Each try that fails means that somebody else on this host has taken the device, or removed it.
_LOOP_TRIES = 100
_LOOP_LOST = (errno.EBUSY, errno.ENOENT, errno.ENXIO, errno.ENODEV)

# fs/ext4/ext4.h
_EXT4_IOC_SHUTDOWN, _EXT4_GOING_FLAGS_NOLOGFLUSH = 0x8004587D, 2
# So much may be written to the host's disk at the end for nothing. It takes less than 20 ms; to
# shut down writes nothing, but leaves an alert in the kernel's log and on its console.
_WRITE_BACK_BYTES_MAX = 16 * 1024 * 1024

_PROBE_MB = 16

_INSTALL = "install e2fsprogs"
_PRIVILEGES = "a real file system, root and CAP_SYS_ADMIN are needed; in a container, --privileged"


class CannotMakeDisk(SandboxError):
    """This host has not what a disk takes, or no room for it."""


@dataclass(frozen=True)
class Template:
    """What a fresh disk of one size holds: an image, without the zeros between the pieces."""

    image_bytes: int
    pieces: tuple[tuple[int, bytes], ...]


class Disk:
    """A disk, empty or a copy, mounted but attached nowhere.

    Attributes:
        tmp_mb: what ordinary users can write, in MiB.
        tree_fd: the detached mount. Attach it once, with a copy of the descriptor; it stays
            this object's.
    """

    def __init__(self, tmp_mb: int, tree_fd: int, root_fd: int, image: int) -> None:
        self.tmp_mb, self.tree_fd, self._image = tmp_mb, tree_fd, image
        # Keeps the file system until ``discard``, whoever else lets go of it: what is dirty then
        # is dropped here, and not written to the disk by a process that is about to die.
        self._root_fd = root_fd
        self._free_at_first = _free(root_fd)

    def is_empty(self) -> bool:
        """Whether it is as it was made: as good as another of its size, if it is not a copy."""
        return _free(self._root_fd) == self._free_at_first

    def copy_to(self, image: int) -> None:
        """Write all that is on it to an empty file of its image's size.

        Nothing may write to it or discard it meanwhile, but it may be mounted.
        """
        syscalls.syncfs(self._root_fd)
        copy(self._image, image)

    def discard(self) -> None:
        """Drop what was written; file, device and mount go with the last process that uses them.

        May be called again, and when the guest is about to be killed: it does not then wait for
        a large write-back, as writing to a disk on which much stands fails with EIO from now on.
        """
        if self._root_fd < 0:
            return
        root_fd, others = self._root_fd, (self.tree_fd, self._image)
        self._root_fd = self.tree_fd = self._image = -1
        try:
            used_blocks = self._free_at_first[0] - _free(root_fd)[0]
            if used_blocks * BLOCK_BYTES > _WRITE_BACK_BYTES_MAX:
                how = struct.pack("I", _EXT4_GOING_FLAGS_NOLOGFLUSH)
                fcntl.ioctl(root_fd, _EXT4_IOC_SHUTDOWN, how)
        finally:
            for descriptor in (*others, root_fd):
                os.close(descriptor)


class DiskMaker:
    """Makes disks, whose files are in one directory of the host.

    Args:
        directory: on a real file system, for the daemon alone.

    Raises:
        CannotMakeDisk: the directory or this host will not do.
    """

    def __init__(self, directory: str) -> None:
        _refuse_memory(directory)
        self._directory = directory
        self._mke2fs, self._tune2fs = _program("mke2fs"), _program("tune2fs")
        with _cannot("see the devices of this kernel", _PRIVILEGES):
            self._devices = _mounted("devtmpfs", (), 0)
        try:
            with _cannot("use loop devices", "load the module: modprobe loop"):
                self._control = _open_device(self._devices, "loop-control", os.O_RDWR)
        except CannotMakeDisk:
            os.close(self._devices)
            raise
        # 50 KB each; a host has few sizes, and who has many waits 10 ms for those not kept.
        self._template = lru_cache(maxsize=64)(self._made_template)

    def close(self) -> None:
        """Make no more; the disks that were made stay."""
        os.close(self._control)
        os.close(self._devices)

    def make(self, tmp_mb: int) -> Disk:
        """A disk with room for ``tmp_mb`` MiB: 1 ms, and 10 ms more for the first of a size.

        Raises:
            CannotMakeDisk: the kernel or the host's disk refused; nothing is left.
        """
        template = self._template(tmp_mb)
        with self._image(template.image_bytes) as image:
            for offset, content in template.pieces:
                os.pwrite(image, content, offset)
            return _disk(tmp_mb, self._mount(image), image)

    def copy(self, disk: Disk, *, from_uid: int, to_uid: int) -> Disk:
        """A disk of its own with what is on ``disk``, where one user's files are another's.

        2 ms, and as long as it takes to copy what was written. Nothing may write to ``disk`` or
        discard it meanwhile. A file that is open but deleted comes along as space that is
        taken: it has no name by which it could be had.

        Raises:
            CannotMakeDisk: as for ``make``.
        """
        with self._image(image_blocks(disk.tmp_mb) * BLOCK_BYTES) as image:
            disk.copy_to(image)
            change_owner(image, from_uid, to_uid)
            mark_clean(image)
            return _disk(disk.tmp_mb, self._mount(image), image)

    def _made_template(self, tmp_mb: int) -> Template:
        """Format an image, and let the kernel say how much of it is too much."""
        image_bytes = image_blocks(tmp_mb) * BLOCK_BYTES
        with self._image(image_bytes) as image:
            _run([self._mke2fs, *format_options(tmp_mb)], image)
            surplus_blocks = _tidy(self._mount(image)) - tmp_mb * _BLOCKS_PER_MB
            assert surplus_blocks >= 0, "the image has no room for its own metadata"
            _run([self._tune2fs, "-r", str(surplus_blocks)], image)
            return Template(image_bytes, tuple(pieces(image)))

    @contextlib.contextmanager
    def _image(self, image_bytes: int) -> Iterator[int]:
        """A sparse file without a name, open in the context; a loop device keeps it beyond."""
        with _cannot(f"make a disk in {self._directory}", _PRIVILEGES):
            flags = os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC
            image = os.open(self._directory, flags, 0o600)
            try:
                os.ftruncate(image, image_bytes)
                yield image
            finally:
                os.close(image)

    def _mount(self, image: int) -> int:
        device = self._loop_device(image)
        try:
            options = (("source", f"/proc/self/fd/{device}"), *_OPTIONS)
            attributes = (
                syscalls.MOUNT_ATTR_NOSUID | syscalls.MOUNT_ATTR_NODEV | syscalls.MOUNT_ATTR_NOATIME
            )
            return _mounted("ext4", options, attributes)
        finally:
            os.close(device)

    def _loop_device(self, image: int) -> int:
        """A loop device of ``image``, open for reading; it frees itself when nobody has it.

        The kernel's own list of devices has the new ones too, which the /dev of a container
        has not. Some kernels refuse to mount what somebody could write to: hence for reading.
        """
        for _ in range(_LOOP_TRIES):
            name = f"loop{fcntl.ioctl(self._control, _LOOP_CTL_GET_FREE)}"
            try:
                return self._claimed(name, image)
            except OSError as error:
                if error.errno not in _LOOP_LOST:
                    raise
        raise CannotMakeDisk("cannot have a loop device: others were faster every time")

    def _claimed(self, name: str, image: int) -> int:
        writable = _open_device(self._devices, name, os.O_RDWR)
        try:
            fcntl.ioctl(writable, _LOOP_CONFIGURE, _loop_config(image))
            return _open_device(self._devices, name, os.O_RDONLY)
        finally:
            os.close(writable)


def supported(directory: str) -> str:
    """Why disks cannot be made in ``directory``; empty if they can. Makes one and drops it."""
    try:
        with contextlib.closing(DiskMaker(directory)) as maker:
            maker.make(_PROBE_MB).discard()
    except SandboxError as error:
        return str(error)
    return ""


def image_blocks(tmp_mb: int) -> int:
    """Blocks of an image that has room for ``tmp_mb`` MiB of files, and little more."""
    inode_blocks = tmp_mb * _INODES_PER_MB * INODE_BYTES // BLOCK_BYTES
    blocks = tmp_mb * _BLOCKS_PER_MB + inode_blocks
    kept_back = min(_KEPT_BACK_MAX, blocks // (_KEPT_BACK_PART - 1) + 1)
    return blocks + kept_back + _SPARE_BLOCKS


def format_options(tmp_mb: int) -> list[str]:
    """Options of mke2fs(8); one group of metadata, so that an empty image is a few blocks."""
    return [
        "-q", "-F", "-O", _FEATURES, "-b", str(BLOCK_BYTES), "-I", str(INODE_BYTES),
        "-N", str(tmp_mb * _INODES_PER_MB + _INODES_OF_EXT4), "-m", "0", "-G", "128",
        "-E", "num_backup_sb=0,nodiscard,root_owner=0:0", "-e", "continue", "-U", "clear",
    ]  # fmt: skip


def _refuse_memory(directory: str) -> None:
    """Files of a tmpfs are memory, be it whose it may, see proc(5) for mountinfo."""
    with _cannot(f"make a disk in {directory}"):
        device = os.stat(directory).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        for mount in mounts:
            place, _, kind = mount.partition(" - ")
            if place.split(" ")[2] == number and kind.startswith(("tmpfs ", "ramfs ")):
                raise CannotMakeDisk(
                    f"cannot make a disk in {directory}: it is itself in memory",
                    "put the state directory on a disk",
                )


def _program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        raise CannotMakeDisk(f"cannot format a disk: there is no {name}", _INSTALL)
    return found


def _run(command: list[str], image: int) -> None:
    """Let a program of e2fsprogs work on ``image``, with none of the host's own defaults."""
    ran = subprocess.run(
        [*command, f"/proc/self/fd/{image}"],
        pass_fds=[image],
        env={"MKE2FS_CONFIG": os.devnull, "LC_ALL": "C"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if ran.returncode:
        said = ran.stderr.decode(errors="replace").strip()
        raise CannotMakeDisk(f"cannot format a disk: {said}", _INSTALL + " 1.43 or later")


def _tidy(tree_fd: int) -> int:
    """Make a formatted disk look like a fresh /tmp; the blocks an ordinary user has then."""
    try:
        root_fd = _open_root(tree_fd)
        try:
            os.rmdir("lost+found", dir_fd=root_fd)
            os.fchmod(root_fd, 0o1777)
            return os.fstatvfs(root_fd).f_bavail
        finally:
            os.close(root_fd)
    finally:
        os.close(tree_fd)  # Unmounts, and so writes it all.


def _disk(tmp_mb: int, tree_fd: int, image: int) -> Disk:
    with contextlib.ExitStack() as refused:
        refused.callback(os.close, tree_fd)
        root_fd = _open_root(tree_fd)
        refused.callback(os.close, root_fd)
        disk = Disk(tmp_mb, tree_fd, root_fd, os.dup(image))
        refused.pop_all()
        return disk


def _free(root_fd: int) -> tuple[int, int]:
    """Blocks and inodes that are left."""
    found = os.fstatvfs(root_fd)
    return found.f_bfree, found.f_ffree


def _open_root(tree_fd: int) -> int:
    return os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=tree_fd)


def _open_device(devices: int, name: str, flags: int) -> int:
    return os.open(name, flags | os.O_CLOEXEC, dir_fd=devices)


def _mounted(fstype: str, options: tuple[tuple[str, str | None], ...], attributes: int) -> int:
    """A detached mount of a file system with ``options``."""
    context = syscalls.fsopen(fstype)
    try:
        for key, value in options:
            syscalls.fsconfig_set(context, key, value)
        syscalls.fsconfig_create(context)
        return syscalls.fsmount(context, attributes)
    finally:
        os.close(context)


def _loop_config(image: int) -> bytes:
    """Direct I/O where the host's file system can: else all would be cached twice."""
    flags = _LO_FLAGS_AUTOCLEAR | _LO_FLAGS_DIRECT_IO
    return _LOOP_CONFIG.pack(image, BLOCK_BYTES, *[0] * 8, flags, *[0] * 10)


@contextlib.contextmanager
def _cannot(deed: str, hint: str = "") -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CannotMakeDisk(f"cannot {deed}: {error.strerror}", hint) from error
