"""What a step of a plan is."""

from __future__ import annotations

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
