"""What AWS has no word for: the census of a daemon, which ``lambdad top`` and other watchers read.

It stands beside the Lambda API, whose paths all begin with a date, and is guarded as that is.
Nothing is measured here and nothing waits: whoever keeps a number is asked for it.
"""

from __future__ import annotations

import json
from dataclasses import fields
from math import isinf
from typing import TYPE_CHECKING, Any

from lambdad.api.wire.render import Answer
from lambdad.model.clock import Clock, iso_milliseconds

if TYPE_CHECKING:
    from lambdad.invoke.account import Account
    from lambdad.invoke.registry import Registry
    from lambdad.invoke.spares import Spares

CENSUS_PATH = "/lambdad/census"


class Admin:
    """Answers operators.

    Args:
        registry: knows all pools, and they their environments; and the budget of their memory.
        account: knows what runs, and what may.
        spares: the blank sandboxes.
        clock: tells since when the daemon stands.
    """

    def __init__(self, registry: Registry, account: Account, spares: Spares, clock: Clock) -> None:
        self._registry, self._account = registry, account
        self._spares, self._clock = spares, clock
        self._started, self._started_s = iso_milliseconds(clock.now()), clock.monotonic()

    def census(self) -> Answer:
        """All that stands at this moment and, as totals since the daemon's start, what it did.

        An object of JSON. ``started`` tells one daemon from the next, ``up_s`` one census from
        the next. What stands in ``functions`` is a ``PoolCensus`` each. A budget of ``null`` is
        none.
        """
        account, budget = self._account, self._registry.budget
        document = {
            "started": self._started,
            "up_s": self._clock.monotonic() - self._started_s,
            "concurrency": {
                "limit": account.limit,
                "running": account.running,
                "unreserved": account.unreserved,
                "reserved": account.reserved,
            },
            "memory": {
                "charged_bytes": budget.charged_bytes,
                "budget_bytes": None if isinf(budget.limit_bytes) else budget.limit_bytes,
            },
            "spares": self._spares.counts(),
            "functions": self._registry.census(),
        }
        body = json.dumps(document, default=_members, separators=(",", ":")).encode()
        return Answer(200, {"Content-Type": "application/json", "Cache-Control": "no-store"}, body)


def _members(record: Any) -> dict[str, Any]:
    """A dataclass as an object of JSON, by the names of its attributes."""
    return {field.name: getattr(record, field.name) for field in fields(record)}
