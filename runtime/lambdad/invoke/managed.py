"""An environment that runs several events at a time, each in a worker that asked for one.

What differs from one event at a time: every waiting ``next`` is a place, answers are told apart
by their id alone, a timeout is the invoker's to know and ends nothing, any other failure ends
the environment, and nothing is frozen. Source: runtime-protocol 8;
https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances.html
"""

from __future__ import annotations

import asyncio
import signal
from collections import OrderedDict
from dataclasses import dataclass

from lambdad.invoke import event_parts, platform_events, runtime_state
from lambdad.invoke.environment import ALIVE, Environment
from lambdad.invoke.event_parts import InitType, Metrics, Outcome, ResponseTimes
from lambdad.invoke.holder import Holder
from lambdad.invoke.host import Host
from lambdad.invoke.invocation import Delivery, Invocation, Run
from lambdad.invoke.journal import Tail
from lambdad.invoke.lifecycle import Event, State
from lambdad.invoke.platform_words import exit_text, timeout_text
from lambdad.invoke.runtime_state import Call, Refused, RuntimeState
from lambdad.invoke.shutdown import MANAGED, Budget, ShutdownReason
from lambdad.invoke.stream import Stream
from lambdad.model import limits
from lambdad.model.errors import FunctionError, PlatformFault, platform_error
from lambdad.model.function import Function


@dataclass(slots=True)
class _Task:
    """One event that is out.

    Attributes:
        answering: what has begun to arrive.
        cut_short: an error has come into the middle of the response.
    """

    run: Run
    tail: Tail | None
    timer: asyncio.TimerHandle
    since: float
    answering: Call | None = None
    cut_short: bool = False


class Managed(Environment):
    """Several events at a time; see ``Environment`` for what it is made of."""

    def __init__(self, function: Function, host: Host, holder: Holder) -> None:
        super().__init__(function, host, holder, InitType.MANAGED_INSTANCES)
        # In the order in which they came; who has an event, or has gone, leaves by itself.
        self._waiting: dict[asyncio.Future[Delivery], None] = {}
        self._tasks: dict[str, _Task] = {}
        self._late: OrderedDict[str, None] = OrderedDict()
        self._failure: tuple[str, str] | None = None

    # --- init -----------------------------------------------------------------------

    def _init_done(self) -> None:
        self._cancel_timer()
        self._take(Event.READY)
        self._started.set_result(None)

    def _init_failed(self) -> None:
        self._end("Runtime.Unknown", "init timed out", ShutdownReason.FAILURE)

    def init_error(self, error: FunctionError) -> None:
        if self.runtime_state is RuntimeState.INIT_ERROR:
            self._init_error = error
            self._guest_failed(error.error_type, "")

    # --- what the pool asks -----------------------------------------------------

    @property
    def can_be_leased(self) -> bool:
        return self.state in (State.IDLE, State.INVOKE) and self._longest_waiting is not None

    @property
    def _longest_waiting(self) -> asyncio.Future[Delivery] | None:
        """The poll that is the next one's turn; one that has ended a moment ago is none."""
        return next((poll for poll in self._waiting if not poll.done()), None)

    def invoke(self, invocation: Invocation) -> Run:
        """Give the event to the worker that has waited longest.

        Raises:
            Refused: no worker waits, or this event is out already.
        """
        poll = self._longest_waiting
        if poll is None or self.state not in (State.IDLE, State.INVOKE):
            raise Refused(400, "Runtime.Unavailable", "")
        if invocation.request_id in self._tasks:
            raise Refused(400, "Client.DuplicatedInvokeId", "")
        if self.state is State.IDLE:
            self._take(Event.LEASED)
        self.uses += 1
        timeout_s = self.function.timeout_s
        run = Run(invocation, self._loop, self._clock)
        timer = self._loop.call_later(timeout_s, self._timed_out, invocation.request_id)
        self._tasks[invocation.request_id] = _Task(
            run,
            self._journal.tail() if invocation.tail else None,
            timer,
            self._clock.monotonic(),
        )
        tracing = event_parts.tracing_of(invocation.trace) if invocation.traced else None
        self._journal.emit(
            platform_events.Start(
                invocation.request_id, self.function.version, invocation.function_arn, tracing
            )
        )
        deadline_ms = int((self._clock.now() + timeout_s) * 1000)
        poll.set_result(Delivery(invocation, deadline_ms))
        return run

    def rest(self) -> None:
        self.idle_since = self._clock.monotonic()
        self._holder.freed(self)

    def _fail_runs(self, fault: PlatformFault) -> None:
        for request_id, task in list(self._tasks.items()):
            if self._failure is None:
                task.run.fail(fault)
                self._finish(task.run, event_parts.failed("Sandbox.Failure"))
            else:
                error_type, text = self._failure
                task.run.fail(platform_error(error_type, request_id, text))
                self._finish(task.run, event_parts.failed(error_type))

    # --- what the runtime says ------------------------------------------------------------

    def next_event(self) -> asyncio.Future[Delivery]:
        waiting: asyncio.Future[Delivery] = self._loop.create_future()
        if self.state not in ALIVE:
            waiting.cancel()
            return waiting
        if self.runtime_state is RuntimeState.INIT_ERROR:
            raise self._refusal(Call.NEXT)
        if len(self._waiting) >= limits.managed_polls_max:
            raise Refused(500, "Runtime.TooManyIdleRuntimes", "")
        self._waiting[waiting] = None
        waiting.add_done_callback(lambda poll: self._waiting.pop(poll, None))
        if self.runtime_state is RuntimeState.STARTED:
            self.runtime_state = RuntimeState.READY
            self._runtime_asks()
        elif self._phase is None:
            self._holder.freed(self)
        return waiting

    def begin_answer(self, request_id: str, call: Call) -> Run:
        task = self._tasks.get(request_id)
        if task is not None and task.answering is None:
            task.answering = call
            task.run.begin()
            return task.run
        if task is not None and (task.answering, call) == (Call.RESPONSE, Call.ERROR):
            task.answering, task.cut_short = call, True
            return task.run
        if task is None:
            self._refuse_late(request_id)
        raise runtime_state.wrong_request_id()

    def _refuse_late(self, request_id: str) -> None:
        """The first answer after the timeout is told so, also if it had begun before."""
        if request_id in self._late:
            del self._late[request_id]
            raise Refused(410, "InvokeTimeout", "Invoke timeout")

    def answer(self, run: Run, payload: bytes) -> None:
        self._refuse_late(run.invocation.request_id)
        if self._is_answering(run, Call.RESPONSE):
            run.answer(payload)
            self._finish(run, event_parts.SUCCESS)

    def answer_error(self, run: Run, error: FunctionError) -> None:
        self._refuse_late(run.invocation.request_id)
        if self._is_out(run) and not self._is_what_was_cut_short(run, error):
            run.fail(error)
            self._finish(run, event_parts.SUCCESS)

    def open_stream(self, run: Run, content_type: str) -> Stream:
        return run.open_stream(content_type)

    def end_stream(self, run: Run, error_type: str = "", error_body: bytes = b"") -> None:
        self._refuse_late(run.invocation.request_id)
        if self._is_answering(run, Call.RESPONSE):
            run.end_stream(error_type, error_body)
            self._finish(run, event_parts.SUCCESS)

    def _is_what_was_cut_short(self, run: Run, error: FunctionError) -> bool:
        """Whether it is the response that ends too early; the runtime's own word is to come."""
        return self._tasks[run.invocation.request_id].cut_short and error.status is not None

    def _is_out(self, run: Run) -> bool:
        task = self._tasks.get(run.invocation.request_id)
        return task is not None and task.run is run

    def _is_answering(self, run: Run, call: Call) -> bool:
        return self._is_out(run) and self._tasks[run.invocation.request_id].answering is call

    def _after(self, call: Call) -> RuntimeState:
        """Of all states only those of init mean anything here: workers do as they like."""
        if call is Call.INIT_ERROR and self.runtime_state is RuntimeState.STARTED:
            return RuntimeState.INIT_ERROR
        raise self._refusal(call)

    def _refusal(self, call: Call) -> Refused:
        return Refused(
            403,
            "InvalidStateTransition",
            f"State transition from {self.runtime_state} to {call} failed for runtime. "
            "Error: state transition is not allowed",
        )

    # --- the end of a run -------------------------------------------------------------------

    def _finish(self, run: Run, outcome: Outcome) -> None:
        request_id = run.invocation.request_id
        task = self._tasks.pop(request_id)
        task.timer.cancel()
        now_s = self._clock.monotonic()
        times = ResponseTimes(
            task.since, run.first_byte_s, run.last_byte_s, None, self._clock.now() - now_s
        )
        self._guests.drain()
        self._journal.emit(
            platform_events.Report(request_id, outcome, Metrics(now_s - task.since), times=times)
        )
        run.finished.set_result(b"" if task.tail is None else task.tail.close())
        if not self._tasks and self.state is State.INVOKE:
            self._take(Event.ANSWERED)
            self.rest()

    def _timed_out(self, request_id: str) -> None:
        """The invoker is told; the worker goes on, and may ask for the next event one day."""
        run = self._tasks[request_id].run
        self._late[request_id] = None
        while len(self._late) > limits.managed_late_ids_max:
            self._late.popitem(last=False)
        text = timeout_text(self.function.timeout_s)
        run.fail(platform_error("Sandbox.Timedout", request_id, text, status="timeout"))
        self._finish(run, event_parts.TIMEOUT)

    # --- failures: the whole environment ends ---------------------------------------------------

    def _extensions_back(self) -> None:
        """They hear of no event, so there is none that they could come back from."""

    def _guest_failed(self, error_type: str, text: str) -> None:
        if self.state not in ALIVE:
            return
        assert self._sandbox is not None
        self._guests.drain()
        if self._sandbox.cgroup.oom_kills():
            error_type = "Runtime.OutOfMemory"
        outcome = event_parts.failed(error_type)
        if self._phase is not None:
            self._end_init(outcome)
        self._journal.emit(platform_events.Fault("", text, error_type))
        self._end(error_type, text, ShutdownReason.FAILURE)

    def _end(self, error_type: str, text: str, reason: ShutdownReason) -> None:
        """Nothing of it is of use any more; the pool makes another."""
        if not self._started.done():
            error = self._init_error or platform_error(error_type, "", text)
            self._started.set_exception(error)
            self._started.exception()
        self._failure = error_type, text
        self._give_up(reason, text)

    def memory_ran_out(self) -> None:
        """Some worker was killed for it; that is told when the runtime itself ends (8.2)."""

    def sandbox_died(self) -> None:
        self._guests.all_ended()
        if self.state in ALIVE:
            self._guest_failed("Runtime.ExitError", exit_text(signal.SIGKILL))
        self.retire()

    def emptied(self) -> None:
        """There is no reset here."""

    def _budget(self) -> Budget:
        return MANAGED

    def _hang_up(self) -> None:
        for poll in list(self._waiting):
            poll.cancel()
        if self.extensions is not None:
            self.extensions.hang_up()
