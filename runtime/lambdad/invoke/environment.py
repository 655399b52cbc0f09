"""One execution environment: a sandbox, the runtime in it, and the event it may be running.

Everything that can happen to it is a method; each takes the one edge of the life cycle that it
is, or is refused. Nothing here waits but ``start``: the Runtime API calls in, timers call in,
the sandbox calls in.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from errno import ENOENT

import structlog

from lambdad.invoke import environ, report, runtime_state
from lambdad.invoke.holder import Holder
from lambdad.invoke.host import Host
from lambdad.invoke.init_credit import InitCredit
from lambdad.invoke.invocation import Delivery, Invocation, Run
from lambdad.invoke.lifecycle import Event, State, next_state
from lambdad.invoke.output import Output
from lambdad.invoke.runtime_state import Call, RuntimeState
from lambdad.invoke.sandbox import Sandbox
from lambdad.model import ids, limits
from lambdad.model.errors import FunctionError, PlatformFault, platform_error
from lambdad.model.function import Function
from lambdad_sandbox.errors import SandboxError
from lambdad_sandbox.messages import StartProcess

_log = structlog.get_logger()

SANDBOX_S_MAX = 30.0  # a zygote that has to be started first included
EMPTYING_S_MAX = 2.0
# A runtime that has reported its init error is about to exit; its last words are waited for.
LAST_WORDS_S_MAX = 0.1
_RUNTIME = "runtime"
_ALIVE = frozenset({State.INIT, State.IDLE, State.INVOKE})


class Environment:
    """Kept, leased, reset and retired by its pool.

    Args:
        function: what runs in it; an environment never changes its function.
        host: what environments are made with.
        holder: the pool, which is told when it can be leased and when not.
    """

    def __init__(self, function: Function, host: Host, holder: Holder) -> None:
        self.id, self.function, self._host = "", function, host
        self._holder = holder
        self._loop = asyncio.get_running_loop()
        self.state, self.runtime_state = State.STARTING, RuntimeState.STARTED
        self.version = "$LATEST"
        self.log_stream = ids.log_stream(
            host.clock.now(), self.version, function.name if function.log_group else ""
        )
        self.idle_since, self.finishing = 0.0, False
        self._started: asyncio.Future[None] = self._loop.create_future()
        self._parked: list[asyncio.Future[Delivery]] = []
        self._delivery: Delivery | None = None
        self._run: Run | None = None
        self._verdict: tuple[Run, FunctionError] | None = None
        self._run_since = 0.0
        self._init_since = 0.0
        self._init_s: float | None = None
        self._init_error: FunctionError | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tail = b""
        self._oom_kills = 0
        self._sandbox: Sandbox | None = None
        self._credit: InitCredit | None = None
        self._close_door: Callable[[], Awaitable[None]] | None = None
        self._output: Output | None = None

    # --- start ----------------------------------------------------------------

    async def start(self) -> None:
        """Build the sandbox and run the init phase; after it, the environment can be leased.

        An init phase that fails is no error here: init runs again within the first invoke.

        Raises:
            PlatformFault: no sandbox could be had.
        """
        self._init_since = self._host.clock.monotonic()
        self._set_timer(SANDBOX_S_MAX, self.retire, "no sandbox came in time")
        try:
            await self._request_sandbox()
        except (OSError, SandboxError, PlatformFault) as error:
            self.retire(str(error))
        await asyncio.shield(self._started)  # Whoever waits may be cancelled, a start may not.

    async def _request_sandbox(self) -> None:
        """Ask for the sandbox and, in the same breath, for the runtime in it."""
        self._output = Output(self._log_lines)
        sandbox = await self._host.sandbox_for(self.function, self)
        if self.state is not State.STARTING:  # Retired while the zygote was awaited.
            await self._host.remove_sandbox(sandbox)
            return
        self._sandbox = sandbox
        self.id = self._sandbox.name
        self._credit = InitCredit(self._sandbox.cgroup, limits.cpus(self.function.memory_mb))
        self._start_runtime()

    def _start_runtime(self) -> None:
        assert self._sandbox is not None
        assert self._output is not None
        self.runtime_state, self._init_error = RuntimeState.STARTED, None
        variables = environ.of_runtime(
            self.function,
            version=self.version,
            region=self._host.region,
            log_stream=self.log_stream,
            runtime_api=self._sandbox.runtime_api,
        )
        wanted = StartProcess(
            _RUNTIME, self._host.command_of(self.function), variables, "/var/task"
        )
        self._sandbox.start_process(wanted, self._output.write_end)

    # --- what the pool asks -----------------------------------------------------

    def invoke(self, invocation: Invocation) -> Run:
        """Run one event; only when idle, or when init has to run again."""
        needs_init = self.state is State.NEEDS_INIT
        self._take(Event.LEASED)
        if self._sandbox is not None:
            self._sandbox.thaw()
        clock, timeout_s = self._host.clock, self.function.timeout_s
        self._run = run = Run(invocation, self._loop)
        self._tail = b""
        self._run_since = clock.monotonic()
        self._delivery = Delivery(invocation, int((clock.now() + timeout_s) * 1000))
        self._set_timer(timeout_s, self._timed_out)
        if needs_init:
            self._init_since, self._init_s = self._run_since, None
            self._start_runtime()
        else:
            self._deliver()
        return run

    @property
    def can_be_leased(self) -> bool:
        """Whether ``invoke`` may be called now."""
        return self.state in (State.IDLE, State.NEEDS_INIT)

    def retire(self, why: str = "it was shut down") -> None:
        """End it for good, whatever it does; the holder is told when it is gone."""
        if self.state in (State.SHUTDOWN, State.GONE):
            return
        self._take(Event.RETIRED)
        self._holder.withdrawn(self)
        self._cancel_timer()
        self._tell_verdict()
        fault = PlatformFault(f"cannot run the environment: {why}")
        if self._run is not None:
            self._run.fail(fault)
            self._finish_run("error", "Sandbox.Failure")
        if not self._started.done():
            self._started.set_exception(fault)
            self._started.exception()
        self._host.background(self._remove())

    async def _remove(self) -> None:
        if self._sandbox is not None:
            await self._host.remove_sandbox(self._sandbox)
        self._hang_up()
        if self._close_door is not None:
            await self._close_door()
        if self._output is not None:
            self._output.close()
        self._take(Event.REMOVED)
        self._holder.gone(self)

    # --- what the runtime says, through the Runtime API ---------------------------

    def next_event(self) -> asyncio.Future[Delivery]:
        """``GET /runtime/invocation/next``.

        Raises:
            Refused: not in this state.
        """
        waiting: asyncio.Future[Delivery] = self._loop.create_future()
        if self.state not in _ALIVE:
            self._parked.append(waiting)  # It is being killed, and is to hear nothing more.
            return waiting
        before = self.runtime_state
        self.runtime_state = runtime_state.after(before, Call.NEXT)
        if before is RuntimeState.RUNNING:
            assert self._delivery is not None
            waiting.set_result(self._delivery)  # The same event again, at once.
            return waiting
        self._parked.append(waiting)
        if before is RuntimeState.STARTED:
            self._runtime_ready()
        elif before is RuntimeState.RESPONSE_SENT:
            self._runtime_back()
        return waiting

    def begin_answer(self, request_id: str, call: Call) -> None:
        """A response or error begins to arrive: check it before its body is read.

        Raises:
            Refused: not the event that is out, or not in this state.
        """
        if self._run is None or self._run.invocation.request_id != request_id:
            raise runtime_state.wrong_request_id()
        self.runtime_state = runtime_state.after(self.runtime_state, call)

    def answer(self, payload: bytes) -> None:
        """The body of a response has been read."""
        run = self._answered()
        if run is not None:
            run.answer(payload)
            self._holder.answered(self)

    def answer_error(self, error: FunctionError) -> None:
        """The body of an error has been read, or the response is not acceptable."""
        run = self._answered()
        if run is not None:
            run.fail(error)
            self._holder.answered(self)

    def _answered(self) -> Run | None:
        """The run that is answered; none when it was cut off while the body was read."""
        if self.runtime_state not in (RuntimeState.RESPONSE, RuntimeState.ERROR_RESPONSE):
            return None
        self.runtime_state = runtime_state.after(self.runtime_state, Call.SENT)
        return self._run

    def begin_init_error(self) -> None:
        """``POST /runtime/init/error`` begins to arrive: check it before its body is read.

        Raises:
            Refused: init is over.
        """
        self.runtime_state = runtime_state.after(self.runtime_state, Call.INIT_ERROR)

    def init_error(self, error: FunctionError) -> None:
        """The body of an init error has been read."""
        if self.runtime_state is not RuntimeState.INIT_ERROR:
            return  # The runtime was reset meanwhile.
        self._init_error = error
        self._loop.call_later(LAST_WORDS_S_MAX, self._last_words_over, error)

    def _last_words_over(self, error: FunctionError) -> None:
        if self._init_error is error and self.state in (State.INIT, State.INVOKE):
            self._runtime_failed(error.error_type, "")

    # --- what the sandbox says ------------------------------------------------------

    def entered(self, listener: socket.socket) -> None:
        """The sandbox stands, confined; the runtime in it is starting."""
        if self.state is not State.STARTING:
            listener.close()
            return
        self._take(Event.ENTERED)
        self._set_timer(limits.init_phase_s_max, self._init_timed_out)
        self._host.background(self._open_door(listener))

    async def _open_door(self, listener: socket.socket) -> None:
        self._close_door = await self._host.door.open(self, listener)

    def not_entered(self, why: str) -> None:
        """The sandbox could not be had."""
        self.retire(why)

    def process_failed_to_start(self, name: str, errno: int) -> None:
        """The bootstrap could not be executed."""
        assert name == _RUNTIME
        command = self._host.command_of(self.function)
        if errno == ENOENT and not self._host.has_bootstrap(self.function):
            text = "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"
        else:
            text = f"fork/exec {' '.join(command[:1])}: {os.strerror(errno).lower()}"
        self._runtime_failed("Runtime.InvalidEntrypoint", text)

    def process_exited(self, name: str, status: int) -> None:
        """The runtime process ended, which it never does by itself when all is well."""
        assert name == _RUNTIME
        self._runtime_failed("Runtime.ExitError", report.exit_text(status))

    def emptied(self) -> None:
        """Every process of a reset is gone."""
        if self.state is not State.RESET:
            return
        self._cancel_timer()
        self._hang_up()
        self._take(Event.EMPTIED)
        if not self._started.done():
            self._started.set_result(None)
        else:
            self._free()
        self._tell_verdict()

    def memory_ran_out(self) -> None:
        """One process may have been killed for it: the others are not to go on."""
        if self.state in _ALIVE and self._oom_killed():
            self._runtime_failed("Runtime.ExitError", report.exit_text(signal.SIGKILL))

    def sandbox_died(self) -> None:
        """Init itself is gone, and with it everything: killed by the kernel, most likely."""
        if self.state in (State.SHUTDOWN, State.GONE):
            return
        if self.state in (State.INIT, State.INVOKE):
            self._runtime_failed("Runtime.ExitError", report.exit_text(signal.SIGKILL))
        self.retire()

    # --- the init phase ---------------------------------------------------------------

    def _runtime_ready(self) -> None:
        """The runtime's first ``next``: init is over, in whichever phase it ran."""
        assert self._credit is not None
        self._credit.settle()
        if self.state is State.INVOKE:
            self._deliver()
            return
        self._cancel_timer()
        self._take(Event.READY)
        self._init_s = self._host.clock.monotonic() - self._init_since
        self._started.set_result(None)

    def _init_timed_out(self) -> None:
        self._init_failed("timeout", None)

    def _init_failed(self, status: str, error_type: str | None) -> None:
        self._log_init_report("init", status, error_type)
        self._reset()

    def _log_init_report(self, phase: str, status: str, error_type: str | None) -> None:
        took = self._host.clock.monotonic() - self._init_since
        self._log(report.init_report_line(took, phase, status, error_type))

    # --- a run ------------------------------------------------------------------------

    def _deliver(self) -> None:
        """Give the event to every ``next`` that waits."""
        assert self._delivery is not None
        assert self._credit is not None
        self.runtime_state = RuntimeState.RUNNING
        self._credit.working()
        self._log(report.start_line(self._delivery.invocation.request_id, self.version))
        parked, self._parked = self._parked, []
        for waiting in parked:
            if not waiting.done():
                waiting.set_result(self._delivery)

    def _runtime_back(self) -> None:
        """The runtime asks for the next event: this one is over."""
        self._cancel_timer()
        self._finish_run(None, None)
        self._take(Event.ANSWERED)
        self._free()

    def _timed_out(self) -> None:
        assert self._run is not None
        request_id, timeout_s = self._run.invocation.request_id, self.function.timeout_s
        text = report.timeout_text(timeout_s)
        if self.runtime_state in (RuntimeState.STARTED, RuntimeState.INIT_ERROR):
            self._log_init_report("invoke", "timeout", None)
            self._log(report.start_line(request_id, self.version))
        error = platform_error("Sandbox.Timedout", request_id, text, status="timeout")
        self._verdict = (self._run, error)
        self._log(report.timeout_line(self._host.clock.now(), request_id, timeout_s))
        self._finish_run("timeout", None, duration_s=timeout_s)
        self._reset()

    def _runtime_failed(self, error_type: str, text: str) -> None:
        """The runtime process cannot go on: exit, no start, or init error."""
        assert self._sandbox is not None
        if self._output is not None:
            self._output.drain()
        if self._init_error is not None:
            error_type = self._init_error.error_type
        out_of_memory = self._oom_killed()
        shown = "Runtime.OutOfMemory" if out_of_memory else error_type
        self._oom_kills = self._sandbox.cgroup.oom_kills()
        if self.state is State.INIT:
            self._init_failed("error", shown)
        elif self.state is State.INVOKE:
            self._run_failed(error_type, shown, text)
            if out_of_memory and self._sandbox.disk is None:
                self.retire()  # Files in /tmp may be what has filled it, and would stay.
            else:
                self._reset()
        elif self.state is State.IDLE:
            self._holder.withdrawn(self)
            self._reset()

    def _run_failed(self, error_type: str, shown: str, text: str) -> None:
        assert self._run is not None
        request_id = self._run.invocation.request_id
        if self.runtime_state in (RuntimeState.STARTED, RuntimeState.INIT_ERROR):
            self._log_init_report("invoke", "error", shown)
            self._log(report.start_line(request_id, self.version))
        error = self._init_error
        if error is None:
            error = platform_error(error_type, request_id, text)
            self._log(report.fault_line(request_id, text, error_type))
        self._verdict = (self._run, error)
        self._finish_run("error", shown)

    def _oom_killed(self) -> bool:
        """Whether the kernel has killed for memory since a process last failed."""
        assert self._sandbox is not None
        return self._sandbox.cgroup.oom_kills() > self._oom_kills

    def _finish_run(
        self, status: str | None, error_type: str | None, *, duration_s: float | None = None
    ) -> None:
        """END and REPORT; the run is over, whatever came of it."""
        run = self._run
        assert run is not None
        assert self._sandbox is not None
        assert self._credit is not None
        assert self._output is not None
        took = self._host.clock.monotonic() - self._run_since
        self._credit.worked(took)
        request_id = run.invocation.request_id
        self._output.flush()
        self._log(
            report.end_line(request_id)
            + report.report_line(
                request_id,
                duration_s=took if duration_s is None else duration_s,
                memory_mb=self.function.memory_mb,
                memory_used_bytes=self._sandbox.cgroup.memory_peak_bytes(),
                init_s=self._init_s,
                status=status,
                error_type=error_type,
            )
        )
        self._run, self._delivery, self._init_s = None, None, None
        run.finished.set_result(self._tail)

    def _reset(self) -> None:
        """Kill what runs; /tmp stays. What cannot be emptied in time is given up."""
        assert self._sandbox is not None
        assert self._credit is not None
        self._take(Event.FAILED)
        self._set_timer(EMPTYING_S_MAX, self.retire)
        self._sandbox.thaw()
        self._credit.lift()  # To die takes processor time, too.
        self._sandbox.kill_all()

    def _hang_up(self) -> None:
        """Who waits for an event is dead; had it been told before, it would have called again."""
        for parked in self._parked:
            parked.cancel()
        self._parked = []

    def _tell_verdict(self) -> None:
        """As on AWS only after the reset: the next invoke finds this environment, and its /tmp."""
        if self._verdict is not None:
            run, error = self._verdict
            self._verdict = None
            run.fail(error)

    def _free(self) -> None:
        self.idle_since = self._host.clock.monotonic()
        self._holder.freed(self)
        if self.state is State.IDLE and self._sandbox is not None:
            # No event is out: nothing of the function's may run.
            self._set_timer(limits.freeze_after_s, self._sandbox.freeze)

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

    def _log(self, text: str) -> None:
        self._log_lines(text.encode())

    def _log_lines(self, lines: bytes) -> None:
        if self._run is not None:
            self._tail = (self._tail + lines)[-limits.log_tail_bytes :]
        self._host.logs.write(self.function.name, lines)
