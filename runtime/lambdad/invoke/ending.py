"""How the processes of an environment are asked to end, one kind after the other.

The deeds of the sequence in ``shutdown``: SIGTERM for the runtime, the tail of the telemetry, the
SHUTDOWN event for extensions, SIGKILL for who does not hear or takes too long. What is left then
is ended with the sandbox. Source: runtime-protocol 4.8.
"""

from __future__ import annotations

import signal

from lambdad.invoke.extensions import Extensions, ShutdownEvent
from lambdad.invoke.guests import RUNTIME, Guests, process_of
from lambdad.invoke.shutdown import Budget, ShutdownReason
from lambdad.invoke.telemetry import Telemetry
from lambdad.model import limits
from lambdad.model.clock import Clock


async def ask_to_end(
    guests: Guests,
    extensions: Extensions | None,
    telemetry: Telemetry,
    *,
    clock: Clock,
    budget: Budget,
    reason: ShutdownReason,
) -> None:
    """Give everybody the time that is theirs; returns when all have ended or it is over."""
    until = clock.monotonic() + budget.total_s
    deadline_ms = int((clock.now() + budget.total_s) * 1000)
    guests.signal(RUNTIME, signal.SIGTERM)
    await guests.wait_ended([RUNTIME], budget.runtime_share_s)
    guests.signal(RUNTIME, signal.SIGKILL)
    if extensions is None or not extensions.any_external:
        return
    await telemetry.flush(limits.telemetry_flush_s)
    for name in extensions.shutdown(ShutdownEvent(deadline_ms, reason)):
        guests.signal(process_of(name), signal.SIGKILL)
    await guests.wait_ended(guests.running, until - clock.monotonic())
    for name in guests.running:
        guests.signal(name, signal.SIGKILL)
