"""The promises that are not kept in full, here and now, each with its reason.

The names are the threat model's (docs/decisions/0002). An empty list would be perfection.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Promise:
    """A promise that is kept in part: which, and what follows."""

    name: str
    consequence: str


def degraded() -> tuple[Promise, ...]:
    """What to say aloud at start and in ``lambdad doctor``."""
    return (
        Promise("FS-5", "files in /tmp count as the function's memory"),
        Promise("LIF-4", "idle environments are not frozen: background threads may run"),
        Promise("API-9", "callers are not authenticated"),
    )
