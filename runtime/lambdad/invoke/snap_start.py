"""An environment that comes of a snapshot: it stands when its runtime waits to be restored.

Its runtime is a clone of a template's, or, where there can be no template, has run its own init.
Source: runtime-protocol 1.8; https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html
"""

from __future__ import annotations

import asyncio
import dataclasses
import socket
from typing import TYPE_CHECKING

from lambdad.invoke import environ, event_parts, platform_events
from lambdad.invoke.environment import ALIVE, SANDBOX_S_MAX
from lambdad.invoke.event_parts import InitType, Outcome, Phase
from lambdad.invoke.guests import RUNTIME
from lambdad.invoke.holder import Holder
from lambdad.invoke.host import Host
from lambdad.invoke.journal import Source
from lambdad.invoke.lifecycle import Event, State
from lambdad.invoke.on_demand import OnDemand
from lambdad.invoke.platform_words import no_clones
from lambdad.invoke.runtime_state import Call, RuntimeState
from lambdad.invoke.sandbox import Disk
from lambdad.invoke.shutdown import ShutdownReason
from lambdad.model import limits
from lambdad.model.errors import ApiError, FunctionError, PlatformFault
from lambdad.model.function import Function
from lambdad_sandbox.messages import Suspended

if TYPE_CHECKING:
    from lambdad.invoke.templates import Template, TemplateKeeper


class SnapStarted(OnDemand):
    """One that is restored before its first event; else as any other."""

    def __init__(self, function: Function, host: Host, holder: Holder) -> None:
        super().__init__(function, host, holder, InitType.SNAP_START)
        self._restore: asyncio.Future[None] | None = None
        self._template: Template | None = None
        self._rested = self._forking = False

    # --- a clone of a template ---------------------------------------------------------

    async def _request_sandbox(self) -> None:
        self._cancel_timer()  # The init of a template that is still to be made has its own.
        try:
            template = await self._host.template_of(self.function)
        except FunctionError as error:
            if self.state is State.STARTING:
                self._give_up_init(error)
            return
        if self.state is not State.STARTING:  # It was retired while that was awaited.
            return
        self._set_timer(SANDBOX_S_MAX, self.retire, "no sandbox came in time")
        if isinstance(template, str):
            line = f"LAMBDA_WARNING: {no_clones(template)}\n"
            self._journal.wrote(Source.FUNCTION, line.encode(errors="replace"))
            await super()._request_sandbox()
            return
        template.lend()
        self._template = template
        # What is in the template's memory is in this one's, too: the token in its variables.
        self._credentials = dataclasses.replace(environ.Credentials.make(), token=template.token)
        self._shared_bytes = template.anonymous_bytes
        self._guests.open_log()
        await self._stand_in(await self._host.sandbox_for(self.function, self, template=template))

    def entered(self, listener: socket.socket) -> None:
        super().entered(listener)
        if self._template is not None and self.state is State.INIT:
            self._set_timer(limits.init_phase_ahead_s, self.retire, "too many restores before it")
            self._template.line_up(self._fork)

    def _fork(self) -> bool:
        """It is its turn; false if it does not need that any more."""
        if self.state is not State.INIT:
            return False
        assert self._sandbox is not None
        assert self._template is not None
        self._set_timer(limits.restore_s_max, self.retire, "its snapshot was not loaded in time")
        self._template.fork_into(self._sandbox, self._guests.adopt(RUNTIME))
        self._forking = True
        return True

    def _forked(self) -> None:
        if self._forking:
            assert self._template is not None
            self._forking = False
            self._template.forked()

    def retire(self, why: str = "it was shut down") -> None:
        super().retire(why)
        self._forked()

    def _clone_stands(self) -> None:
        """All of its init was the template's: nothing of it is told here."""
        if self.extensions is not None:
            self.extensions.close_registration()
        self._telemetry.close_subscription()
        self._suspended()
        self._forked()

    def _guest_failed(self, error_type: str, text: str) -> None:
        if self.state is State.INIT and self._template is not None:
            self.retire(text)
        else:
            super()._guest_failed(error_type, text)

    def sandbox_died(self) -> None:
        if self.state is State.INIT and self._template is not None:
            self._guests.all_ended()
            self.retire()
        else:
            super().sandbox_died()

    # --- restore ------------------------------------------------------------------------

    def _init_done(self) -> None:
        if self.runtime_state is RuntimeState.RESTORE_READY:
            self._suspended()
        else:
            super()._init_done()

    def _suspended(self) -> None:
        self._cancel_timer()
        self._take(Event.SUSPENDED)
        self._started.set_result(None)

    @property
    def can_be_leased(self) -> bool:
        return self.state is State.SNAPSHOT or super().can_be_leased

    def rest(self) -> None:
        super().rest()  # Who waits for it is given it here.
        self._rested = True

    def restore_next(self) -> asyncio.Future[None]:
        """``GET /runtime/restore/next``: done when the environment has been restored.

        Raises:
            Refused: not in this state.
        """
        waiting: asyncio.Future[None] = self._loop.create_future()
        if self.state not in ALIVE:
            waiting.cancel()  # It is being ended, and is to hear nothing more.
            return waiting
        self.runtime_state = self._after(Call.RESTORE_NEXT)
        self._restore = waiting
        if self.state is State.INVOKE:  # Init runs again: there is nothing to be restored.
            self._restored()
        elif self._template is not None:
            self._clone_stands()
        else:
            self._runtime_asks()
        return waiting

    def begin_restore_error(self) -> None:
        """``POST /runtime/restore/error`` begins to arrive.

        Raises:
            Refused: not in this state.
        """
        self.runtime_state = self._after(Call.RESTORE_ERROR)

    def restore_error(self, error: FunctionError) -> None:
        """A hook has failed after the restore; the environment is of no use."""
        self._reported(error)

    def _begin_run(self, was: State) -> None:
        if was is not State.SNAPSHOT:
            super()._begin_run(was)
            return
        if not self._rested:  # It was made for this event: that is a part of its restore.
            self._run_since = self.since
        self._journal.emit(platform_events.RestoreStart(*self._identity()))
        self._set_timer(limits.restore_s_max, self._restore_timed_out)
        self._restored()

    def _restored(self) -> None:
        """Let the runtime go on, to its hooks and its first event."""
        assert self._restore is not None
        self.runtime_state = self._after(Call.RESTORED)
        if not self._restore.done():
            self._restore.set_result(None)

    def _runtime_asks(self) -> None:
        if self.state is not State.RESTORE:
            super()._runtime_asks()
            return
        self._end_restore(event_parts.SUCCESS)
        self._run_since = self._clock.monotonic()  # A restore is counted by itself.
        self._take(Event.RESTORED)
        self._set_deadline()
        self._deliver()

    def _restore_timed_out(self) -> None:
        text = f"Restore timed out after {limits.restore_s_max} seconds"
        self._restore_failed(event_parts.TIMEOUT, ApiError("SnapStartTimeoutException", text))

    def _fail_restore(self, outcome: Outcome, text: str) -> None:
        posted = self._init_error
        said = text if posted is None else posted.payload.decode(errors="replace")
        self._restore_failed(outcome, ApiError("SnapStartException", said))

    def _restore_failed(self, outcome: Outcome, error: ApiError) -> None:
        assert self._run is not None
        self._end_restore(outcome)
        self._run.fail(error)
        self._end_run()
        self._give_up(ShutdownReason.FAILURE, "it could not be restored")

    def _end_restore(self, outcome: Outcome) -> None:
        took_s = self._clock.monotonic() - self._run_since
        self._journal.emit(platform_events.RestoreRuntimeDone(outcome))
        self._journal.emit(platform_events.RestoreReport(outcome, took_s))
        self._restore_s = took_s

    def _hang_up(self) -> None:
        super()._hang_up()
        if self._restore is not None:
            self._restore.cancel()

    async def _remove(self) -> None:
        await super()._remove()
        if self._template is not None:
            self._template.given_back()


class Original(SnapStarted):
    """The environment in which a template's init runs; no event ever comes here.

    Its runtime shares its memory with the template's twin, and is stopped when init is done.

    Attributes:
        keeper: once it has one.
        refusal: why no runtime can be forked into the sandbox, though that stands; else empty.
    """

    keeper: TemplateKeeper | None = None
    refusal = ""

    async def _request_sandbox(self) -> None:
        self._guests.open_log()
        await self._stand_in(await self._host.sandbox_for(self.function, self, bare=True))

    def entered(self, listener: socket.socket) -> None:
        super().entered(listener)
        if self.state is State.INIT:
            self._begin_init(Phase.SNAP_START)

    def _start_runtime(self) -> None:
        assert self._sandbox is not None
        self._runtime_started = True
        variables = environ.of_runtime(self.function, self._place())
        try:
            self.keeper = self._host.keep_template(self.function)
        except PlatformFault as fault:
            self.retire(str(fault))
            return
        self.keeper.fork_into(self._sandbox, self._guests.adopt(RUNTIME), variables)

    def not_entered(self, why: str) -> None:
        if self.state is State.INIT:
            self.refusal = f"a runtime cannot be forked here: {why}"
        super().not_entered(why)

    def _fail_init(self, error: FunctionError) -> None:
        self._give_up_init(error)

    async def suspend(self) -> Suspended:
        """Stop the runtime for ever; whether it can be cloned.

        Raises:
            PlatformFault: it is gone.
        """
        sandbox = self._sandbox
        assert sandbox is not None
        if self.state is not State.SNAPSHOT:
            raise PlatformFault("cannot clone what does not wait to be restored")
        assert self.keeper is not None
        suspended = await self.keeper.suspend(tmp_in_memory=sandbox.disk is None)
        # Nothing of the function's runs here any more. What the kernel needs for clones is
        # charged here, be it memory or time.
        cpus = limits.cpus(limits.memory_mb_max)
        sandbox.cgroup.grow(limits.template_bytes_max, cpus)
        sandbox.cgroup.cap_cpus(cpus)
        return suspended

    async def _remove(self) -> None:
        if self.keeper is not None:
            self.keeper.end()
        await super()._remove()

    @property
    def token(self) -> str:
        """What its variables say, and those of every clone."""
        return self._credentials.token

    @property
    def uid(self) -> int:
        """Whose files are in its /tmp."""
        assert self._sandbox is not None
        return self._sandbox.uid

    @property
    def written_disk(self) -> Disk | None:
        """Its /tmp, if something was written there."""
        assert self._sandbox is not None
        disk = self._sandbox.disk
        return None if disk is None or disk.is_empty() else disk
