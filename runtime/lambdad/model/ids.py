"""Identifiers as AWS makes them."""

from __future__ import annotations

import datetime as dt
import os
import uuid


def request_id() -> str:
    """A version 4 UUID in lower case: request ids, revision ids, extension ids."""
    return str(uuid.UUID(bytes=os.urandom(16), version=4))


def trace_root(epoch_s: float) -> str:
    """The ``Root`` of an X-Ray trace header: version, epoch in hexadecimal, 96 random bits."""
    return f"1-{int(epoch_s):08x}-{os.urandom(12).hex()}"


def segment_id() -> str:
    """An X-Ray segment id: 64 random bits."""
    return os.urandom(8).hex()


def log_stream(epoch_s: float, version: str, function: str = "") -> str:
    """``2026/11/21/[$LATEST]<32 hex digits>``: one stream for each environment.

    In a log group that others may share, the function's name stands before the version.
    """
    day = dt.datetime.fromtimestamp(epoch_s, dt.UTC)
    return f"{day:%Y/%m/%d}/{function}[{version}]{os.urandom(16).hex()}"


def letters(count: int) -> str:
    """So many random capital letters and digits, four bits each, in the form of AWS's keys."""
    return os.urandom(count).hex().upper()[:count]
