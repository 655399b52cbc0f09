"""Calls that fail whoever makes them: each tells its errno as the standard library would."""

import errno
import fcntl
import os
from pathlib import Path

import pytest

from lambdad_sandbox import syscalls

NOWHERE = "/nowhere/at/all"


@pytest.mark.parametrize(
    ("call", "number"),
    [
        (lambda: syscalls.mount("none", NOWHERE, "tmpfs", 0), errno.ENOENT),
        (lambda: syscalls.umount2(NOWHERE, 0), errno.ENOENT),
        (lambda: syscalls.umount2("/", 0x10000), errno.EINVAL),
        (lambda: syscalls.unshare(1), errno.EINVAL),
        (lambda: syscalls.prctl(99_999), errno.EINVAL),
        (lambda: syscalls.close_range(9, 3), errno.EINVAL),
        (lambda: syscalls.clone3(0, exit_signal=999), errno.EINVAL),
        (lambda: syscalls.fsconfig_set(-1, "ro"), errno.EINVAL),
        (lambda: syscalls.fsconfig_create(-1), errno.EINVAL),
        (
            lambda: syscalls.clone3(syscalls.CLONE_NEWNS | 0x200, exit_signal=17),
            errno.EINVAL,
        ),
    ],
)
def test_a_bad_call_raises_its_errno(call, number):
    with pytest.raises(OSError) as caught:  # noqa: PT011  the errno is what is asked
        call()
    assert caught.value.errno == number
    assert caught.value.strerror == os.strerror(number)


@pytest.mark.parametrize(
    "call",
    [
        lambda: syscalls.move_mount(-1, NOWHERE),
        lambda: syscalls.open_tree(NOWHERE),
        lambda: syscalls.read_only_tree(NOWHERE),
        lambda: syscalls.mount_setattr(-1, syscalls.MOUNT_ATTR_RDONLY),
        lambda: syscalls.pivot_root(NOWHERE, NOWHERE),
    ],
)
def test_a_bad_call_of_the_mount_family_is_refused_whoever_asks(call):
    with pytest.raises(OSError) as caught:  # noqa: PT011  the errno is what is asked
        call()
    assert caught.value.errno in (errno.EPERM, errno.EBADF, errno.ENOENT)


def test_close_range_closes_this_range_and_no_more():
    below, first, last, above = (fcntl.fcntl(0, fcntl.F_DUPFD, 900 + n) for n in range(4))
    assert [below, first, last, above] == [900, 901, 902, 903]
    try:
        syscalls.close_range(first, last)
        for closed in (first, last):
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.fstat(closed)
    finally:
        os.close(below)
        os.close(above)


def test_a_failed_read_only_tree_leaves_no_descriptor():
    before = {path.name for path in Path("/proc/self/fd").iterdir()}
    with pytest.raises(OSError):  # noqa: PT011  whichever
        syscalls.read_only_tree(NOWHERE)
    assert {path.name for path in Path("/proc/self/fd").iterdir()} == before
