"""Removing trees that somebody else has filled: no link is followed, no depth is too deep.

An unpacker that was taken over may leave closed directories and any depth of them. Whoever filled
the tree must have ended: between a look and a deed nothing may change.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(path: Path) -> None:
    """Remove a tree, a file or a link, never what a link points to.

    A directory found in another one is moved up to the top before its turn comes. So two
    descriptors are enough, and nothing recurses.

    Raises:
        OSError: something cannot be removed, EXDEV if something is mounted in the tree.
    """
    if not stat.S_ISDIR(path.lstat().st_mode):
        path.unlink()
        return
    path.chmod(0o700)
    prefix = secrets.token_hex(16)
    fresh = (f"{prefix}.{number}" for number in itertools.count())
    with _opened(path) as top:
        while names := os.listdir(top):  # noqa: PTH208  a descriptor is no path
            for name in names:
                if _is_directory(name, top):
                    _empty(name, top, fresh)
                    os.rmdir(name, dir_fd=top)
                else:
                    os.unlink(name, dir_fd=top)
    path.rmdir()


def _empty(name: str, top: int, fresh: Iterator[str]) -> None:
    """Remove what is in a directory below ``top``; directories in it move to fresh names there."""
    os.chmod(name, 0o700, dir_fd=top)
    with _opened(name, top) as here:
        for inner in os.listdir(here):  # noqa: PTH208
            if _is_directory(inner, here):
                # To move a directory is to write in it: its ".." changes.
                os.chmod(inner, 0o700, dir_fd=here)
                os.rename(inner, next(fresh), src_dir_fd=here, dst_dir_fd=top)
            else:
                os.unlink(inner, dir_fd=here)


def _is_directory(name: str, directory: int) -> bool:
    return stat.S_ISDIR(os.stat(name, dir_fd=directory, follow_symlinks=False).st_mode)


@contextlib.contextmanager
def _opened(path: str | Path, directory: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, _OPEN_DIRECTORY, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
