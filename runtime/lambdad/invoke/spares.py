"""Blank sandboxes that stand ready to become any function's: a cold start without the clone.

Made off the path of every start, a bounded number of each kind in use.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from lambdad.code.runtimes import Interpreter
from lambdad.invoke.sandbox import Sandbox
from lambdad.invoke.zygotes import name_of
from lambdad.model.errors import PlatformFault
from lambdad_sandbox.errors import SandboxError

_log = structlog.get_logger()

# A start that has just taken one is to be over before the next is made beside it.
REFILL_AFTER_S = 0.03

Make = Callable[["Kind", "Spare"], Awaitable[Sandbox]]


@dataclass(frozen=True, slots=True)
class Kind:
    """What a blank sandbox could become.

    Attributes:
        interpreter: whose zygote it is cloned from; None for what is executed.
        parked: whether a runtime process stands by in it.
        packages: what that zygote has loaded besides the runtime client.
    """

    interpreter: Interpreter | None
    parked: bool = False
    packages: tuple[str, ...] = ()


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
    """Keeps up to ``count`` of them of each kind.

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
        self._ready: dict[Kind, list[tuple[Sandbox, Spare]]] = defaultdict(list)
        self._making: dict[Kind, int] = defaultdict(int)
        self._stopped = False

    def take(self, kind: Kind) -> Sandbox | None:
        """One that stands, if there is one; another is made soon."""
        asyncio.get_running_loop().call_later(REFILL_AFTER_S, self.refill, kind)
        ready = self._ready[kind]
        for lost in [entry for entry in ready if entry[1].lost]:
            ready.remove(lost)
            self._background(self._remove(lost[0]))
        for position, (sandbox, _) in enumerate(ready):
            if sandbox.stands:
                del ready[position]
                return sandbox
        return None

    def counts(self) -> dict[str, int]:
        """How many stand ready, by the name of their zygote."""
        counted: dict[str, int] = {}
        for kind, ready in self._ready.items():
            name = name_of(kind.interpreter, kind.packages)
            counted[name] = counted.get(name, 0) + sum(sandbox.stands for sandbox, _ in ready)
        return counted

    def refill(self, kind: Kind) -> None:
        """Make as many as are missing."""
        if self._stopped:
            return
        missing = self._count - len(self._ready[kind]) - self._making[kind]
        for _ in range(missing):
            self._making[kind] += 1
            self._background(self._add(kind))

    async def _add(self, kind: Kind) -> None:
        spare = Spare()
        try:
            sandbox = await self._make(kind, spare)
        except (OSError, PlatformFault, SandboxError) as error:
            _log.warning("cannot make a spare sandbox", reason=str(error))
            return
        finally:
            self._making[kind] -= 1
        if self._stopped:
            await self._remove(sandbox)
        else:
            self._ready[kind].append((sandbox, spare))

    def stop(self) -> None:
        """End those that stand, make no more."""
        self._stopped = True
        for ready in self._ready.values():
            while ready:
                self._background(self._remove(ready.pop()[0]))
