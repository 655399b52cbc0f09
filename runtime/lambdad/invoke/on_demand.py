"""An environment that runs one event at a time: what it does from one event to the next.

Init may have to run again within an event, a snapshot may have to be restored before it, and
whatever fails in it ends all processes but leaves the environment and its /tmp. Source:
runtime-protocol 4.4 to 4.7.
"""

from __future__ import annotations

import asyncio
import signal

from lambdad.invoke import event_parts, platform_events, runtime_state
from lambdad.invoke.environment import ALIVE, Environment
from lambdad.invoke.event_parts import InitType, Metrics, Outcome, Phase, ResponseTimes
from lambdad.invoke.extensions import InvokeEvent
from lambdad.invoke.holder import Holder
from lambdad.invoke.host import Host
from lambdad.invoke.invocation import Delivery, Invocation, Run
from lambdad.invoke.journal import Tail
from lambdad.invoke.lifecycle import Event, State
from lambdad.invoke.platform_words import exit_text, timeout_text
from lambdad.invoke.runtime_state import Call, RuntimeState
from lambdad.invoke.shutdown import ShutdownReason
from lambdad.invoke.stream import Stream
from lambdad.model import limits
from lambdad.model.errors import FunctionError, PlatformFault, platform_error
from lambdad.model.function import Function

# A runtime that has reported its init error is about to exit; its last words are waited for.
LAST_WORDS_S_MAX = 0.1

_REPORTED = frozenset({RuntimeState.INIT_ERROR, RuntimeState.RESTORE_ERROR})
_ANSWERING = frozenset({RuntimeState.RESPONSE, RuntimeState.ERROR_RESPONSE})


class OnDemand(Environment):
    """One event at a time; see ``Environment`` for what it is made of."""

    def __init__(
        self,
        function: Function,
        host: Host,
        holder: Holder,
        init_type: InitType = InitType.ON_DEMAND,
    ) -> None:
        super().__init__(function, host, holder, init_type)
        self._parked: list[asyncio.Future[Delivery]] = []
        self._delivery: Delivery | None = None
        self._run: Run | None = None
        self._tail: Tail | None = None
        self._verdict: tuple[Run, FunctionError] | None = None
        self._run_since = self._released_s = 0.0
        self._runtime_back_s: float | None = None
        self._restore_s: float | None = None
        self._shared_bytes = 0  # of a template's memory, which is charged to that
        self._oom_kills = 0

    # --- init -----------------------------------------------------------------------

    def _init_done(self) -> None:
        if self.state is State.INVOKE:
            self._deliver()
            return
        self._cancel_timer()
        self._take(Event.READY)
        self._started.set_result(None)

    def _init_failed(self) -> None:
        text = timeout_text(int(self._init_s_max))
        self._fail_init(platform_error("Sandbox.Timedout", "", text, status="timeout"))

    def _fail_init(self, error: FunctionError) -> None:
        """On demand it runs again within the first invoke; ahead of any it is a failure."""
        if self.provisioned:
            self._give_up_init(error)
        else:
            self._reset(ShutdownReason.FAILURE)

    def _give_up_init(self, error: FunctionError) -> None:
        self._started.set_exception(error)
        self._give_up(ShutdownReason.FAILURE, "its init failed")

    # --- what the pool asks -----------------------------------------------------

    def invoke(self, invocation: Invocation) -> Run:
        was = self.state
        self._take(Event.LEASED)
        self.uses += 1
        if self._sandbox is not None:
            self._sandbox.thaw()
            self._telemetry.resume()
        self._run = run = Run(invocation, self._loop, self._clock)
        self._tail = self._journal.tail() if invocation.tail else None
        self._run_since, self._runtime_back_s = self._clock.monotonic(), None
        self._begin_run(was)
        return run

    def _begin_run(self, was: State) -> None:
        self._set_deadline()
        if was is State.NEEDS_INIT:
            self._init_since, self._init_s = self._run_since, None
            self._begin_init(Phase.INVOKE)
        else:
            self._deliver()

    def _set_deadline(self) -> None:
        assert self._run is not None
        timeout_s = self.function.timeout_s
        deadline_ms = int((self._clock.now() + timeout_s) * 1000)
        self._delivery = Delivery(self._run.invocation, deadline_ms)
        self._set_timer(timeout_s, self._timed_out)

    @property
    def can_be_leased(self) -> bool:
        return self.state in (State.IDLE, State.NEEDS_INIT)

    def _fail_runs(self, fault: PlatformFault) -> None:
        self._tell_verdict()
        if self._run is None:
            return
        self._run.fail(fault)
        if self._delivery is None:  # A restore was under way, and nothing else.
            self._end_run()
            return
        outcome = event_parts.failed("Sandbox.Failure")
        self._close_phase(outcome)
        self._finish_run(outcome)

    # --- what the runtime says, through the Runtime API ---------------------------

    def next_event(self) -> asyncio.Future[Delivery]:
        waiting: asyncio.Future[Delivery] = self._loop.create_future()
        if self.state not in ALIVE:
            self._park(waiting)  # It is being ended, and is to hear nothing more.
            return waiting
        before = self.runtime_state
        self.runtime_state = self._after(Call.NEXT)
        if before is RuntimeState.RUNNING:
            assert self._delivery is not None
            waiting.set_result(self._delivery)  # The same event again, at once.
            return waiting
        self._park(waiting)
        if before in (RuntimeState.STARTED, RuntimeState.RESTORING):
            self._runtime_asks()
        elif before is RuntimeState.RESPONSE_SENT:
            self._runtime_back()
        return waiting

    def _park(self, waiting: asyncio.Future[Delivery]) -> None:
        """Let it wait, and forget whose client has hung up."""
        self._parked = [one for one in self._parked if not one.done()]
        self._parked.append(waiting)

    def begin_answer(self, request_id: str, call: Call) -> Run:
        if self._run is None or self._run.invocation.request_id != request_id:
            raise runtime_state.wrong_request_id()
        self.runtime_state = self._after(call)
        self._run.begin()
        return self._run

    def answer(self, run: Run, payload: bytes) -> None:
        if self._is_answering(run):
            run.answer(payload)
            self._sent()

    def answer_error(self, run: Run, error: FunctionError) -> None:
        if self._is_answering(run):
            run.fail(error)
            self._sent()

    def open_stream(self, run: Run, content_type: str) -> Stream:
        return run.open_stream(content_type)

    def end_stream(self, run: Run, error_type: str = "", error_body: bytes = b"") -> None:
        if self._is_answering(run):
            run.end_stream(error_type, error_body)
            self._sent()

    def _is_answering(self, run: Run) -> bool:
        """Whether this run was not cut off while the body was read."""
        return run is self._run and self.runtime_state in _ANSWERING

    def _sent(self) -> None:
        self.runtime_state = self._after(Call.SENT)
        self._holder.answered(self)

    def init_error(self, error: FunctionError) -> None:
        self._reported(error)

    def _reported(self, error: FunctionError) -> None:
        """The runtime cannot go on; it has its answer before it is taken at its word."""
        if self.runtime_state in _REPORTED:  # And was not reset meanwhile.
            self._init_error = error
            self._loop.call_later(LAST_WORDS_S_MAX, self._last_words_over, error)

    def _last_words_over(self, error: FunctionError) -> None:
        if self._init_error is error and self.state in ALIVE:
            self._guest_failed(error.error_type, "")

    def _after(self, call: Call) -> RuntimeState:
        return runtime_state.after(self.runtime_state, call)

    # --- a run ------------------------------------------------------------------------

    def _deliver(self) -> None:
        """Give the event to every ``next`` that waits, and word of it to the extensions."""
        assert self._delivery is not None
        assert self._credit is not None
        delivery, invocation = self._delivery, self._delivery.invocation
        self.runtime_state = RuntimeState.RUNNING
        self._credit.working()
        self._released_s = self._clock.monotonic()
        self._journal.emit(self._start_event(invocation))
        if self.extensions is not None and self.extensions.all:
            self.extensions.invoke(
                InvokeEvent(
                    delivery.deadline_ms,
                    invocation.request_id,
                    invocation.function_arn,
                    invocation.trace,
                )
            )
        parked, self._parked = self._parked, []
        for waiting in parked:
            if not waiting.done():
                waiting.set_result(delivery)

    def _start_event(self, invocation: Invocation) -> platform_events.Start:
        return platform_events.Start(
            invocation.request_id,
            self.function.version,
            invocation.function_arn,
            _tracing(invocation),
            invocation.tenant_id,
        )

    def _runtime_back(self) -> None:
        """The runtime asks for the next event; its extensions may still be at this one."""
        self._runtime_done(event_parts.SUCCESS)
        self._extensions_back()

    def _extensions_back(self) -> None:
        if self._run is None or self._runtime_back_s is None:
            return
        if self.extensions is not None and not self.extensions.back:
            return
        self._cancel_timer()
        self._finish_run(event_parts.SUCCESS)
        self._take(Event.ANSWERED)
        self.rest()

    def _runtime_done(self, outcome: Outcome) -> None:
        """The runtime's part of the run is over, however it ended."""
        assert self._run is not None
        run, self._runtime_back_s = self._run, self._clock.monotonic()
        if not self._journal.keeps_records:
            return
        self._journal.emit(
            platform_events.RuntimeDone(
                run.invocation.request_id,
                outcome,
                self._runtime_back_s - self._released_s,
                run.produced_bytes,
                ResponseTimes(
                    self._released_s,
                    run.first_byte_s,
                    run.last_byte_s,
                    self._runtime_back_s,
                    self._clock.now() - self._runtime_back_s,
                ),
                _tracing(run.invocation),
                run.invocation.tenant_id,
            )
        )

    # --- failures -----------------------------------------------------------------------

    def _timed_out(self) -> None:
        assert self._run is not None
        request_id, timeout_s = self._run.invocation.request_id, self.function.timeout_s
        self._close_phase(event_parts.TIMEOUT)
        text = timeout_text(timeout_s)
        error = platform_error("Sandbox.Timedout", request_id, text, status="timeout")
        self._verdict = (self._run, error)
        self._guests.drain()
        if self._runtime_back_s is None:
            self._runtime_done(event_parts.TIMEOUT)
        self._journal.emit(platform_events.TaskTimedOut(self._clock.now(), request_id, timeout_s))
        self._finish_run(event_parts.TIMEOUT, duration_s=timeout_s)
        self._reset(ShutdownReason.TIMEOUT)

    def _guest_failed(self, error_type: str, text: str) -> None:
        assert self._sandbox is not None
        self._guests.drain()
        if self._init_error is not None:
            error_type = self._init_error.error_type
        out_of_memory = self._oom_killed()
        outcome = event_parts.failed("Runtime.OutOfMemory" if out_of_memory else error_type)
        self._oom_kills = self._sandbox.cgroup.oom_kills()
        match self.state:
            case State.INIT:
                self._end_init(outcome)
                self._fail_init(self._init_error or platform_error(error_type, "", text))
            case State.INVOKE:
                self._run_failed(error_type, outcome, text)
                if out_of_memory and self._sandbox.disk is None:
                    # Files in /tmp may be what has filled it, and would stay.
                    self._give_up(ShutdownReason.FAILURE, "it ran out of memory")
                else:
                    self._reset(ShutdownReason.FAILURE)
            case State.RESTORE:
                self._fail_restore(outcome, text)
            case State.IDLE | State.SNAPSHOT:
                self._holder.withdrawn(self)
                self._reset(ShutdownReason.FAILURE)

    def _fail_restore(self, outcome: Outcome, text: str) -> None:
        """Only what comes of a snapshot is ever restored."""
        raise AssertionError((outcome, text))

    def _run_failed(self, error_type: str, outcome: Outcome, text: str) -> None:
        assert self._run is not None
        request_id = self._run.invocation.request_id
        self._close_phase(outcome)
        error = self._init_error
        if self._runtime_back_s is None:
            self._runtime_done(outcome)
        if error is None:
            error = platform_error(error_type, request_id, text)
            self._journal.emit(platform_events.Fault(request_id, text, error_type))
        self._verdict = (self._run, error)
        self._finish_run(outcome)

    def _close_phase(self, outcome: Outcome) -> None:
        """An init within the event is cut off: START has still to stand before END."""
        if self._phase is not None:
            assert self._run is not None
            self._end_init(outcome)
            self._released_s = self._run_since
            self._journal.emit(self._start_event(self._run.invocation))

    def _oom_killed(self) -> bool:
        """Whether the kernel has killed for memory since a process last failed."""
        assert self._sandbox is not None
        return self._sandbox.cgroup.oom_kills() > self._oom_kills

    def memory_ran_out(self) -> None:
        if self.state in ALIVE and self._oom_killed():
            self._guest_failed("Runtime.ExitError", exit_text(signal.SIGKILL))

    def sandbox_died(self) -> None:
        self._guests.all_ended()
        if self.state in (State.INIT, State.INVOKE):
            self._guest_failed("Runtime.ExitError", exit_text(signal.SIGKILL))
        self.retire()

    def emptied(self) -> None:
        if self.state is not State.RESET or (self._ending is not None and not self._ending.done()):
            return  # While they are asked to end, none has been told to kill.
        self._ending = None
        self._cancel_timer()
        self._guests.all_ended()
        self._hang_up()
        self._telemetry.reopen()
        self._take(Event.EMPTIED)
        if not self._started.done():
            self._started.set_result(None)
        else:
            self.rest()
        self._tell_verdict()

    # --- the end of a run -------------------------------------------------------------

    def _finish_run(self, outcome: Outcome, *, duration_s: float | None = None) -> None:
        """END and REPORT; the run is over, whatever came of it."""
        run = self._run
        assert run is not None
        assert self._sandbox is not None
        assert self._credit is not None
        took_s = self._clock.monotonic() - self._run_since
        self._credit.worked(took_s)
        request_id = run.invocation.request_id
        self._guests.flush()
        metrics = Metrics(
            took_s if duration_s is None else duration_s,
            self.function.memory_mb,
            self._shared_bytes + self._sandbox.cgroup.memory_peak_bytes(),
            self._init_s if self._restore_s is None else None,
            self._restore_s,
            self._restore_s or 0.0,
        )
        tracing = _tracing(run.invocation)
        self._journal.emit(
            platform_events.End(request_id),
            platform_events.Report(request_id, outcome, metrics, self._overhead(), tracing=tracing),
        )
        self._end_run()

    def _overhead(self) -> event_parts.Span | None:
        """The time in which only extensions were busy."""
        if self._runtime_back_s is None or self.extensions is None or not self.extensions.all:
            return None
        now_s = self._clock.monotonic()
        return event_parts.Span(
            event_parts.SpanName.EXTENSION_OVERHEAD,
            self._clock.now() - (now_s - self._runtime_back_s),
            now_s - self._runtime_back_s,
        )

    def _end_run(self) -> None:
        run, tail = self._run, self._tail
        assert run is not None
        self._run, self._delivery, self._init_s, self._restore_s = None, None, None, None
        run.finished.set_result(b"" if tail is None else tail.close())

    def _hang_up(self) -> None:
        for parked in self._parked:
            parked.cancel()
        if self.extensions is not None:
            self.extensions.hang_up()

    def _tell_verdict(self) -> None:
        """As on AWS only after the reset: the next invoke finds this environment, and its /tmp."""
        if self._verdict is not None:
            run, error = self._verdict
            self._verdict = None
            run.fail(error)

    def rest(self) -> None:
        self.idle_since = self._clock.monotonic()
        self._holder.freed(self)
        if self.state in (State.IDLE, State.SNAPSHOT):  # Nothing of the function's may run.
            self._set_timer(limits.freeze_after_s, self._freeze)

    def _freeze(self) -> None:
        assert self._sandbox is not None
        self._telemetry.pause()
        self._sandbox.freeze()


def _tracing(invocation: Invocation) -> event_parts.Tracing | None:
    return event_parts.tracing_of(invocation.trace) if invocation.traced else None
