"""Several trees as one, as layers are unpacked over each other: of a path, the last tree's counts.

``chosen`` decides what comes from where; ``merge`` carries that out with links to the same files,
which cost no space and are never written to. The trees stand still and nobody else fills them.
"""

from __future__ import annotations

import errno
import os
import posixpath
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

# No more links to this file, or none at all on this file system: see link(2).
_NO_LINK = (errno.EMLINK, errno.EPERM)


def contents(tree: Path) -> dict[str, bool]:
    """Every path below a tree, parents first, and whether it is a directory. No link is followed.

    Raises:
        OSError: it cannot be read.
    """
    found: dict[str, bool] = {}
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        with os.scandir(tree / inside) as entries:
            for entry in entries:
                path = posixpath.join(inside, entry.name)
                found[path] = entry.is_dir(follow_symlinks=False)
                if found[path]:
                    waiting.append(path)
    return found


def size_bytes(tree: Path) -> int:
    """What the files of a tree take, each as long as it says it is.

    Raises:
        OSError: it cannot be read.
    """
    files = (path for path, is_directory in contents(tree).items() if not is_directory)
    return sum((tree / path).lstat().st_size for path in files)


def chosen(trees: Sequence[Mapping[str, bool]]) -> dict[str, int]:
    """Which tree each path is taken from, parents first. Pure.

    Directories are one with those of the same path. Anything else hides what earlier trees have
    under its path and below.

    Args:
        trees: what ``contents`` says of each, in order.
    """
    taken: dict[str, int] = {"": -1}
    directories = {""}
    for number in reversed(range(len(trees))):
        for path, is_directory in trees[number].items():
            if path in taken or posixpath.dirname(path) not in directories:
                continue
            taken[path] = number
            if is_directory:
                directories.add(path)
    del taken[""]
    return taken


def merge(trees: Sequence[Path], into: Path) -> None:
    """Fill ``into``, an empty directory, with all that ``trees`` have.

    Raises:
        OSError: the file system would not take it; what is there is the caller's to remove.
    """
    found = [contents(tree) for tree in trees]
    into.chmod(0o755)
    for path, number in chosen(found).items():
        if found[number][path]:
            (into / path).mkdir()
            (into / path).chmod(0o755)
        else:
            _link(trees[number] / path, into / path)


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINK:
            raise
        shutil.copy2(source, target, follow_symlinks=False)
