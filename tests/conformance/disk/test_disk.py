"""What the disk of an environment promises, asked of this host's kernel."""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import re
import signal
import stat
from pathlib import Path

import pytest
from conformance.disk.ground import GUEST_UID, MIB, Guests, files_in_use, wait_until

from lambdad_sandbox.disk import DiskMaker, supported

pytestmark = pytest.mark.root

SMALL_MB = 32
BLOCK = bytes(range(256)) * 4096

# Each of the plain functions below runs in a guest, in the disk's root.


def write_until_refused(file, block):
    written = 0
    with contextlib.suppress(OSError):
        while True:
            written += file.write(block)
    return written


def fill(size_bytes):
    """Have so much accepted for good, less the index of a file so large, and nothing more."""
    with Path("full").open("wb", buffering=0) as file:
        written = write_until_refused(file, BLOCK) + write_until_refused(file, BLOCK[:4096])
        assert size_bytes - 16 * 1024 <= written <= size_bytes
        os.fsync(file.fileno())
        assert write_until_refused(file, b"x") == 0
    assert os.statvfs(".").f_bavail == 0
    with Path("full").open("rb") as file:
        while block := file.read(MIB):
            assert block == BLOCK[: len(block)]


def dirty_by_mapping(size_bytes):
    with Path("mapped").open("wb+") as file:
        file.truncate(size_bytes)
        with mmap.mmap(file.fileno(), size_bytes) as memory:
            for offset in range(0, size_bytes, MIB):
                memory[offset : offset + MIB] = BLOCK


def write(name, size_bytes):
    Path(name).write_bytes(BLOCK * (size_bytes // MIB))


def make_files_until_refused():
    made = 0
    with contextlib.suppress(OSError):
        while True:
            Path(str(made)).touch()
            made += 1
    with pytest.raises(OSError, match="No space left"):
        Path("one more").touch()
    Path("0").unlink()
    Path("count").write_text(str(made))


def make_what_is_hard_to_remove(outside):
    os.umask(0)
    for i in range(100):
        Path(f"link{i}").symlink_to(outside)
        Path(f"name{i}\n\udcff").symlink_to(f"link{i - 1}")
    for _ in range(200):
        Path("d" * 255).mkdir()
        os.chdir("d" * 255)
    Path("closed").mkdir()
    Path("closed/file").touch()
    Path("closed").chmod(0)


def be_busy():
    """Write, with a file mapped and its name gone, until killed."""
    with Path("busy").open("wb+") as file:
        file.truncate(MIB)
        with mmap.mmap(file.fileno(), MIB) as memory:
            Path("busy").unlink()
            for i in itertools.count():
                memory[i % MIB] = i % 256
                with contextlib.suppress(OSError):  # The disk is gone, the writing goes on.
                    os.pwrite(file.fileno(), BLOCK, i % 24 * MIB)


def used_bytes(disk):
    return (disk.tmp_mb * 256 - os.fstatvfs(disk._root_fd).f_bavail) * 4096


def names_on(disk):
    return os.listdir(disk._root_fd)  # noqa: PTH208  of a descriptor: pathlib knows none


@pytest.mark.parametrize("tmp_mb", [512, 600, 10_240])
def test_a_fresh_disk_has_exactly_the_size_and_the_inodes_promised(maker, tmp_mb):
    for disk in (maker(tmp_mb), maker(tmp_mb)):
        found = os.statvfs(f"/proc/self/fd/{disk._root_fd}")
        assert found.f_bavail * found.f_frsize == tmp_mb * MIB
        assert tmp_mb * 128 <= found.f_favail <= tmp_mb * 129
        assert tmp_mb * MIB <= found.f_blocks * found.f_frsize <= (tmp_mb + 20) * MIB


def test_a_fresh_disk_is_empty_and_for_everybody_and_tells_nothing_of_the_host(maker, guests):
    disk = maker(SMALL_MB)

    def look():
        status = Path().stat()
        assert list(Path().iterdir()) == []
        assert stat.S_IMODE(status.st_mode) == 0o1777
        assert (status.st_uid, status.st_gid) == (0, 0)
        flags = os.statvfs(".").f_flag
        wanted = os.ST_NOSUID | os.ST_NODEV | os.ST_NOATIME
        assert flags & (wanted | os.ST_NOEXEC | os.ST_RDONLY) == wanted
        assert os.statvfs(".").f_fsid == 0
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        own = next(mount for mount in mounts if mount.split()[1] == str(Path.cwd()))
        assert re.match(r"/proc/self/fd/\d+ ", own)
        Path("own").touch()
        assert Path("own").stat().st_uid == GUEST_UID

    assert guests.run(disk, look) == 0


@pytest.mark.cgroup
def test_64_mb_of_memory_are_enough_to_fill_512_mb_to_the_last_byte(maker, guests, leaf):
    assert guests.run(maker(512), lambda: fill(512 * MIB), leaf) == 0
    assert leaf.oom_kills() == 0


@pytest.mark.cgroup
def test_64_mb_of_memory_are_enough_to_dirty_256_mb_of_a_mapped_file(maker, guests, leaf):
    assert guests.run(maker(512), lambda: dirty_by_mapping(256 * MIB), leaf) == 0
    assert leaf.oom_kills() == 0


def test_files_beyond_the_inodes_are_refused(maker, guests):
    disk = maker(SMALL_MB)
    assert guests.run(disk, make_files_until_refused) == 0
    with open("count", opener=lambda path, _: os.open(path, 0, dir_fd=disk._root_fd)) as file:
        assert SMALL_MB * 128 <= int(file.read()) <= SMALL_MB * 129


def test_disks_do_not_see_each_other_nor_the_host_them(maker, guests, directory):
    one, other = maker(SMALL_MB), maker(SMALL_MB)
    assert guests.run(one, lambda: Path("mine").touch()) == 0
    assert names_on(one) == ["mine"]
    assert names_on(other) == []
    assert str(directory) not in Path("/proc/self/mounts").read_text()
    assert list(directory.iterdir()) == []


def test_what_is_on_it_goes_without_being_walked_and_takes_nothing_along(
    maker, guests, directory, tmp_path
):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").touch()
    disk = maker(SMALL_MB)
    assert guests.run(disk, lambda: make_what_is_hard_to_remove(outside)) == 0
    disk.discard()
    wait_until(lambda: not files_in_use(directory))
    assert (outside / "file").exists()


def test_a_discarded_disk_does_not_write_back_what_was_dirty(directory, guests, monkeypatch):
    kept = []
    open_file = os.open

    def open_and_keep(path, flags, *rest, **named):
        descriptor = open_file(path, flags, *rest, **named)
        if path == str(directory):
            kept.append(os.dup(descriptor))
        return descriptor

    with contextlib.closing(DiskMaker(str(directory))) as maker:
        maker.make(128).discard()  # The template has been made.
        monkeypatch.setattr(os, "open", open_and_keep)
        disk = maker.make(128)
        monkeypatch.undo()
        assert guests.run(disk, lambda: write("dirty", 64 * MIB)) == 0
        disk.discard()
    wait_until(lambda: not files_in_use(directory))
    assert os.fstat(kept[0]).st_blocks * 512 < 32 * MIB
    os.close(kept[0])


def test_a_discard_does_not_wait_for_who_uses_the_disk_and_needs_nothing_more(
    maker, guests, directory
):
    disk = maker(SMALL_MB)
    child = guests.start(disk, be_busy)
    wait_until(lambda: used_bytes(disk) >= 20 * MIB)
    disk.discard()
    disk.discard()
    assert len(files_in_use(directory)) == 1
    os.kill(child, signal.SIGKILL)
    assert guests.wait(child) == -signal.SIGKILL
    wait_until(lambda: not files_in_use(directory))


def test_a_disk_outlives_its_guest_until_it_is_discarded(maker, guests, directory):
    disk = maker(SMALL_MB)
    assert guests.run(disk, lambda: write("left", MIB)) == 0
    assert names_on(disk) == ["left"]
    assert len(files_in_use(directory)) == 1
    disk.discard()
    wait_until(lambda: not files_in_use(directory))


def test_all_is_gone_when_the_owner_and_its_guests_are_killed(maker, guests, directory, tmp_path):
    """``maker`` is here for its ending, which looks for what is left."""

    def own(ready):
        disks = [DiskMaker(str(directory)).make(SMALL_MB) for _ in range(3)]
        guest = Guests(tmp_path / "tmp").start(disks[0], be_busy)
        os.write(ready, guest.to_bytes(8, "little"))
        signal.pause()

    reader, writer = os.pipe()
    owner = os.fork()
    if owner == 0:
        try:
            own(writer)
        finally:
            os._exit(1)
    os.close(writer)
    guest = int.from_bytes(os.read(reader, 8), "little")
    os.close(reader)
    assert len(files_in_use(directory)) == 3
    for process in (owner, guest):
        os.kill(process, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(owner, 0)[1]) == -signal.SIGKILL
    wait_until(lambda: not files_in_use(directory))


def test_there_are_as_many_as_environments_and_not_as_many_as_loop_devices(maker, directory):
    disks = [maker(512) for _ in range(200)]
    assert len(files_in_use(directory)) == 200
    assert {os.fstatvfs(disk._root_fd).f_bavail for disk in disks} == {512 * 256}


def test_a_disk_leaves_no_descriptor(directory):
    before = {path.name for path in Path("/proc/self/fd").iterdir()}
    assert supported(str(directory)) == ""
    assert {path.name for path in Path("/proc/self/fd").iterdir()} == before


def test_a_directory_in_memory_is_refused(maker):
    assert "cannot make a disk in /dev/shm: it is itself in memory" in supported("/dev/shm")
