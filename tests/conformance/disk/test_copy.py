"""What a copy of a disk promises, asked of this host's kernel."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import stat
from functools import partial
from pathlib import Path

import pytest
from conformance.disk.ground import GUEST_UID, MIB

from lambdad_sandbox.disk import CannotMakeDisk, DiskMaker

pytestmark = pytest.mark.root

OTHER_UID, THIRD_UID = GUEST_UID + 65_537, GUEST_UID + 1
TMP_MB = 64
USERS = {"from_uid": GUEST_UID, "to_uid": OTHER_UID}

# Each of the plain functions below runs in a guest, in the disk's root.


def write_all_kinds():
    os.umask(0)
    Path("deep/er").mkdir(parents=True, mode=0o750)
    Path("deep/er/file").write_bytes(b"content" * 100_000)
    Path("deep/er/file").chmod(0o640)
    Path("program").write_text("#!/bin/sh\n")
    Path("program").chmod(0o4755)
    Path("hard").hardlink_to("program")
    Path("soft").symlink_to("deep/er/file")
    Path("long soft").symlink_to("x" * 1_000)
    os.setxattr("program", "user.note", b"of mine")
    os.setxattr("deep", "user.long", b"v" * 3_000)
    os.utime("program", ns=(1, 1_234_567_890_123_456_789))
    with Path("sparse").open("wb") as file:
        file.seek(40 * MIB)
        file.write(b"end")
    os.mkfifo("pipe", 0o600)
    for i in range(3_000):
        Path(f"many{i}").touch()


def check_all_kinds(uid):
    """All is there, and the user's; who looks is the user."""
    assert os.getuid() == uid
    for path in Path().rglob("*"):
        assert path.lstat().st_uid == uid, path
        assert path.lstat().st_gid == 990
    assert stat.S_IMODE(Path("deep/er").stat().st_mode) == 0o750
    assert Path("soft").read_bytes() == b"content" * 100_000
    assert stat.S_IMODE(Path("deep/er/file").stat().st_mode) == 0o640
    program = Path("program").stat()
    assert (stat.S_IMODE(program.st_mode), program.st_nlink) == (0o4755, 2)
    assert program.st_mtime_ns == 1_234_567_890_123_456_789
    assert Path("hard").stat().st_ino == program.st_ino
    assert os.readlink("long soft") == "x" * 1_000  # noqa: PTH115  as the kernel says it
    assert os.getxattr("hard", "user.note") == b"of mine"
    assert os.getxattr("deep", "user.long") == b"v" * 3_000
    sparse = Path("sparse").stat()
    assert sparse.st_size == 40 * MIB + 3
    assert sparse.st_blocks * 512 < MIB
    assert stat.S_ISFIFO(Path("pipe").stat().st_mode)
    assert len(list(Path().glob("many*"))) == 3_000
    Path("program").chmod(0o700)
    Path("deep/er/file").write_text("changed")
    Path("more").write_text("written")


def look(wanted):
    assert {str(path) for path in Path().rglob("*")} == wanted


def write(name, content=b""):
    Path(name).write_bytes(content)


def write_and_remove():
    Path("gone").write_bytes(b"x" * MIB)
    Path("gone").unlink()


def write_without_a_name(told):
    """Have a file that is open and deleted, until killed."""
    Path("named").write_text("kept")
    with Path("deleted").open("wb") as file:
        file.write(b"x" * 8 * MIB)
        file.flush()
        Path("deleted").unlink()
        os.write(told, b"1")
        signal.pause()


def fill(part_mb):
    written = 0
    with contextlib.suppress(OSError), Path("full").open("wb", buffering=0) as file:
        while True:
            written += file.write(b"x" * 4_096)
    assert (part_mb - 1) * MIB <= written <= part_mb * MIB


def test_a_copy_has_every_file_as_it_was_and_they_are_the_other_users(maker, guests):
    disk = maker(TMP_MB)
    assert guests.run(disk, write_all_kinds) == 0
    for uid in (OTHER_UID, THIRD_UID, 4_294_967_294):
        copy = maker(TMP_MB, disk, from_uid=GUEST_UID, to_uid=uid)
        assert guests.run(copy, partial(check_all_kinds, uid), uid=uid) == 0


def test_a_copy_of_a_copy_is_one(maker, guests):
    disk = maker(TMP_MB)
    assert guests.run(disk, write_all_kinds) == 0
    copy = maker(TMP_MB, disk, **USERS)
    again = maker(TMP_MB, copy, from_uid=OTHER_UID, to_uid=THIRD_UID)
    assert guests.run(again, partial(check_all_kinds, THIRD_UID), uid=THIRD_UID) == 0


def test_what_is_another_users_stays_that(maker, guests):
    disk = maker(TMP_MB)
    for name, mode, uid in (("roots", 0o600, 0), ("thirds", 0o600, THIRD_UID)):
        made = os.open(name, os.O_CREAT | os.O_WRONLY, mode, dir_fd=disk._root_fd)
        os.fchown(made, uid, uid)
        os.close(made)
    assert guests.run(disk, partial(write, "mine")) == 0

    def check():
        root = Path().stat()
        assert (root.st_uid, stat.S_IMODE(root.st_mode)) == (0, 0o1777)
        owners = [Path(name).stat().st_uid for name in ("roots", "thirds", "mine")]
        assert owners == [0, THIRD_UID, OTHER_UID]

    assert guests.run(maker(TMP_MB, disk, **USERS), check, uid=OTHER_UID) == 0


def test_copies_and_their_original_do_not_see_what_the_others_write(maker, guests):
    disk = maker(TMP_MB)
    assert guests.run(disk, partial(write, "first")) == 0
    one, other = maker(TMP_MB, disk, **USERS), maker(TMP_MB, disk, **USERS)
    assert guests.run(one, partial(write, "one"), uid=OTHER_UID) == 0
    assert guests.run(other, partial(look, {"first"}), uid=OTHER_UID) == 0
    later = maker(TMP_MB, disk, **USERS)
    assert guests.run(later, partial(look, {"first"}), uid=OTHER_UID) == 0


def test_a_copy_is_made_while_the_original_is_mounted_and_its_files_are_open(maker, guests):
    """What is deleted but open takes room in the copy, and nothing else."""
    disk = maker(TMP_MB)
    reader, writer = os.pipe()
    guest = guests.start(disk, partial(write_without_a_name, writer))
    os.close(writer)
    assert os.read(reader, 1) == b"1"
    os.close(reader)
    copy = maker(TMP_MB, disk, **USERS)
    os.kill(guest, signal.SIGKILL)
    guests.wait(guest)

    def check():
        look({"named"})
        assert Path("named").read_text() == "kept"
        fill(TMP_MB - 8)

    assert guests.run(copy, check, uid=OTHER_UID) == 0


def test_a_copy_takes_of_the_host_what_was_written_and_no_more(maker, guests):
    disk = maker(10_240)
    assert guests.run(disk, partial(write, "some", b"x" * MIB)) == 0
    copy = maker(10_240, disk, **USERS)
    assert os.fstat(copy._image).st_blocks * 512 < 4 * MIB


def test_a_copy_of_a_full_disk_is_full(maker, guests):
    disk = maker(TMP_MB)
    assert guests.run(disk, partial(fill, TMP_MB)) == 0

    def check():
        with pytest.raises(OSError, match="No space left") as refused:
            write("more", b"x" * MIB)
        assert refused.value.errno == errno.ENOSPC

    assert guests.run(maker(TMP_MB, disk, **USERS), check, uid=OTHER_UID) == 0


def test_a_disk_is_empty_until_something_is_on_it(maker, guests):
    fresh, removed, touched, linked = (maker(TMP_MB) for _ in range(4))
    assert fresh.is_empty()
    for disk, act in (
        (removed, write_and_remove),
        (touched, partial(write, "empty")),
        (linked, lambda: Path("link").symlink_to("nowhere")),
    ):
        assert guests.run(disk, act) == 0
    assert removed.is_empty()
    assert not touched.is_empty()
    assert not linked.is_empty()


def test_a_copy_leaves_no_descriptor_and_what_was_discarded_is_not_copied(directory, guests):
    before = {path.name for path in Path("/proc/self/fd").iterdir()}
    with contextlib.closing(DiskMaker(str(directory))) as maker:
        disk = maker.make(TMP_MB)
        maker.copy(disk, **USERS).discard()
        disk.discard()
        with pytest.raises(CannotMakeDisk):
            maker.copy(disk, **USERS)
    assert {path.name for path in Path("/proc/self/fd").iterdir()} == before
