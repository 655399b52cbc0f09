"""One execution environment: a sandbox, and the runtime and the extensions in it.

Here is what every environment goes through: its sandbox, its init phase, its end. What it does
with events is the matter of ``on_demand`` and ``managed``. Everything that can happen to it is a
method, each takes the one edge of the life cycle that it is, or is refused. Nothing here waits
but ``start`` and the end: the Runtime API calls in, timers call in, the sandbox calls in.
"""

from __future__ import annotations

import asyncio
import socket
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from itertools import takewhile

from lambdad.invoke import environ, event_parts, platform_events, shutdown
from lambdad.invoke.ending import ask_to_end
from lambdad.invoke.event_parts import InitType, Outcome, Phase
from lambdad.invoke.extensions import Extension, Extensions
from lambdad.invoke.figures import Figures
from lambdad.invoke.guests import RUNTIME, Guests, extension_of, process_of
from lambdad.invoke.holder import Holder
from lambdad.invoke.host import Host
from lambdad.invoke.init_credit import InitCredit
from lambdad.invoke.invocation import Invocation, Run
from lambdad.invoke.journal import Journal
from lambdad.invoke.lifecycle import Event, State, next_state
from lambdad.invoke.platform_words import exit_text, not_started_text
from lambdad.invoke.runtime_side import RuntimeSide
from lambdad.invoke.runtime_state import RuntimeState
from lambdad.invoke.sandbox import Sandbox
from lambdad.invoke.shutdown import ShutdownReason
from lambdad.invoke.subscription import Api, Subscription
from lambdad.invoke.telemetry import Telemetry
from lambdad.model import ids, limits
from lambdad.model.errors import FunctionError, PlatformFault
from lambdad.model.function import Function
from lambdad_sandbox.errors import SandboxError

SANDBOX_S_MAX = 30.0  # a zygote that has to be started first included
EMPTYING_S_MAX = 2.0
ALIVE = frozenset({State.INIT, State.IDLE, State.SNAPSHOT, State.RESTORE, State.INVOKE})

_SUBSCRIBED = {
    Api.TELEMETRY: platform_events.TelemetrySubscription,
    Api.LOGS: platform_events.LogsSubscription,
}


class Environment(Figures, RuntimeSide):
    """Kept, leased, reset and retired by its pool.

    Args:
        function: what runs in it; an environment never changes its function.
        host: what environments are made with.
        holder: the pool, which is told when it can be leased and when not.
        init_type: how it comes to be, which decides how long its init phase may take.

    Attributes:
        extensions: None where the function has switched them off.
        provisioned: whether it is one of those that were asked for ahead.
    """

    def __init__(self, function: Function, host: Host, holder: Holder, init_type: InitType) -> None:
        super().__init__(host.clock)
        self.id, self.function, self.account = "", function, host.account
        self.version = function.version
        self.init_type = init_type
        self.provisioned = init_type is InitType.PROVISIONED_CONCURRENCY
        self.state, self.runtime_state = State.STARTING, RuntimeState.STARTED
        self.idle_since, self.finishing = 0.0, False
        self.log_stream = ids.log_stream(
            host.clock.now(), function.version, function.name if function.log_group else ""
        )
        self._host, self._holder = host, holder
        self._loop = asyncio.get_running_loop()
        self._credentials = environ.Credentials.make()
        self._telemetry = Telemetry(host.clock)
        self._journal = Journal(function, self.log_stream, host.logs, host.clock, self._telemetry)
        self._guests = Guests(self._journal, host.clock)
        self._extension_files = host.extensions_of(function)
        self.extensions: Extensions | None = None
        if self._extension_files is not None:
            managed = init_type is InitType.MANAGED_INSTANCES
            self.extensions = Extensions(self._advance, managed=managed)
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._phase: Phase | None = None  # of the init that is under way
        self._runtime_started = self._runtime_ready = False
        self._init_since = 0.0
        self._init_s: float | None = None
        self._init_error: FunctionError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._credit: InitCredit | None = None
        self._close_door: Callable[[], Awaitable[None]] | None = None
        self._requested: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    # --- start ----------------------------------------------------------------

    async def start(self) -> None:
        """Build the sandbox and run the init phase; after it, the environment can be leased.

        An init phase that fails is no error here: init runs again within the first invoke.

        Raises:
            PlatformFault: no sandbox could be had.
        """
        self._init_since = self._clock.monotonic()
        self._set_timer(SANDBOX_S_MAX, self.retire, "no sandbox came in time")
        # By itself: a sandbox that never comes is not waited for longer than that.
        self._requested = asyncio.ensure_future(self._obtain_sandbox())
        await asyncio.shield(self._started)  # Whoever waits may be cancelled, a start may not.
        self._stood()

    async def _obtain_sandbox(self) -> None:
        try:
            await self._request_sandbox()
        except (OSError, SandboxError, PlatformFault) as error:
            self.retire(str(error))

    async def _request_sandbox(self) -> None:
        """Ask for the sandbox and, in the same breath, for what runs in it."""
        if await self._stand_in(await self._host.sandbox_for(self.function, self)):
            if environ.is_managed(self.function):
                self._guests.open_log()
            snap_start = self.init_type is InitType.SNAP_START
            self._begin_init(Phase.SNAP_START if snap_start else Phase.INIT)

    async def _stand_in(self, sandbox: Sandbox) -> bool:
        """This is its sandbox; false if it was retired while that was awaited."""
        if self.state is not State.STARTING:
            await self._host.remove_sandbox(sandbox)
            return False
        self._has(sandbox)
        self._guests.enter(sandbox)
        self.id = sandbox.name
        self._credit = InitCredit(sandbox.cgroup, limits.cpus(self.function.memory_mb))
        return True

    # --- the init phase: extensions start, register, then the runtime (4.2) ---------------

    def _begin_init(self, phase: Phase) -> None:
        self._phase = phase
        self._runtime_started = self._runtime_ready = False
        self.runtime_state, self._init_error = RuntimeState.STARTED, None
        self._journal.emit(platform_events.InitStart(self.init_type, phase, *self._identity()))
        if self.extensions is not None:
            self.extensions.reset()
        if self.extensions is None or not self._extension_files:
            self._start_runtime()
            return
        # One that is too many is enough to be told of: there may be tens of thousands.
        launched = list(takewhile(self.extensions.launched, self._extension_files))
        variables = environ.of_extension(self.function, self._place())
        for name in launched:
            self._guests.start(process_of(name), (f"/opt/extensions/{name}",), variables, "/")
        self._advance()

    def _identity(self) -> tuple[str, str, str, int, str | None, str | None]:
        """What the begin of an init or a restore is told with."""
        function = self.function
        version, arn = self._host.runtime_version(function)
        return function.name, function.version, self.log_stream, function.memory_mb, version, arn

    def _start_runtime(self) -> None:
        self._runtime_started = True
        variables = environ.of_runtime(self.function, self._place())
        command = self._host.command_of(self.function)
        self._guests.start(RUNTIME, command, variables, "/var/task")

    def _place(self) -> environ.Place:
        assert self._sandbox is not None
        return environ.Place(
            region=self._host.region,
            log_stream=self.log_stream,
            runtime_api=self._sandbox.runtime_api,
            init_type=self.init_type,
            credentials=self._credentials,
        )

    def _advance(self) -> None:
        """An extension has done something: see which gate is open now, or what has failed."""
        assert self.extensions is not None
        if self.state not in ALIVE:
            return
        fault = self.extensions.fault
        if fault is not None:
            self._guest_failed(fault.error_type, fault.text)
        elif self._phase is None:
            self._extensions_back()
        elif not self._runtime_started:
            if self.extensions.all_registered:
                self._start_runtime()
        else:
            self._look_if_ready()

    def _runtime_asks(self) -> None:
        """The runtime's first ``next``, or ``restore/next``: no more extensions may register."""
        self._runtime_ready = True
        if self.extensions is not None:
            self.extensions.close_registration()
        self._emit_runtime_done(event_parts.SUCCESS)
        self._look_if_ready()

    def _look_if_ready(self) -> None:
        if self._runtime_ready and (self.extensions is None or self.extensions.all_ready):
            self._end_init(event_parts.SUCCESS)
            self._init_done()

    def _emit_runtime_done(self, outcome: Outcome) -> None:
        assert self._phase is not None
        self._journal.emit(platform_events.InitRuntimeDone(self.init_type, self._phase, outcome))

    def _end_init(self, outcome: Outcome) -> None:
        """Init is over, in whichever phase it ran and however it ended."""
        assert self._phase is not None
        assert self._credit is not None
        if not self._runtime_ready:
            self._emit_runtime_done(outcome)
        for extension in self.extensions.all if self.extensions is not None else ():
            self._journal.emit(
                platform_events.ExtensionReady(
                    extension.shown_name, extension.state, extension.events, extension.error_type
                )
            )
        took_s = self._clock.monotonic() - self._init_since
        self._credit.init_took(took_s)
        self._journal.emit(platform_events.InitReport(self.init_type, self._phase, outcome, took_s))
        self._telemetry.close_subscription()
        self._init_s = took_s if self.state is State.INIT else None
        self._phase = None

    def _init_timed_out(self) -> None:
        self._end_init(event_parts.TIMEOUT)
        self._init_failed()

    @property
    def _init_s_max(self) -> float:
        """On demand ten seconds, else as long as an invocation may take (4.3)."""
        if self.init_type is InitType.ON_DEMAND:
            return limits.init_phase_s_max
        return max(limits.init_phase_ahead_s, self.function.timeout_s)

    @abstractmethod
    def _init_done(self) -> None:
        """Runtime and extensions wait for their first event."""

    @abstractmethod
    def _init_failed(self) -> None:
        """They took too long; it has been logged."""

    @abstractmethod
    def _extensions_back(self) -> None:
        """After init: some extension waits for its next event."""

    @abstractmethod
    def _guest_failed(self, error_type: str, text: str) -> None:
        """A process cannot go on: exit, no start, or a reported init error."""

    # --- what the pool asks -----------------------------------------------------

    @abstractmethod
    def invoke(self, invocation: Invocation) -> Run:
        """Run one event; only when it can be leased."""

    @property
    @abstractmethod
    def can_be_leased(self) -> bool:
        """Whether ``invoke`` may be called now."""

    @abstractmethod
    def rest(self) -> None:
        """No event is out, and nobody is about to bring one."""

    def retire(self, why: str = "it was shut down") -> None:
        """End it for good, whatever it does; the holder is told when it is gone."""
        if self.state in (State.SHUTDOWN, State.GONE):
            return
        if self.state is State.STARTING:
            self._guests.all_ended()  # What is to run was asked for, and never will.
        self._take(Event.RETIRED)
        self._holder.withdrawn(self)
        self._cancel_timer()
        fault = PlatformFault(f"cannot run the environment: {why}")
        self._fail_runs(fault)
        if not self._started.done():
            self._started.set_exception(fault)
            self._started.exception()
        self._host.background(self._remove())

    def _give_up(self, reason: ShutdownReason, why: str) -> None:
        """End it for good because of a failure, which its extensions are told."""
        self._ending = asyncio.ensure_future(self._ask_to_end(reason))
        self.retire(why)

    @abstractmethod
    def _fail_runs(self, fault: PlatformFault) -> None:
        """It ends: whoever still waits for an answer gets this."""

    async def _remove(self) -> None:
        if self._ending is None:
            await self._ask_to_end(ShutdownReason.SPINDOWN)
        else:  # They have been asked, and nobody is asked twice.
            await self._ending
        self._telemetry.stop()
        if self._sandbox is not None:
            await self._host.remove_sandbox(self._sandbox)
        self._guests.all_ended()
        self._hang_up()
        if self._close_door is not None:
            await self._close_door()
        self._guests.close()
        self._take(Event.REMOVED)
        self._holder.gone(self)

    @abstractmethod
    def _hang_up(self) -> None:
        """Who waits for an event is dead; had it been told before, it would have called again."""

    # --- the end of its processes (4.8) -------------------------------------------------

    def _reset(self, reason: ShutdownReason) -> None:
        """End what runs; /tmp stays. What cannot be emptied in time is given up."""
        assert self._sandbox is not None
        assert self._credit is not None
        self._take(Event.FAILED)
        self._phase = None
        self._sandbox.thaw()
        self._credit.lift()  # To die takes processor time, too.
        budget = self._budget()
        self._set_timer(budget.total_s + EMPTYING_S_MAX, self.retire)
        if budget.total_s:
            self._ending = asyncio.ensure_future(self._end_then_kill(self._sandbox, reason))
        else:
            self._sandbox.kill_all()

    async def _end_then_kill(self, sandbox: Sandbox, reason: ShutdownReason) -> None:
        await self._ask_to_end(reason)
        if self.state is State.RESET:
            sandbox.kill_all()

    def _budget(self) -> shutdown.Budget:
        if self.extensions is None:
            return shutdown.plan(any_external=False, any_internal=False)
        return shutdown.plan(
            any_external=self.extensions.any_external, any_internal=self.extensions.any_internal
        )

    async def _ask_to_end(self, reason: ShutdownReason) -> None:
        if self._sandbox is not None and self._budget().total_s and self._guests.running:
            self._sandbox.thaw()
            self._telemetry.resume()
            everybody = self._guests, self.extensions, self._telemetry
            await ask_to_end(*everybody, clock=self._clock, budget=self._budget(), reason=reason)

    # --- what the runtime says, through the Runtime API ---------------------------

    @property
    def snap_start(self) -> bool:
        """Whether the restore routes are there."""
        return self.init_type is InitType.SNAP_START

    def credentials(self, token: str) -> dict[str, str] | None:
        """``GET /credentials``: what to sign with; None for another token than the variable's."""
        return self._credentials.record(self._clock.now()) if self.is_token(token) else None

    def is_token(self, said: str) -> bool:
        """Whether this is the token that the environment's own variables hold."""
        return self._credentials.is_token(said)

    # --- what extensions say, through the Extensions and the Telemetry API ------------------

    def subscribe(self, extension: Extension, subscription: Subscription) -> None:
        """``PUT /telemetry`` or ``/logs``; what has been said since init began is delivered, too.

        Raises:
            Refused: init is over, or the extension has subscribed to the other API.
        """
        courier = self._host.courier(self._open_socket, subscription)
        new = self._telemetry.subscribe(extension.identifier, subscription, courier)
        kind = _SUBSCRIBED[subscription.api]
        self._journal.emit(kind(extension.shown_name, subscription.types, not new))

    async def _open_socket(self) -> socket.socket:
        """A socket in the environment's own network."""
        if self._sandbox is None:
            raise ConnectionError("the environment is gone")
        return await self._sandbox.open_socket()

    # --- what the sandbox says ------------------------------------------------------

    def entered(self, listener: socket.socket) -> None:
        """The sandbox stands, confined; what is to run in it is starting."""
        if self.state is not State.STARTING:
            listener.close()
            return
        self._take(Event.ENTERED)
        self._set_timer(self._init_s_max, self._init_timed_out)
        self._host.background(self._open_door(listener))
        if self.extensions is not None and self.extensions.fault is not None:
            self._advance()  # One that is too many is known before anything runs.

    async def _open_door(self, listener: socket.socket) -> None:
        self._close_door = await self._host.door.open(self, listener)

    def not_entered(self, why: str) -> None:
        """The sandbox could not be had."""
        self.retire(why)

    def process_failed_to_start(self, name: str, errno: int) -> None:
        """A bootstrap or an extension could not be executed."""
        if not self._guests.ended(name):
            return
        if name != RUNTIME:
            assert self.extensions is not None
            self.extensions.failed_to_launch(extension_of(name), errno)
        elif self.state in ALIVE:
            command = self._host.command_of(self.function)
            found = self._host.has_bootstrap(self.function)
            text = not_started_text(command, errno, has_bootstrap=found)
            self._guest_failed("Runtime.InvalidEntrypoint", text)

    def process_exited(self, name: str, status: int) -> None:
        """A process ended, which none does by itself when all is well."""
        if not self._guests.ended(name):
            return
        if name != RUNTIME:
            assert self.extensions is not None
            self.extensions.exited(extension_of(name), status)
        elif self.state in ALIVE:
            # What an extension has reported comes first.
            recorded = None if self.extensions is None else self.extensions.fatal_type
            self._guest_failed(recorded or "Runtime.ExitError", exit_text(status))

    @abstractmethod
    def emptied(self) -> None:
        """Every process of a reset is gone."""

    @abstractmethod
    def memory_ran_out(self) -> None:
        """One process may have been killed for it: the others are not to go on."""

    @abstractmethod
    def sandbox_died(self) -> None:
        """Init itself is gone, and with it everything: killed by the kernel, most likely."""

    # --- small things --------------------------------------------------------------

    def _take(self, event: Event) -> None:
        self.state = next_state(self.state, event)

    def _set_timer(self, delay_s: float, then: Callable[..., None], *arguments: str) -> None:
        """One timer at a time: each state has at most one, and cancels that of the last."""
        self._cancel_timer()
        self._timer = self._loop.call_later(delay_s, then, *arguments)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
