"""What stands and what has happened, as figures: for who watches the daemon. No behaviour.

Not a metric store: what is counted is counted since the daemon's start, and rates are made of it
by who asks twice.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EnvironmentCensus:
    """One environment, at this moment.

    Attributes:
        id: its name; empty as long as it has no sandbox.
        state: where it stands in its life, in the words of ``lifecycle.State``.
        init_type: as ``AWS_LAMBDA_INITIALIZATION_TYPE`` has it.
        provisioned: whether it is kept because it was provisioned.
        age_s: how long it has been there.
        idle_s: how long it has had nothing to do; None if it has.
        uses: how many invocations it was given.
        memory_bytes: what it is charged for.
    """

    id: str
    state: str
    init_type: str
    provisioned: bool
    age_s: float
    idle_s: float | None
    uses: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class PoolCensus:
    """One version of a function, at this moment and since the daemon's start.

    Attributes:
        function: its name.
        version: its version, ``$LATEST`` or a number.
        memory_mb: what it has bought.
        environments: all of it that stands.
        invocations: how many came and were not throttled.
        cold: how many of those were the first of an environment, which was not provisioned.
        restored: how many of those began with a restore.
        throttled: how many were refused.
        running: how many run.
        waiting: how many wait for an environment.
        provisioned_requested: how many environments are to be provisioned.
    """

    function: str
    version: str
    memory_mb: int
    environments: tuple[EnvironmentCensus, ...]
    invocations: int
    cold: int
    restored: int
    throttled: int
    running: int
    waiting: int
    provisioned_requested: int
