"""How fast a streamed response may flow: a bucket of bytes that fills up in ticks. Pure.

It neither waits nor reads a clock; who asks says what time it is. Source: runtime-protocol 1.5
(internal/lambda/core/bandwidthlimiter of the Runtime Interface Emulator).
"""

from __future__ import annotations

_TICK_S = 0.125


class Bandwidth:
    """What one stream may still send.

    Args:
        burst_bytes: how much goes without a wait; the bucket never holds more.
        bytes_per_s: how fast the bucket fills up.
        now_s: the time at which it is full.
    """

    __slots__ = ("_burst_bytes", "_bytes", "_per_tick_bytes", "_ticked_s")

    def __init__(self, burst_bytes: int, bytes_per_s: int, now_s: float) -> None:
        self._bytes = self._burst_bytes = burst_bytes
        self._per_tick_bytes = int(bytes_per_s * _TICK_S)
        self._ticked_s = now_s

    def take(self, wanted_bytes: int, now_s: float) -> int:
        """How much of it may go now; 0 if the bucket is empty."""
        ticks = int((now_s - self._ticked_s) / _TICK_S)
        if ticks > 0:
            self._ticked_s += ticks * _TICK_S
            self._bytes = min(self._burst_bytes, self._bytes + ticks * self._per_tick_bytes)
        granted = min(wanted_bytes, self._bytes)
        self._bytes -= granted
        return granted

    def refill_in_s(self, now_s: float) -> float:
        """How long an empty bucket stays empty."""
        return max(self._ticked_s + _TICK_S - now_s, 0.0)
