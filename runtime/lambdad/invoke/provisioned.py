"""The environments of a pool that stand because they were provisioned: how many, and how far.

Not who starts them and not what is set aside in the account: the pool does the one, who
configures provisioned concurrency the other. Source:
https://docs.aws.amazon.com/lambda/latest/dg/provisioned-concurrency.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lambdad.invoke.account import Allocation
from lambdad.invoke.environment import Environment
from lambdad.invoke.pool_policy import (
    pause_before_next_s,
    provision_attempts_max,
    provision_pause_s,
)
from lambdad.model.errors import FunctionError

# StatusReason, as AWS has it.
INIT_FAILED = "FUNCTION_ERROR_INIT_FAILURE"


class Provisioned:
    """See above.

    Args:
        changed: told when another start may be tried.

    Attributes:
        requested: how many are to stand.
        idle: those that can be leased, the last used last, with what the pool notes of each.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self.requested = 0
        self.idle: dict[Environment, float] = {}
        self._changed = changed
        self._all: set[Environment] = set()
        self._starting: set[Environment] = set()
        self._failures, self._failed = 0, ""
        self._pause: asyncio.TimerHandle | None = None
        self._told: Callable[[Allocation], None] | None = None
        self._last_told: Allocation | None = None

    def __len__(self) -> int:
        """Those that stand or start."""
        return len(self._all)

    def __contains__(self, environment: Environment) -> bool:
        return environment in self._all

    @property
    def may_start(self) -> bool:
        """Whether one more may be tried now."""
        return self._pause is None and self._failures < provision_attempts_max

    @property
    def allocation(self) -> Allocation:
        """How far it is."""
        stand = len(self._all) - len(self._starting)
        return Allocation(self.requested, stand, stand, self._failed or None)

    def request(self, count: int, told: Callable[[Allocation], None] | None) -> None:
        """Another number is wanted; who is told hears how far it is, now and at each change."""
        self.requested, self._told, self._last_told = count, told, None
        self._succeeded()
        self._tell()

    def start(self, environment: Environment) -> None:
        """One more starts."""
        self._all.add(environment)
        self._starting.add(environment)

    def started(self, environment: Environment) -> None:
        """It stands."""
        self._starting.discard(environment)
        self._succeeded()
        self._tell()

    def gone(self, environment: Environment) -> None:
        """It is on its way out."""
        self._all.discard(environment)
        self._starting.discard(environment)
        self._tell()

    def failed(self, error: BaseException) -> None:
        """One could not be had: the next is tried after a pause, and not for ever."""
        self._failures += 1
        reason = INIT_FAILED if isinstance(error, FunctionError) else str(error)
        self._wait(pause_before_next_s(self._failures), reason)

    def put_off(self, reason: str) -> None:
        """There is no room for one: it is tried again for as long as it is wanted."""
        self._wait(provision_pause_s, reason)

    def _wait(self, pause_s: float | None, reason: str) -> None:
        self._failed = reason
        if pause_s is not None and self._pause is None:
            loop = asyncio.get_running_loop()
            self._pause = loop.call_later(pause_s, self._try_again)
        self._tell()

    def _try_again(self) -> None:
        self._pause = None
        self._changed()

    def _succeeded(self) -> None:
        self._failures, self._failed = 0, ""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _tell(self) -> None:
        allocation = self.allocation
        if self._told is not None and allocation != self._last_told:
            self._last_told = allocation
            self._told(allocation)
