"""Provisioned concurrency, as the control plane records it: an immutable value."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ProvisionedConcurrency:
    """How many environments are kept ready for a version, or for what an alias points to.

    Attributes:
        function: the name of the function.
        qualifier: the number of the version, or the name of the alias.
        count: at least 1.
        last_modified: seconds since the epoch.
    """

    function: str
    qualifier: str
    count: int
    last_modified: float
