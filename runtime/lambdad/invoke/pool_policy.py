"""When to lease, wait, start, throttle and retire. Pure: a view in, one decision out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

# An environment that has answered asks for its next event within microseconds. Waiting that
# long is cheaper than starting another; what takes longer is an extension or a busy host.
finishing_wait_s = 0.02

# An environment may end, or its place be taken, in the moment before it is used. A function that
# brings that about again and again is not served for ever.
attempts_max = 3


@dataclass(frozen=True, slots=True)
class View:
    """What is to be known of a pool and of what it may use.

    Attributes:
        idle: environments free to lease, the last used last.
        finishing: environments that have answered and not yet asked for the next event, less
            those that somebody waits for already.
        running: invocations under way of the function, if it has reserved concurrency; else of
            all functions of the account that have none.
        limit: how many there may be.
        reserved: whether that is the function's own.
    """

    idle: int
    finishing: int
    running: int
    limit: int
    reserved: bool = False


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
_THROTTLE_RESERVED = Throttle("ReservedFunctionConcurrentInvocationLimitExceeded")


def on_arrival(view: View) -> Decision:
    """An invocation has come."""
    if view.running >= view.limit:
        return _THROTTLE_RESERVED if view.reserved else _THROTTLE
    if view.idle:
        return _LEASE
    return _AWAIT if view.finishing else _SPAWN


def expired(idle_since: Sequence[float], now: float, idle_s: float) -> int:
    """How many of the environments, longest idle first, are to be retired."""
    return sum(since + idle_s <= now for since in idle_since)
