"""Which functions find the operator's packages loaded: those that cannot tell, but by the time.

A zygote that has boto3 loaded serves a function that uses boto3 and would import the very same
files. One that brings a module of its own under any of the names that were loaded gets the
plain zygote, as ``sys.modules`` would hide its own; and so does one with a variable that is read
when such a module is imported. No code of a customer's is ever loaded in
a zygote; it is only looked at, here.
"""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

# So much is read to find out whether a package is used; who hides it better starts slower.
_SOURCES_MAX, _SOURCE_BYTES_MAX = 500, 1024 * 1024

# Who names one of these in a source may look for modules anywhere below, and in archives.
_MOVES = ("sys.path", "addsitedir")
_ARCHIVES = (".egg", ".whl", ".zip")
# What says where modules are, where the user's files are (which botocore remembers), and what
# OpenSSL is to do.
_STEERING = re.compile("HOME|OPENSSL_.*|PYTHONPATH")


@dataclass(frozen=True, slots=True)
class Survey:
    """What a function and its layers bring.

    Attributes:
        modules: the top-level names that an import could find there.
        used: those of the packages asked for that are named in a source.
        steers: whether it has a say in which modules are found, or what they become.
    """

    modules: frozenset[str]
    used: frozenset[str]
    steers: bool


def serves(loaded: frozenset[str], survey: Survey) -> bool:
    """Whether a zygote with these top-level modules may serve the function, and is of use to it."""
    useful = not survey.used.isdisjoint(loaded)
    return useful and not survey.steers and survey.modules.isdisjoint(loaded)


def survey(
    code: Path, layers: Path | None, packages: Iterable[str], variables: Iterable[str]
) -> Survey:
    """Look at what a function brings; reads many files, so not for the event loop.

    Args:
        code: its folder.
        layers: what ``/opt`` shows.
        packages: the names to look for in sources.
        variables: the names of its own.
    """
    folders = [code.resolve()]
    if layers is not None:
        python = layers.resolve() / "python"
        folders += [python, *python.glob("lib/python*/site-packages")]
    # A link leads elsewhere inside, where nobody looks from here.
    own = [folder for folder in folders if folder.resolve() == folder]
    named = _named(own, (*packages, *_MOVES))
    moves = not named.isdisjoint(_MOVES)
    entries = frozenset(name for folder in own for name in _listed(folder, deep=moves))
    decides = (".pth", *_ARCHIVES) if moves else (".pth",)
    return Survey(
        modules=frozenset(name.partition(".")[0] for name in entries),
        used=named.difference(_MOVES),
        steers=len(own) < len(folders)
        or any(name.endswith(decides) for name in entries)
        or steer(variables),
    )


def steer(variables: Iterable[str]) -> bool:
    """Whether any of these is read when a module is looked for or imported."""
    return any(_STEERING.fullmatch(name) for name in variables)


def is_installed(package: str, prefix: Path, version: str) -> bool:
    """Whether an interpreter may have a package; its zygote knows for sure, when it stands."""
    site = (
        f"lib/python{version}/site-packages",
        "lib/python3/dist-packages",
        f"local/lib/python{version}/dist-packages",
    )
    return package.isidentifier() and any((prefix / folder / package).is_dir() for folder in site)


def _listed(folder: Path, *, deep: bool) -> Iterator[str]:
    """What lies in a folder, or anywhere below it; nothing if there is no folder."""
    for _, folders, files in itertools.islice(os.walk(folder), None if deep else 1):
        yield from folders
        yield from files


def _named(folders: Iterable[Path], words: Iterable[str]) -> frozenset[str]:
    """Those that stand in a source."""
    wanted = {word: re.compile(rb"\b%s\b" % re.escape(word.encode())) for word in words}
    return frozenset(
        name
        for source in _sources(folders)
        for name, pattern in wanted.items()
        if pattern.search(source)
    )


def _sources(folders: Iterable[Path]) -> Iterator[bytes]:
    paths = (
        Path(where) / name
        for folder in folders
        for where, _, names in os.walk(folder)
        for name in names
        if name.endswith(".py")
    )
    for path in itertools.islice(paths, _SOURCES_MAX):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # A link: what it leads to is not the function's.
            continue
        with os.fdopen(descriptor, "rb") as source:
            yield source.read(_SOURCE_BYTES_MAX)
