"""Blank sandboxes that stand ready to become any function's: a cold start without the clone.

Made off the path of every start, a bounded number for each interpreter in use.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable

import structlog

from lambdad.code.runtimes import Interpreter
from lambdad.invoke.sandbox import Sandbox
from lambdad.model.errors import PlatformFault
from lambdad_sandbox.errors import SandboxError

_log = structlog.get_logger()

# A start that has just taken one is to be over before the next is made beside it.
REFILL_AFTER_S = 0.03

Make = Callable[[Interpreter | None, "Spare"], Awaitable[Sandbox]]


class Spare:
    """The owner of a blank sandbox, until it is somebody's."""

    def __init__(self) -> None:
        self.lost = False

    def not_entered(self, why: str) -> None:
        _log.warning("cannot make a spare sandbox", reason=why)
        self.lost = True

    def memory_ran_out(self) -> None:
        """It is about to die of it."""

    def sandbox_died(self) -> None:
        self.lost = True

    def nothing_yet(self, *_: object) -> None:
        """What only happens to a sandbox that is somebody's."""
        raise AssertionError("nothing runs in a blank sandbox")

    entered = process_failed_to_start = process_exited = emptied = nothing_yet


class Spares:
    """Keeps up to ``count`` of them for each interpreter.

    Args:
        make: makes a blank sandbox with that owner.
        remove: ends one that nobody needs.
        background: lets work run by itself.
    """

    def __init__(
        self,
        count: int,
        make: Make,
        remove: Callable[[Sandbox], Awaitable[None]],
        background: Callable[[Awaitable[None]], None],
    ) -> None:
        self._count, self._make, self._remove, self._background = count, make, remove, background
        self._ready: dict[Interpreter | None, list[tuple[Sandbox, Spare]]] = defaultdict(list)
        self._making: dict[Interpreter | None, int] = defaultdict(int)
        self._stopped = False

    def take(self, interpreter: Interpreter | None) -> Sandbox | None:
        """One that stands, if there is one; another is made soon."""
        loop = asyncio.get_running_loop()
        loop.call_later(REFILL_AFTER_S, self.refill, interpreter)
        while self._ready[interpreter]:
            sandbox, spare = self._ready[interpreter].pop()
            if not spare.lost:
                return sandbox
            self._background(self._remove(sandbox))
        return None

    def refill(self, interpreter: Interpreter | None) -> None:
        """Make as many as are missing."""
        if self._stopped:
            return
        missing = self._count - len(self._ready[interpreter]) - self._making[interpreter]
        for _ in range(missing):
            self._making[interpreter] += 1
            self._background(self._add(interpreter))

    async def _add(self, interpreter: Interpreter | None) -> None:
        spare = Spare()
        try:
            sandbox = await self._make(interpreter, spare)
        except (OSError, PlatformFault, SandboxError) as error:
            _log.warning("cannot make a spare sandbox", reason=str(error))
            return
        finally:
            self._making[interpreter] -= 1
        if self._stopped:
            await self._remove(sandbox)
        else:
            self._ready[interpreter].append((sandbox, spare))

    def stop(self) -> None:
        """End those that stand, make no more."""
        self._stopped = True
        for ready in self._ready.values():
            while ready:
                self._background(self._remove(ready.pop()[0]))
