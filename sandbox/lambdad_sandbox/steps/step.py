"""What a step of a plan is."""

from __future__ import annotations

import os
from dataclasses import dataclass

Descriptors = dict[str, int]


@dataclass(frozen=True)
class Step:
    """One thing to be done. Subclasses are the vocabulary of mount(8) and prctl(2)."""

    def apply(self, at_hand: Descriptors) -> None:
        raise NotImplementedError

    def describe(self) -> str:
        """The step in words, as it stands in logs and behind "cannot"."""
        raise NotImplementedError


def write_existing(path: str, text: str) -> None:
    """Write to a file of the kernel's that is there already."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
