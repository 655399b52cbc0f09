"""How a leaf comes to be, on either version: claimed by its name, then limited, or not at all."""

from __future__ import annotations

import re
from typing import Protocol, TypeVar

from lambdad_sandbox.cgroup.protocol import CannotLimit, Limits

# No dot: files of the kernel have one, and so have groups that are not leaves.
_LEAF_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")


class _Leaf(Protocol):
    @property
    def name(self) -> str: ...

    def claim(self) -> None:
        """Make its directory, for nobody else; FileExistsError if somebody has the name."""

    def limit(self, limits: Limits) -> None:
        """Write the limits and open the doors."""

    def remove(self) -> None: ...


Leaf = TypeVar("Leaf", bound=_Leaf)


def leaf_name(name: str) -> str:
    """The name, if a leaf may have it.

    Raises:
        ValueError: it may not.
    """
    if not _LEAF_NAME.fullmatch(name):
        raise ValueError(f"cannot make a cgroup named {name!r}")
    return name


def make(leaf: Leaf, limits: Limits) -> Leaf:
    """Make it, with ``limits`` in force.

    Raises:
        CannotLimit: the kernel refused; nothing of the leaf is left.
    """
    try:
        leaf.claim()
    except OSError as error:
        raise CannotLimit(f"cannot make cgroup {leaf.name}: {error.strerror}") from error
    try:
        leaf.limit(limits)
    except OSError as error:
        leaf.remove()
        raise CannotLimit(f"cannot limit cgroup {leaf.name}: {error}") from error
    return leaf
