"""When an event that did not succeed is tried again, and when it is given up. Pure.

Source: https://docs.aws.amazon.com/lambda/latest/dg/invocation-async-error-handling.html
"""

from __future__ import annotations

from collections.abc import Sequence

from lambdad.model import limits
from lambdad.model.event import Event

# "Lambda waits one minute before the second attempt, and two minutes before the third."
RETRY_DELAYS_S = (60.0, 120.0)


def is_too_old(event: Event, now: float) -> bool:
    """Whether it is no longer to be tried."""
    return now > event.accepted + limits.event_age_s_max


def after_failure(event: Event, now: float, delays_s: Sequence[float]) -> float | None:
    """When to try again what the function has failed at; None: it is given up.

    Args:
        event: as it was before it failed.
        now: seconds since the epoch.
        delays_s: before each further attempt.
    """
    if event.attempts >= len(delays_s):
        return None
    return _in_time(event, now + delays_s[event.attempts])


def after_refusal(event: Event, refusals: int, now: float) -> float | None:
    """When to try again what could not be run at all; None: it is given up.

    "Lambda returns the event to the queue ... The retry interval increases exponentially from 1
    second after the first attempt to a maximum of 5 minutes." Such attempts do not count.

    Args:
        event: as it is.
        refusals: how many there were before this one.
        now: seconds since the epoch.
    """
    delay_s = limits.event_refused_wait_s_min * 2 ** min(refusals, 16)
    return _in_time(event, now + min(delay_s, limits.event_refused_wait_s_max))


def _in_time(event: Event, due: float) -> float | None:
    return None if is_too_old(event, due) else due
