"""Code at rest: each uploaded zip and its unpacked tree, under the SHA-256 of the zip. Layers are
kept likewise, and what the layers of a function make together under a digest of theirs.

Content-addressed: what stands under a name never changes, so adding is idempotent and needs no
lock. This module knows files only; which function uses which tree is the store's to know.

Below the root, which is for the daemon alone::

    <sha256>/zip        as uploaded, byte for byte
    <sha256>/tree/      what an environment sees as /var/task or /opt
    staging/<random>/   being written, or being removed
"""

from __future__ import annotations

import base64
import contextlib
import errno
import hashlib
import os
import re
import secrets
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lambdad.code import merging, unpacking
from lambdad.code.removal import remove
from lambdad_sandbox import syscalls

_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Blob:
    """A zip that is kept.

    Attributes:
        tree: its name here: the SHA-256 of the zip in hexadecimal.
        sha256_base64: the same digest as ``CodeSha256`` shows it.
        zip_bytes: the size of the zip, as ``CodeSize`` shows it.
    """

    tree: str
    sha256_base64: str
    zip_bytes: int


class Blobs:
    """The zips and trees below ``root``. Every method blocks on the disk.

    Args:
        root: made if it does not exist; what is above it must.
    """

    def __init__(self, root: Path) -> None:
        self._root, self._staging = root, root / "staging"
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()
        for directory in (root, self._staging):
            directory.mkdir(mode=0o700, exist_ok=True)

    def path(self, tree: str) -> Path:
        """The directory with the unpacked code."""
        return self._root / tree / "tree"

    def zip(self, tree: str) -> Path:
        """The file with the bytes that were uploaded."""
        return self._root / tree / "zip"

    def zip_if_there(self, tree: str) -> Path | None:
        """The same for a name that somebody else gives, be it well-formed or not."""
        if not _DIGEST.fullmatch(tree):
            return None
        path = self.zip(tree)
        return path if path.exists() else None

    def add(self, zip_bytes: bytes) -> Blob:
        """Keep a zip and its tree. After this returns they survive a loss of power.

        They are held: whoever has noted who uses them calls ``release``.

        Raises:
            BadArchive, ArchiveTooLarge, PlatformFault: see ``lambdad.code.unpacking.unpack``;
                nothing is kept.
            OSError: the file system would not take it; nothing is kept.
        """
        digest = hashlib.sha256(zip_bytes)
        blob = Blob(digest.hexdigest(), base64.b64encode(digest.digest()).decode(), len(zip_bytes))
        self._keep(blob.tree, lambda staged: _fill(staged, zip_bytes))
        return blob

    def merge(self, trees: Sequence[str]) -> str:
        """Keep what trees, in order, make together; its name. One alone is what it is already.

        After this returns it survives a loss of power, and is held as by ``add``. The trees must
        be held meanwhile.

        Raises:
            OSError: the file system would not take it; nothing is kept.
        """
        if len(trees) == 1:
            self.hold(trees[0])
            return trees[0]
        merged = hashlib.sha256("\n".join(["merged", *trees]).encode()).hexdigest()
        paths = [self.path(tree) for tree in trees]
        self._keep(merged, lambda staged: _fill_merged(staged, paths))
        return merged

    def unzipped_bytes(self, tree: str) -> int:
        """What the files of a tree take; it must be held, or in use.

        Raises:
            OSError: it cannot be read.
        """
        return merging.size_bytes(self.path(tree))

    def hold(self, tree: str) -> None:
        """Let a tree be where it is, used or not, until ``release``. It takes microseconds."""
        with self._lock:
            self._held[tree] += 1

    def release(self, tree: str) -> None:
        """What was added is noted where it is used, or is not needed."""
        with self._lock:
            self._held[tree] -= 1
            if not self._held[tree]:
                del self._held[tree]

    def set_aside(self, tree: str) -> Path | None:
        """Take a tree that nobody uses out of its place, at once; where it is to be removed.

        It takes microseconds, so that whoever knows who uses it can do it in one breath with
        looking. None if it is held, being added again just now, or not there.
        """
        away = self._staging / f"{tree}.{secrets.token_hex(8)}"
        with self._lock:
            if self._held[tree]:
                return None
            try:
                (self._root / tree).rename(away)
            except FileNotFoundError:
                return None
        return away

    def _keep(self, tree: str, fill: Callable[[Path], None]) -> None:
        """See that a tree is there, on the disk, and hold it."""
        self.hold(tree)
        try:
            if not (self._root / tree).exists():
                self._make(tree, fill)
            # Also for what was there already: another thread may have put it there just now.
            _sync(self._root)
        except BaseException:
            self.release(tree)
            raise

    def _make(self, tree: str, fill: Callable[[Path], None]) -> None:
        """Fill a directory aside and put it in its place, unless another thread was quicker."""
        staged = Path(tempfile.mkdtemp(dir=self._staging))
        try:
            fill(staged)
            _rename_unless_there(staged, self._root / tree)
        finally:
            # What cannot be removed now is swept when the daemon starts again.
            with contextlib.suppress(OSError):
                remove(staged)

    def sweep(self, keep: Collection[str]) -> tuple[str, ...]:
        """Remove what a crash left behind and every tree not in ``keep``; say which trees went.

        To be called while nothing is being added: half-written code cannot be told from what a
        crash left, nor new code that no function names yet from what no function names any more.

        Raises:
            OSError: something cannot be removed.
        """
        swept = sorted(
            name
            for name in os.listdir(self._root)  # noqa: PTH208  names are wanted, not paths
            if _DIGEST.fullmatch(name) and name not in keep
        )
        for name in swept:
            self.set_aside(name)
        for leftover in self._staging.iterdir():
            remove(leftover)
        return tuple(swept)


def _fill(staged: Path, zip_bytes: bytes) -> None:
    """Write the zip and its tree, and see them on the disk.

    One syncfs(2) for all: an fsync(2) for each of thousands of files takes thirty times as long.
    """
    with _opened(staged) as file_system:  # From here on it is told of errors in writing.
        copy, tree = staged / "zip", staged / "tree"
        copy.touch(mode=0o600)
        copy.write_bytes(zip_bytes)
        tree.mkdir(mode=0o700)
        unpacking.unpack(copy, tree)
        staged.chmod(0o755)
        syscalls.syncfs(file_system)


def _fill_merged(staged: Path, trees: Sequence[Path]) -> None:
    """Write the tree that others make together, and see it on the disk."""
    with _opened(staged) as file_system:
        (staged / "tree").mkdir(mode=0o700)
        merging.merge(trees, staged / "tree")
        staged.chmod(0o755)
        syscalls.syncfs(file_system)


def _rename_unless_there(staged: Path, place: Path) -> None:
    """Rename a directory; one that is not empty is never replaced, see rename(2)."""
    try:
        staged.rename(place)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _sync(directory: Path) -> None:
    """Flush a directory's names to the disk, see fsync(2)."""
    with _opened(directory) as descriptor:
        os.fsync(descriptor)


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
