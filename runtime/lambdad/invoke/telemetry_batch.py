"""What waits for one subscriber of telemetry, and when it is due. Pure.

Events are JSON by now. Who delivers them, and what becomes of those that nobody takes, is not
known here. Source: runtime-protocol 3.1 to 3.3.
"""

from __future__ import annotations

import json
import math
from collections import deque

from lambdad.invoke.subscription import Subscription
from lambdad.model import limits
from lambdad.model.clock import iso_milliseconds

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def render(time_s: float, kind: str, record: object) -> bytes | None:
    """An event in its envelope; ``None`` for a record that JSON has no form for.

    What functions write in JSON comes this way, too: half a surrogate pair stays the escape that
    it was, and what is not a number or is nested without end is no event.
    """
    envelope = {"time": iso_milliseconds(time_s), "type": kind, "record": record}
    try:
        text = _ENCODER.encode(envelope)
    except (RecursionError, ValueError):
        return None
    return text.encode("utf-8", "backslashreplace")


class Backlog:
    """The events that a subscriber has not been brought yet, first in, first out.

    Attributes:
        dropped_records: events lost since ``forgive``.
        dropped_bytes: how large they were.
    """

    def __init__(self, terms: Subscription) -> None:
        self._terms = terms
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._bytes = 0
        self.dropped_records = self.dropped_bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, event: bytes, now_s: float) -> None:
        """One more event; it is dropped if too much waits already."""
        if self._bytes + len(event) > limits.telemetry_held_bytes_max:
            self.drop(1, len(event))
            return
        self._waiting.append((now_s, event))
        self._bytes += len(event)

    def drop(self, records: int, size_bytes: int) -> None:
        """Account for events that the subscriber will never see."""
        self.dropped_records += records
        self.dropped_bytes += size_bytes

    def forgive(self) -> None:
        """The subscriber is being told of what it has missed."""
        self.dropped_records = self.dropped_bytes = 0

    def due_s(self) -> float:
        """When the next batch is to leave, on the clock of ``add``; infinity: nothing waits."""
        if not self._waiting:
            return math.inf
        if len(self._waiting) >= self._terms.max_items or self._bytes >= self._terms.max_bytes:
            return -math.inf
        return self._waiting[0][0] + self._terms.timeout_s

    def take(self) -> list[bytes]:
        """The next batch: it ends with the event that fills it."""
        batch: list[bytes] = []
        size = 0
        while self._waiting and len(batch) < self._terms.max_items and size < self._terms.max_bytes:
            _, event = self._waiting.popleft()
            batch.append(event)
            size += len(event)
        self._bytes -= size
        return batch
