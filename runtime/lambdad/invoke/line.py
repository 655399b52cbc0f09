"""The invocations that wait for an environment of a pool, the longest first.

Not which environment they get, and not whether one starts for them: ``pool_policy`` says that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

from lambdad.invoke.invocation import Invocation, Run
from lambdad.invoke.pool_policy import finishing_wait_s


class Waiting:
    """One that waits.

    Attributes:
        run: done when it waits no more: it runs, or never will.
        attempts: how many environments that were to be its own ended before they could be used.
        impatient: whether it has waited ``finishing_wait_s``.
    """

    __slots__ = ("attempts", "impatient", "invocation", "line", "run", "timer")

    def __init__(self, invocation: Invocation, line: Line, loop: asyncio.AbstractEventLoop) -> None:
        self.invocation, self.line = invocation, line
        self.run: asyncio.Future[Run] = loop.create_future()
        self.attempts, self.impatient = 0, False
        self.timer = loop.call_later(finishing_wait_s, self._wait_no_longer)

    def _wait_no_longer(self) -> None:
        self.line.grow_impatient(self)

    def succeed(self, run: Run) -> None:
        """It runs."""
        self._leave()
        self.run.set_result(run)

    def fail(self, error: Exception) -> None:
        """It will not."""
        self._leave()
        self.line.lost()
        if not self.run.done():
            self.run.set_exception(error)

    def give_up(self) -> None:
        """Who asked has gone; nothing happens if it waits no more."""
        if self in self.line:
            self._leave()
            self.line.lost()
            self.line.changed()

    def _leave(self) -> None:
        self.timer.cancel()
        self.line.remove(self)


class Line:
    """All that wait.

    Args:
        changed: to be told when one has become impatient, or has gone.
        lost: to be told when one waits no more and will not run.
    """

    def __init__(self, changed: Callable[[], None], lost: Callable[[], None]) -> None:
        self.changed, self.lost = changed, lost
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[Waiting, None] = {}  # the longest first
        self.impatient = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, waiting: Waiting) -> bool:
        return waiting in self._waiting

    def __iter__(self) -> Iterator[Waiting]:
        return iter(self._waiting)

    @property
    def last(self) -> Waiting:
        """Who came last."""
        return next(reversed(self._waiting))

    def join(self, invocation: Invocation) -> Waiting:
        """Wait, behind all others."""
        waiting = Waiting(invocation, self, self._loop)
        self._waiting[waiting] = None
        return waiting

    def remove(self, waiting: Waiting) -> None:
        """It waits no more, or elsewhere."""
        if waiting in self._waiting:
            del self._waiting[waiting]
            self.impatient -= waiting.impatient

    def take_over(self, other: Line) -> None:
        """Whoever waits there waits here now, in the same order."""
        for waiting in list(other):
            other.remove(waiting)
            waiting.line = self
            self._waiting[waiting] = None
            self.impatient += waiting.impatient

    def grow_impatient(self, waiting: Waiting) -> None:
        """It has waited long enough for those that have answered."""
        waiting.impatient = True
        self.impatient += 1
        self.changed()
