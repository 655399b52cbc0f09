"""When to lease, wait, start, throttle and retire. Pure: a snapshot and an event in, what is to
be done out.

Not who does it, and not when it is known: ``pool`` asks whenever something has happened, and
obeys. What this rests on:

- Nobody waits behind an invocation that runs. Whoever finds no free environment waits for the
  next that is free, be it one that is about to come back or one that starts, and as many start
  as are missing for all who wait.
- Starts have turns (``admission``). When a pool has its turn it asks again whether one is
  missing: meanwhile others may have become free.
- The memory of the host is for those who are asked for: idle environments go before anybody is
  refused.

Sources: https://docs.aws.amazon.com/lambda/latest/dg/lambda-concurrency.html,
https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html; lambda-api 12, 18.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from lambdad.invoke.account import Share

# An environment that has answered asks for its next event within microseconds. Waiting that
# long is cheaper than starting another; what takes longer is an extension or a busy host. The
# workers of one that takes several events at a time come within that time of the first one, too.
finishing_wait_s = 0.02

# An environment may end in the moment before it is used. A function that brings that about again
# and again is not served for ever.
attempts_max = 3

# A start ahead of need is to leave the one that brought it about alone.
refill_after_s = 0.03

# A version that is asked for as often as that has an environment waiting that was restored to
# its snapshot, and so has one that was just published: a cheap start is not worth more memory.
frequent_s, arrivals_remembered = 60.0, 8

# Provisioned environments whose init fails are tried again a few times, with longer and longer
# pauses: the function may call something that is not up yet.
provision_attempts_max, provision_pause_s = 5, 1.0


class Event(Enum):
    """What has happened."""

    ARRIVED = auto()  # an invocation has come
    CHANGED = auto()  # somebody waits, environments have gone, or others are wanted
    GRANTED = auto()  # this pool may start one, if it still needs it
    RESTED = auto()  # an on-demand environment is idle, and nobody waits
    PROVISIONED_RESTED = auto()  # a provisioned one is


class Room(Enum):
    """Whether the memory of the host has room for one more."""

    FREE = auto()
    EVICTABLE = auto()  # when others that are idle go
    NONE = auto()


class Snapshot(NamedTuple):
    """What is to be known of a pool and of what it may use.

    Attributes:
        share: what the next invocation counts towards.
        idle: environments free to lease.
        waiting: invocations that wait for one.
        impatient: those of them that have waited ``finishing_wait_s``.
        finishing: environments that have answered and not yet asked for the next event.
        coming: events that those take at a time which are starting for whoever waits.
        retired: whether it takes no more work than it has.
        requested, provisioned: environments to be provisioned, and those that stand or start.
        may_provision: whether more may be tried now.
        ahead_wanted, ahead: environments to start ahead of need, and those that stand or start.
        may_add: whether the function's scaling rate lets it have one more.
        room: whether memory does; only looked at when one may start.
    """

    share: Share
    idle: int = 0
    waiting: int = 0
    impatient: int = 0
    finishing: int = 0
    coming: int = 0
    retired: bool = False
    requested: int = 0
    provisioned: int = 0
    may_provision: bool = True
    ahead_wanted: int = 0
    ahead: int = 0
    may_add: bool = True
    room: Room = Room.FREE


@dataclass(frozen=True, slots=True)
class Lease:
    """Take the environment used last, a provisioned one before others: its caches are warm, and
    those that are not needed may expire.
    """


@dataclass(frozen=True, slots=True)
class Await:
    """Wait for the next that is free; whether one is to start for it is seen with all who wait."""


@dataclass(frozen=True, slots=True)
class Queue:
    """Ask for a turn to start one."""


@dataclass(frozen=True, slots=True)
class Spawn:
    """Start an environment: for whoever waits, a provisioned one, or one ahead of need."""

    provisioned: bool = False
    ahead: bool = False


@dataclass(frozen=True, slots=True)
class Evict:
    """End idle environments, of whichever pool, until one more has room."""


@dataclass(frozen=True, slots=True)
class Throttle:
    """Refuse the invocation that came last: 429 with this reason, and when to try again."""

    reason: str
    retry_after_s: int = 1


@dataclass(frozen=True, slots=True)
class PutOff:
    """Try later to provision more, and say so."""

    reason: str


@dataclass(frozen=True, slots=True)
class Retire:
    """End the environment that the event is about."""


Instruction = Lease | Await | Queue | Spawn | Evict | Throttle | PutOff | Retire
Instructions = tuple[Instruction, ...]

_THROTTLE = (Throttle("ConcurrentInvocationLimitExceeded"),)
_THROTTLE_RESERVED = (Throttle("ReservedFunctionConcurrentInvocationLimitExceeded"),)
_THROTTLE_RATE = (Throttle("FunctionInvocationRateLimitExceeded"),)
_LEASE, _AWAIT, _QUEUE, _RETIRE = (Lease(),), (Await(),), (Queue(),), (Retire(),)
_NO_MEMORY = (PutOff("cannot provision it: the memory budget of this host is used up"),)


def decide(now: Snapshot, event: Event) -> Instructions:
    """What is to be done, in this order."""
    if event is Event.ARRIVED:
        return _on_arrival(now)
    match event:
        case Event.CHANGED:
            return _QUEUE if _start_missing(now) else ()
        case Event.GRANTED:
            return _on_turn(now)
        case Event.RESTED:
            return _RETIRE if now.retired else ()
    return _RETIRE if now.retired or now.provisioned > now.requested else ()


def missing(now: Snapshot) -> int:
    """How many places those who wait lack, beyond what is coming to them.

    Whoever has become impatient counts no more on environments that have answered.
    """
    return max(now.waiting - now.finishing, now.impatient) - now.coming


def _on_arrival(now: Snapshot) -> Instructions:
    running, limit, reserved = now.share
    if running >= limit:
        return _THROTTLE_RESERVED if reserved else _THROTTLE
    return _LEASE if now.idle else _AWAIT


def _start_missing(now: Snapshot) -> bool:
    if missing(now) > 0:
        return True
    return not now.retired and (_provisioned_missing(now) or now.ahead < now.ahead_wanted)


def _provisioned_missing(now: Snapshot) -> bool:
    return now.may_provision and now.provisioned < now.requested


def _on_turn(now: Snapshot) -> Instructions:
    """Who waits comes first, what is provisioned next; nothing goes for what is ahead of need.

    Memory that is used up is told as the concurrency that the account lacks: it is what clients
    try again, at growing distances, and what events are kept for.
    """
    if missing(now) > 0:
        if not now.may_add:
            return _THROTTLE_RATE
        return _THROTTLE if now.room is Room.NONE else _spawn(now, Spawn())
    if now.retired:
        return ()
    if _provisioned_missing(now):
        return _NO_MEMORY if now.room is Room.NONE else _spawn(now, Spawn(provisioned=True))
    if now.ahead < now.ahead_wanted and now.may_add and now.room is Room.FREE:
        return (Spawn(ahead=True),)
    return ()


def _spawn(now: Snapshot, spawn: Spawn) -> Instructions:
    return (spawn,) if now.room is Room.FREE else (Evict(), spawn)


def expired(idle_since: Sequence[float], now: float, idle_s: float) -> int:
    """How many of the environments, longest idle first, are to be retired."""
    return sum(since + idle_s <= now for since in idle_since)


def is_frequent(arrivals: Sequence[float], made: float, now: float) -> bool:
    """Whether the next invocation is worth an environment that is there before it.

    Args:
        arrivals: when the last ones came, in this order.
        made: when the pool was.
        now: on the same clock, in seconds; the time since the last arrival counts as a pause.
    """
    if len(arrivals) < 2:
        return now - made < frequent_s
    pauses = [later - earlier for earlier, later in pairwise(arrivals)]
    return now - arrivals[-1] < frequent_s and median(pauses) < frequent_s


def pause_before_next_s(failures: int) -> float | None:
    """How long to wait after so many failures in a row; None to try no more."""
    if failures >= provision_attempts_max:
        return None
    return provision_pause_s * 2.0 ** (failures - 1)
