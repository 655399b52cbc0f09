"""Time, passed in: the one place that reads the wall clock.

Intervals are measured with ``monotonic``; whatever a user or a runtime reads as a date
comes from ``now``.
"""

from __future__ import annotations

import datetime as dt
import time
from typing import Protocol


class Clock(Protocol):
    """What tells the time."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def monotonic(self) -> float:
        """Seconds since some fixed point, never going back."""


class SystemClock:
    """The host's clocks."""

    now = staticmethod(time.time)  # noqa: TID251  the one place
    monotonic = staticmethod(time.monotonic)


def iso_milliseconds(epoch_s: float) -> str:
    """``2026-11-21T09:30:00.123Z``: the form of log lines and telemetry."""
    whole = dt.datetime.fromtimestamp(epoch_s, dt.UTC)
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{whole.microsecond // 1000:03d}Z"


def last_modified(epoch_s: float) -> str:
    """``2026-11-21T09:30:00.123+0000``: the form of FunctionConfiguration.LastModified."""
    return iso_milliseconds(epoch_s)[:-1] + "+0000"
