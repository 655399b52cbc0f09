"""Dates on the wire: their form depends on where they stand, not on what they mean.

A number of seconds since the epoch in a body, ISO 8601 in a path or query, RFC 7231 in a header
(https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html). A date without a zone is UTC.
"""

from __future__ import annotations

import datetime as dt
import email.utils


def from_seconds(seconds: float) -> dt.datetime:
    """Read a date of a body.

    Raises:
        ValueError: no calendar has this date.
    """
    try:
        return dt.datetime.fromtimestamp(seconds, dt.UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(f"cannot find {seconds} in the calendar") from error


def to_seconds(moment: dt.datetime) -> float:
    """Write a date for a body: whole seconds without a point."""
    seconds = moment.timestamp()
    return int(seconds) if seconds.is_integer() else seconds


def from_iso(text: str) -> dt.datetime:
    """Read a date of a query, such as ``2026-11-21T09:30:00Z``.

    Raises:
        ValueError: it is no such date.
    """
    return _in_utc(dt.datetime.fromisoformat(text))


def from_http(text: str) -> dt.datetime:
    """Read a date of a header, such as ``Sat, 21 Nov 2026 09:30:00 GMT``.

    Raises:
        ValueError: it is no such date.
    """
    return _in_utc(email.utils.parsedate_to_datetime(text))


def to_http(moment: dt.datetime) -> str:
    """Write a date for a header; fractions of a second are lost."""
    return email.utils.format_datetime(moment.astimezone(dt.UTC), usegmt=True)


def _in_utc(moment: dt.datetime) -> dt.datetime:
    if moment.tzinfo is None:
        return moment.replace(tzinfo=dt.UTC)
    try:
        return moment.astimezone(dt.UTC)
    except OverflowError as error:
        raise ValueError(f"cannot find {moment} in the calendar of UTC") from error
