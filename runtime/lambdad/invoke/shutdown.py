"""How long the end of an environment may take, and why it ends. Pure.

The sequence, which the environment drives: the runtime gets SIGTERM and, after its share,
SIGKILL; then external extensions get the SHUTDOWN event, or SIGKILL if they did not subscribe to
it; what is left when the time is over gets SIGKILL. Resets go the same way. Source:
runtime-protocol 4.8, https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from lambdad.model import limits


class ShutdownReason(StrEnum):
    """``shutdownReason``, as extensions read it: in lower case, unlike in AWS's guide."""

    SPINDOWN = "spindown"  # an idle environment ends: retired, updated, the daemon stops
    TIMEOUT = "timeout"  # an event took longer than the function's timeout
    FAILURE = "failure"  # a crash, an extension's failure, an init that failed


@dataclass(frozen=True, slots=True)
class Budget:
    """The time that an end may take.

    Attributes:
        total_s: from its begin until the last SIGKILL; 0 is SIGKILL at once, without SIGTERM.
        runtime_share_s: of these, between the runtime's SIGTERM and its SIGKILL. What the
            runtime does not use is the extensions'.
    """

    total_s: float
    runtime_share_s: float


_AT_ONCE = Budget(0.0, 0.0)
_INTERNAL = Budget(limits.shutdown_internal_s, limits.shutdown_internal_s)
_EXTERNAL = Budget(limits.shutdown_external_s, limits.shutdown_runtime_share_s)

# Of an environment that runs several events at a time (8.2).
MANAGED = Budget(limits.shutdown_external_s, limits.shutdown_managed_runtime_share_s)


def plan(*, any_external: bool, any_internal: bool) -> Budget:
    """The budget of an environment with these kinds of extensions."""
    if any_external:
        return _EXTERNAL
    return _INTERNAL if any_internal else _AT_ONCE
