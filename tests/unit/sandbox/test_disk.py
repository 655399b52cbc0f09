import os
import shutil

import pytest

from lambdad_sandbox import disk
from lambdad_sandbox.disk import CannotMakeDisk, format_options, image_blocks, supported
from lambdad_sandbox.image import pieces

MIB = 1024 * 1024


@pytest.fixture
def image(tmp_path):
    """An empty sparse file of 1 MiB, and a descriptor of it."""
    descriptor = os.open(tmp_path / "image", os.O_RDWR | os.O_CREAT, 0o600)
    os.ftruncate(descriptor, MIB)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize("tmp_mb", [16, 512, 513, 600, 4_096, 10_240])
def test_an_image_has_room_for_the_files_their_inodes_and_what_the_kernel_keeps_back(tmp_mb):
    blocks = image_blocks(tmp_mb)
    inode_blocks = tmp_mb * 8
    kept_back = min(blocks // 50, 4_096)
    spare = blocks - tmp_mb * 256 - inode_blocks - kept_back
    assert 500 <= spare <= 530


def test_the_format_names_no_host_and_takes_no_room_for_a_journal():
    options = format_options(512)
    assert options[options.index("-U") + 1] == "clear"
    features = options[options.index("-O") + 1].split(",")
    assert features[0] == "none"
    assert not {"has_journal", "resize_inode", "quota", "encrypt", "verity"} & set(features)
    assert options[options.index("-N") + 1] == str(512 * 128 + 10)


def test_the_request_to_the_loop_driver_has_the_size_of_the_kernels_structure():
    assert len(disk._loop_config(3)) == 304


def test_only_the_blocks_that_are_not_zero_are_kept(image):
    os.pwrite(image, b"x", 0)
    os.pwrite(image, bytes(8_192), 65_536)
    os.pwrite(image, b"y" * 4_096, MIB - 4_096)
    assert list(pieces(image)) == [
        (0, b"x" + bytes(4_095)),
        (MIB - 4_096, b"y" * 4_096),
    ]


def test_an_empty_file_has_no_pieces(image):
    assert list(pieces(image)) == []


@pytest.mark.parametrize("program", ["mke2fs", "tune2fs"])
def test_a_host_that_cannot_format_says_what_is_missing(tmp_path, monkeypatch, program):
    monkeypatch.setattr(
        shutil, "which", lambda name, path: None if name == program else f"/sbin/{name}"
    )
    monkeypatch.setattr(disk, "_refuse_memory", lambda directory: None)
    reason = supported(str(tmp_path))
    assert reason == f"cannot format a disk: there is no {program} (install e2fsprogs)"


def test_a_directory_that_is_not_there_is_named(tmp_path):
    reason = supported(str(tmp_path / "none"))
    assert reason == f"cannot make a disk in {tmp_path / 'none'}: No such file or directory"


def test_what_the_formatter_says_is_passed_on(image, tmp_path):
    program = tmp_path / "mke2fs"
    program.write_text("#!/bin/sh\necho 'no such feature' >&2\nexit 1\n")
    program.chmod(0o700)
    with pytest.raises(CannotMakeDisk, match="cannot format a disk: no such feature"):
        disk._run([str(program)], image)
