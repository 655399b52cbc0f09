"""Unpacking an uploaded zip: what may be in it, and writing it down.

``inspect`` decides: names, kinds, sizes and the targets of links, before anything is written.
``unpack`` carries its listing out. The format is read by ``lambdad.code.zip_format``; which process
may do it is known to ``lambdad.code.unpacker``, where code is kept to ``lambdad.code.blobs``.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lambdad.code import zip_format
from lambdad.code.zip_format import BadArchive, Entry
from lambdad.model import limits

__all__ = ["ArchiveTooLarge", "BadArchive", "Listing", "inspect", "unpack"]

_COMPONENT_BYTES_MAX = 255  # NAME_MAX of Linux
_PATH_BYTES_MAX = 1_024
_DEPTH_MAX = 64

_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAKE_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class ArchiveTooLarge(Exception):
    """The files of the zip together exceed the size that unpacked code may have."""

    def __init__(self, unzipped_bytes: int, unzipped_bytes_max: int) -> None:
        super().__init__(f"cannot unzip {unzipped_bytes} bytes: {unzipped_bytes_max} are allowed")
        self.unzipped_bytes, self.unzipped_bytes_max = unzipped_bytes, unzipped_bytes_max


@dataclass(frozen=True, slots=True)
class Listing:
    """What unpacking will make. Paths are relative and plain, each stands once.

    Attributes:
        directories: the named and the implied ones, parents first.
        files: regular files by path.
        links: targets of symbolic links by path.
        unzipped_bytes: as declared, over all entries, also those that a later one replaces.
    """

    directories: tuple[str, ...]
    files: Mapping[str, Entry]
    links: Mapping[str, str]
    unzipped_bytes: int


def inspect(data: bytes, *, unzipped_bytes_max: int = limits.unzipped_bytes_max) -> Listing:
    """Check a zip and say what is in it; nothing is written.

    Of entries with the same path the last one counts, as for every tool that overwrites.

    Raises:
        BadArchive: it is no zip, is cut short, contradicts itself or holds what has no place.
        ArchiveTooLarge: the declared sizes exceed ``unzipped_bytes_max``.
    """
    entries = zip_format.entries(data, entries_max=limits.zip_entries_max)
    if not entries:
        raise BadArchive("it is empty")
    unzipped_bytes = sum(entry.unzipped_bytes for entry in entries)
    if unzipped_bytes > unzipped_bytes_max:
        raise ArchiveTooLarge(unzipped_bytes, unzipped_bytes_max)
    members = {_path(entry): entry for entry in entries}
    kinds = {path: _kind(entry) for path, entry in members.items()}
    return Listing(
        directories=_directories(kinds),
        files={path: members[path] for path, kind in kinds.items() if kind == stat.S_IFREG},
        links={
            path: _target(data, path, members[path])
            for path, kind in kinds.items()
            if kind == stat.S_IFLNK
        },
        unzipped_bytes=unzipped_bytes,
    )


def unpack(
    data: bytes,
    directory: str | os.PathLike[str],
    *,
    unzipped_bytes_max: int = limits.unzipped_bytes_max,
) -> None:
    """Unpack a zip into ``directory``, which must be empty.

    What a failure leaves there is the caller's to remove; nothing is written of a zip that
    ``inspect`` refuses.

    Directories and what anybody may execute get mode 0755, the rest 0644. What comes out of an
    entry is held to the size it declares, and all declared sizes together to
    ``unzipped_bytes_max``: so much is written at most, however well it was compressed.

    Raises:
        BadArchive: as ``inspect``, or contents differ from what was declared of them.
        ArchiveTooLarge: as ``inspect``.
        OSError: the file system would not take it.
    """
    listing = inspect(data, unzipped_bytes_max=unzipped_bytes_max)
    with _opened(directory) as root:
        _write(data, listing, root)


# Deciding


def _path(entry: Entry) -> str:
    """The path of an entry below the root; ``""`` is the root itself."""
    name = _name(entry)
    if "\0" in name or "\\" in name:
        raise BadArchive(f"name {name!r} has a character that names may not have")
    parts = name.removesuffix("/").split("/")
    if not all(parts) or ".." in parts or _is_drive(parts[0]):
        raise BadArchive(f"name {name!r} is not a plain relative path")
    parts = [part for part in parts if part != "."]  # "./a" is how some tools write "a".
    path = "/".join(parts)
    longest = max((len(part.encode()) for part in parts), default=0)
    if longest > _COMPONENT_BYTES_MAX or len(path.encode()) > _PATH_BYTES_MAX:
        raise BadArchive(f"name {name[:40]!r}... is too long")
    if len(parts) > _DEPTH_MAX:
        raise BadArchive(f"name {name[:40]!r}... is too deep")
    return path


def _name(entry: Entry) -> str:
    """The name as text: UTF-8 if it can be, for zip(1) writes it without saying so."""
    try:
        return entry.name.decode()
    except UnicodeDecodeError:
        if entry.name_is_utf8:
            raise BadArchive(f"name {entry.name!r} is not UTF-8, though it says so") from None
        return entry.name.decode("cp437")


def _is_drive(component: str) -> bool:
    """Whether a name begins like ``C:`` or ``C:file``."""
    return component[1:2] == ":" and component[0].isalpha()


def _kind(entry: Entry) -> int:
    """Regular file, directory or symbolic link, as inode(7) has them; nothing else is welcome.

    A slash at the end makes a directory of anything, as not every tool writes types.
    """
    kind = stat.S_IFMT(entry.mode) or stat.S_IFREG
    if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
        raise BadArchive(f"{entry.name!r} is neither file, directory nor link")
    if entry.name.endswith(b"/"):
        kind = stat.S_IFDIR
    if kind == stat.S_IFDIR and entry.unzipped_bytes:
        raise BadArchive(f"directory {entry.name!r} has contents")
    return kind


def _directories(kinds: Mapping[str, int]) -> tuple[str, ...]:
    """All directories below the root, parents first; nothing else may bear the name of one."""
    directories = {""}
    for path, kind in kinds.items():
        directory = path if kind == stat.S_IFDIR else _parent(path)
        while directory not in directories:
            directories.add(directory)
            directory = _parent(directory)
        # Each costs an inode, and a single name may imply 63 of them.
        if len(directories) > limits.zip_entries_max:
            raise BadArchive("it has too many directories")
    for directory in directories:
        if kinds.get(directory, stat.S_IFDIR) != stat.S_IFDIR:
            raise BadArchive(f"{directory!r} is a directory and something else")
    return tuple(sorted(directories - {""}))


def _target(data: bytes, path: str, link: Entry) -> str:
    """Where a link points, having checked that this lies below the root.

    ``..`` may only come first. A link lies in a real directory, so leading ones climb as far as
    is counted here; a later one would climb from wherever another link had led.
    """
    if link.unzipped_bytes > _PATH_BYTES_MAX:
        raise BadArchive(f"the target of link {path!r} is too long")
    try:
        target = b"".join(zip_format.contents(data, link)).decode()
    except UnicodeDecodeError:
        raise BadArchive(f"the target of link {path!r} is not UTF-8") from None
    parts = [part for part in target.split("/") if part not in ("", ".")]
    descent = list(itertools.dropwhile(lambda part: part == "..", parts))
    if not target or "\0" in target or target.startswith("/") or ".." in descent:
        raise BadArchive(f"the target of link {path!r} is not a plain relative path")
    if len(parts) - len(descent) > path.count("/"):
        raise BadArchive(f"link {path!r} leads out of the archive")
    return target


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


# Writing


def _write(data: bytes, listing: Listing, root: int) -> None:
    """Make everything below ``root``; links come last, so that none can be written through."""
    files: dict[str, list[str]] = {}
    for path in listing.files:
        files.setdefault(_parent(path), []).append(path)
    for directory in ("", *listing.directories):
        if directory:
            with _opened_below(root, _parent(directory)) as parent:
                os.mkdir(_base(directory), 0o700, dir_fd=parent)
        with _opened_below(root, directory) as here:
            os.fchmod(here, 0o755)
            for path in files.get(directory, ()):
                _write_file(data, listing.files[path], _base(path), here)
    for path, target in listing.links.items():
        with _opened_below(root, _parent(path)) as parent:
            os.symlink(target.encode(), _base(path), dir_fd=parent)


def _write_file(data: bytes, entry: Entry, name: bytes, directory: int) -> None:
    descriptor = os.open(name, _MAKE_FILE, 0o600, dir_fd=directory)
    with os.fdopen(descriptor, "wb") as output:
        for piece in zip_format.contents(data, entry):
            output.write(piece)
        os.fchmod(descriptor, 0o755 if entry.mode & 0o111 else 0o644)


def _base(path: str) -> bytes:
    """The last component in bytes: on disk names are UTF-8, whatever the locale says."""
    return path.rpartition("/")[2].encode()


@contextlib.contextmanager
def _opened(path: bytes | str | os.PathLike[str], directory: int | None = None) -> Iterator[int]:
    descriptor = os.open(path, _OPEN_DIRECTORY, dir_fd=directory)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _opened_below(root: int, path: str) -> Iterator[int]:
    """The directory ``path`` below ``root``, reached step by step without following a link."""
    with contextlib.ExitStack() as steps:
        here = root
        for component in path.encode().split(b"/") if path else ():
            here = steps.enter_context(_opened(component, here))
        yield here
