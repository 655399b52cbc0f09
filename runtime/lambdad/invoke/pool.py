"""The environments of one function, kept warm: asks the policy, does what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from lambdad.invoke import admission, pool_policy
from lambdad.invoke.account import Account, Allocation
from lambdad.invoke.admission import Admission
from lambdad.invoke.ahead import Ahead
from lambdad.invoke.budget import Budget
from lambdad.invoke.census import EnvironmentCensus, PoolCensus
from lambdad.invoke.environment import Environment
from lambdad.invoke.host import Host
from lambdad.invoke.idle import Idle
from lambdad.invoke.invocation import Invocation, Run
from lambdad.invoke.kinds import made
from lambdad.invoke.lifecycle import State
from lambdad.invoke.line import Line, Waiting
from lambdad.invoke.pool_policy import Event, Snapshot, decide
from lambdad.invoke.provisioned import Provisioned
from lambdad.invoke.runtime_state import Refused
from lambdad.model import limits
from lambdad.model.errors import ApiError, PlatformFault
from lambdad.model.function import Function


@dataclass(frozen=True, slots=True)
class Means:
    """What all pools have in common.

    Attributes:
        host: what environments are made with.
        account: how many invocations may run.
        admission: how many environments may start at a time.
        budget: how much memory they may take.
        idle_s: how long one is kept without work.
        ahead: how many of a version with a snapshot start ahead of need, if it is used often.
    """

    host: Host
    account: Account
    admission: Admission
    budget: Budget
    idle_s: float
    ahead: int = 0


@dataclass(slots=True)
class Counts:
    """What has happened since the daemon's start, see ``PoolCensus``."""

    invocations: int = 0
    cold: int = 0
    restored: int = 0
    throttled: int = 0


class Pool:
    """One per function and revision: what runs here never changes.

    Args:
        function: what its environments run.
        means: shared with every other pool.
        emptied: told once, when it is retired and nothing of it is left.
    """

    def __init__(self, function: Function, means: Means, emptied: Callable[[Pool], None]) -> None:
        self.function, self._means, self._emptied = function, means, emptied
        self._account, self._budget = means.account, means.budget
        self._place = function.name, function.version
        self._places = function.max_concurrency or 1  # of each environment
        self._loop, self._clock = asyncio.get_running_loop(), means.host.clock
        self._line = Line(self._look, partial(means.account.end, *self._place))
        self._ahead = Ahead(function, means.ahead, self._clock)
        self._idle = Idle(means.budget, self._clock, means.idle_s, self._wanted)
        self._provisioned = Provisioned(self._look)
        self._all: set[Environment] = set()
        self._starting: set[Environment] = set()
        # For those that start for whoever waits: how many events they will take.
        self._coming: dict[Environment, int] = {}
        self._coming_places = self._finishing = self._running = 0
        self._counts = Counts()
        # What is known of earlier starts.
        self._weight = admission.weight_unknown
        self._expected_bytes = min(
            limits.environment_bytes_expected, function.memory_mb * limits.MIB
        )
        self._retired = self._is_emptied = False
        if self._ahead.applies:
            self._loop.call_soon(self._look)
        self._budget.keepers.add(self._idle)

    # --- invocations ------------------------------------------------------------------

    async def invoke(self, invocation: Invocation) -> Run:
        """Start a run in an environment of its own.

        Raises:
            ApiError: TooManyRequestsException.
            FunctionError: its init failed, where that is not tried again.
            PlatformFault: no environment could be had.
        """
        if self._ahead.applies:
            self._ahead.arrived()
        (instruction,) = decide(self._snapshot(), Event.ARRIVED)
        match instruction:
            case pool_policy.Lease():
                run = self._lease_last_used(invocation)
                if run is not None:
                    self._account.begin(*self._place)
                    return run
            case pool_policy.Throttle():
                raise self._throttled(instruction)
        return await self._wait(invocation)

    def _snapshot(self) -> Snapshot:
        return Snapshot(
            self._account.share(*self._place),
            len(self._idle.environments) + len(self._provisioned.idle),
            len(self._line),
            self._line.impatient,
            self._finishing,
            self._coming_places,
            self._retired,
        )

    def _throttled(self, throttle: pool_policy.Throttle) -> ApiError:
        self._counts.throttled += 1
        return ApiError(
            "TooManyRequestsException",
            "Rate Exceeded.",
            Reason=throttle.reason,
            Type="User",
            retryAfterSeconds=str(throttle.retry_after_s),
        )

    def _lease_last_used(self, invocation: Invocation) -> Run | None:
        """Have it run in one that is idle; None if none takes it, though some seemed to."""
        for idle in (self._provisioned.idle, self._idle.environments):
            for environment in reversed(idle):
                if environment.can_be_leased:
                    del idle[environment]
                    run = self._lease(environment, invocation)
                    if environment.can_be_leased:  # It has another place.
                        idle[environment] = self._budget.clock
                    return run
        return None

    def _lease(self, environment: Environment, invocation: Invocation) -> Run | None:
        """Have it run there; None if it cannot."""
        state, first = environment.state, not environment.uses
        try:
            run = environment.invoke(invocation)
        except Refused:
            return None
        run.finished.add_done_callback(self._finished)
        self._running += 1
        self._counts.invocations += 1
        if first:
            self._first_use(environment, state)
        if environment in self._coming:
            self._expect(environment, self._coming[environment] - 1)
        return run

    def _first_use(self, environment: Environment, state: State) -> None:
        if state is State.SNAPSHOT:
            self._counts.restored += 1
        elif environment not in self._provisioned:
            self._counts.cold += 1
        if self._ahead.used(environment):
            self._loop.call_later(pool_policy.refill_after_s, self._look)

    def _finished(self, _: asyncio.Future[bytes]) -> None:
        self._running -= 1
        self._account.end(*self._place)

    async def _wait(self, invocation: Invocation) -> Run:
        self._account.begin(*self._place)
        waiting = self._line.join(invocation)
        self._look()
        try:
            return await waiting.run
        except asyncio.CancelledError:
            waiting.give_up()
            raise

    # --- starts -----------------------------------------------------------------------

    def _look(self) -> None:
        """See whether environments are missing, after anything that may have changed that."""
        if decide(self._snapshot_of_wishes(), Event.CHANGED):
            self._means.admission.ask(self)
        if self._retired and not self._all and not self._line and not self._is_emptied:
            self._is_emptied = True
            self._means.admission.leave(self)
            self._budget.keepers.discard(self._idle)
            self._emptied(self)

    def _snapshot_of_wishes(self) -> Snapshot:
        return self._snapshot()._replace(
            requested=self._provisioned.requested,
            provisioned=len(self._provisioned),
            may_provision=self._provisioned.may_start,
            ahead_wanted=self._ahead.wanted,
            ahead=len(self._ahead.environments),
        )

    def _wanted(self) -> set[Environment]:
        """Those that are kept though nobody has used them."""
        return self._ahead.environments if self._ahead.wanted else set()

    def granted(self) -> None:
        """It is this pool's turn to start an environment."""
        now = self._snapshot_of_wishes()._replace(
            may_add=self._account.may_add(self.function.name, self._clock.monotonic()),
            room=self._budget.room(self._expected_bytes),
        )
        instructions = decide(now, Event.GRANTED)
        for instruction in instructions:
            match instruction:
                case pool_policy.Evict():
                    self._budget.make_room(self._expected_bytes)
                case pool_policy.Spawn():
                    self._start(instruction)
                case pool_policy.Throttle():
                    self._line.last.fail(self._throttled(instruction))
                case pool_policy.PutOff(reason):
                    self._provisioned.put_off(reason)
        if instructions:
            self._look()

    def _start(self, spawn: pool_policy.Spawn) -> None:
        environment = self._make(spawn)
        self._all.add(environment)
        self._starting.add(environment)
        self._budget.charge(environment, self._expected_bytes)
        starts = self._means.admission
        asleep = sum(starts.sleeps(one) for one in self._starting)
        starts.hold(environment, admission.weight_beside(self._weight, asleep))
        start = asyncio.ensure_future(environment.start())
        start.add_done_callback(partial(self._started, environment))

    def _make(self, spawn: pool_policy.Spawn) -> Environment:
        host, provisioned = self._means.host, spawn.provisioned
        environment = made(self.function, host, self, provisioned=provisioned)
        if provisioned:
            self._provisioned.start(environment)
            return environment
        self._account.add(self.function.name, self._clock.monotonic())
        self._expect(environment, self._places)
        if spawn.ahead:
            self._ahead.environments.add(environment)
        return environment

    def _expect(self, environment: Environment, places: int) -> None:
        """So many events it will take of those that wait."""
        self._coming_places += places - self._coming.pop(environment, 0)
        if places:
            self._coming[environment] = places

    def _started(self, environment: Environment, start: asyncio.Task[None]) -> None:
        """Its start is over. Whoever waits comes first, then what is to be noted of it."""
        self._starting.discard(environment)
        if start.cancelled():  # The loop ends, and everything with it.
            return
        error = start.exception()
        if error is None and environment.can_be_leased:
            self._stands(environment)
        else:
            self._expect(environment, 0)
            self._not_to_be_had(environment, error)
        self._means.admission.release(environment)
        self._look()

    def _stands(self, environment: Environment) -> None:
        if environment in self._provisioned:
            self._provisioned.started(environment)
        self._ahead.succeeded()
        environment.rest()
        # The workers of one that takes several events may come one by one.
        if self._places > 1:
            self._loop.call_later(pool_policy.finishing_wait_s, self._all_have_come, environment)
        else:
            self._expect(environment, 0)
        busy = admission.weight(environment.cpu_s(), environment.start_s)
        self._weight = (self._weight + busy) / 2
        self._expected_bytes = self._budget.sample(environment) or self._expected_bytes

    def _all_have_come(self, environment: Environment) -> None:
        self._expect(environment, 0)
        self._look()

    def _not_to_be_had(self, environment: Environment, error: BaseException | None) -> None:
        """Whoever counted on it hears why; if it only ended too early, another may be tried."""
        self._ahead.failed(environment)
        if environment in self._provisioned:
            self._provisioned.gone(environment)
            self._provisioned.failed(error or PlatformFault("cannot keep it: it ended at once"))
            environment.retire()  # If it is being reset, it is of no use to others either.
            return
        lacking = min(self._places, pool_policy.missing(self._snapshot()))
        for waiting in [one for one, _ in zip(self._line, range(lacking), strict=False)]:
            self._disappoint(waiting, error)

    def _disappoint(self, waiting: Waiting, error: BaseException | None) -> None:
        waiting.attempts += 1
        if isinstance(error, Exception):
            waiting.fail(error)
        elif waiting.attempts == pool_policy.attempts_max:
            waiting.fail(
                PlatformFault("cannot run it: its environments end before they can be used")
            )

    # --- what is provisioned ----------------------------------------------------------------

    @property
    def allocation(self) -> Allocation:
        """How many environments are provisioned, and how many of those stand."""
        return self._provisioned.allocation

    def provision(self, count: int, told: Callable[[Allocation], None]) -> None:
        """Keep so many environments that never expire; 0 for none: they end when they are idle.

        Args:
            count: how many.
            told: hears how far it is, at once and whenever that changes.
        """
        self._provisioned.request(count, told)
        for environment in list(self._provisioned.idle):
            self._keep(environment)
        self._look()

    # --- the end ----------------------------------------------------------------------------

    def retire(self, successor: Pool | None = None) -> None:
        """Take no more work; idle environments end now, busy ones when they are done.

        Args:
            successor: who waits here waits there from now on; without one they are served.
        """
        self._retired = True
        self._provisioned.request(0, None)
        if successor is not None:
            successor.succeed(self)
        if not self._line:
            for environment in list(self._starting):
                environment.retire()
        for environment in list(self._provisioned.idle):
            environment.retire()
        self._idle.end()
        self._look()

    def succeed(self, other: Pool) -> None:
        """Serve in its stead from now on; what was counted there goes on here."""
        self._counts, other._counts = other._counts, Counts()
        self._line.take_over(other._line)
        self._look()

    def kill(self) -> None:
        """End every environment, busy or not, and start no more."""
        self._retired = True
        self._provisioned.request(0, None)
        for waiting in list(self._line):
            waiting.fail(PlatformFault("cannot run it: the daemon is shutting down"))
        for environment in list(self._all):
            environment.retire()
        self._look()

    # --- what environments say, see ``Holder`` ----------------------------------------------

    def answered(self, environment: Environment) -> None:
        environment.finishing = True
        self._finishing += 1

    def freed(self, environment: Environment) -> None:
        self._not_finishing(environment)
        if self._line and self._serve_waiting(environment):
            return
        self._keep(environment)

    def _serve_waiting(self, environment: Environment) -> bool:
        """Let it run for whoever waits longest; whether it then has no place left."""
        for waiting in list(self._line):
            if not environment.can_be_leased:
                break
            if waiting.run.done():  # Who asked has gone a moment ago.
                continue
            run = self._lease(environment, waiting.invocation)
            if run is not None:
                waiting.succeed(run)
        return not environment.can_be_leased and environment.state is not State.IDLE

    def _keep(self, environment: Environment) -> None:
        """Nobody needs it now, or not all of it."""
        provisioned = environment in self._provisioned
        event = Event.PROVISIONED_RESTED if provisioned else Event.RESTED
        now = self._snapshot_of_wishes() if provisioned else self._snapshot()
        if environment.state is not State.INVOKE and decide(now, event):
            environment.retire()
        elif provisioned:
            self._provisioned.idle[environment] = self._budget.clock
        elif not self._retired:
            self._idle.add(environment)

    def withdrawn(self, environment: Environment) -> None:
        self._idle.environments.pop(environment, None)
        self._provisioned.idle.pop(environment, None)
        self._not_finishing(environment)
        if environment.state is not State.SHUTDOWN:
            self._ahead.failed(environment)
            return
        self._budget.ends(environment)
        if environment in self._starting:
            return  # Its start fails in a moment, and is looked at then.
        self._ahead.used(environment)
        self._expect(environment, 0)
        if environment in self._provisioned:
            self._provisioned.gone(environment)
            if not environment.uses and len(self._provisioned) < self._provisioned.requested:
                self._provisioned.failed(PlatformFault("cannot keep it: it ended by itself"))
        self._look()

    def gone(self, environment: Environment) -> None:
        self._not_finishing(environment)
        self._all.discard(environment)
        self._budget.release(environment)
        self._means.admission.look_again()
        self._look()

    def _not_finishing(self, environment: Environment) -> None:
        if environment.finishing:
            environment.finishing = False
            self._finishing -= 1

    # --- what is to be seen of it -----------------------------------------------------------------

    def census(self) -> PoolCensus:
        """What stands, and what has happened."""
        now, counts = self._clock.monotonic(), self._counts
        return PoolCensus(
            self.function.name,
            self.function.version,
            self.function.memory_mb,
            tuple(self._census_of(environment, now) for environment in self._all),
            counts.invocations,
            counts.cold,
            counts.restored,
            counts.throttled,
            self._running,
            len(self._line),
            self._provisioned.requested,
        )

    def _census_of(self, environment: Environment, now: float) -> EnvironmentCensus:
        idle = environment.state in (State.IDLE, State.SNAPSHOT, State.NEEDS_INIT)
        return EnvironmentCensus(
            environment.id,
            environment.state,
            environment.init_type,
            environment in self._provisioned,
            now - environment.since,
            now - environment.idle_since if idle else None,
            environment.uses,
            self._budget.bytes_of(environment),
        )
