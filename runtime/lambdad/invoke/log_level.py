"""The levels a log line can have, and reading them from names.

Pure. Which line has which level, and what is done with a line below the function's level, is the
business of `platform_events` and `journal`.

Source: https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
"""

from __future__ import annotations

from enum import IntEnum


class Level(IntEnum):
    """How much a line matters; a later member matters more."""

    TRACE = 1
    DEBUG = 2
    INFO = 3
    WARN = 4
    ERROR = 5
    FATAL = 6


_BY_NAME = {level.name: level for level in Level}


def level_named(name: object) -> Level | None:
    """Return the level called *name* (any case), or None if there is none of that name."""
    return _BY_NAME.get(name.upper()) if isinstance(name, str) else None
