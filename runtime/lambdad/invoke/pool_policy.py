"""When to lease, wait, start, throttle and retire. Pure: a view in, one decision out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# An environment that has answered asks for its next event within microseconds. Waiting that
# long is cheaper than starting another; what takes longer is an extension or a busy host.
finishing_wait_s = 0.02


@dataclass(frozen=True, slots=True)
class View:
    """What is to be known of a pool and its account.

    Attributes:
        idle: environments free to lease, the last used last.
        finishing: environments that have answered and not yet asked for the next event, less
            those that somebody waits for already.
        running: invocations of the account under way, everywhere.
        limit: how many there may be.
    """

    idle: int
    finishing: int
    running: int
    limit: int


@dataclass(frozen=True, slots=True)
class Lease:
    """Take the environment used last: its caches are warm and the others may expire."""


@dataclass(frozen=True, slots=True)
class Await:
    """Wait for one that is about to be free, ``finishing_wait_s`` at most, then start."""


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start a new environment."""


@dataclass(frozen=True, slots=True)
class Throttle:
    """Refuse: 429 with this reason."""

    reason: str


Decision = Lease | Await | Spawn | Throttle

_LEASE, _AWAIT, _SPAWN = Lease(), Await(), Spawn()
_THROTTLE = Throttle("ConcurrentInvocationLimitExceeded")


def on_arrival(view: View) -> Decision:
    """An invocation has come."""
    if view.running >= view.limit:
        return _THROTTLE
    if view.idle:
        return _LEASE
    return _AWAIT if view.finishing else _SPAWN


def expired(idle_since: Sequence[float], now: float, idle_s: float) -> int:
    """How many of the environments, longest idle first, are to be retired."""
    return sum(since + idle_s <= now for since in idle_since)
