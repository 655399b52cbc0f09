"""The events that are still to be run: kept in the store, run when they are due.

An event leaves the store when it has succeeded or is given up, not before: whatever ends the
daemon, it runs again. So it may run twice, as on AWS. Only this daemon has the store, so which
events are being run is a matter of memory.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Sequence

import structlog

from lambdad.events import schedule
from lambdad.invoke.invocation import Invocation
from lambdad.invoke.registry import Registry
from lambdad.model import limits
from lambdad.model.clock import Clock
from lambdad.model.errors import ApiError, FunctionError, PlatformFault
from lambdad.model.event import Event
from lambdad.store.protocol import Events

_log = structlog.get_logger()


class EventQueue:
    """Accepts events and sees to them.

    Args:
        store: where they are kept.
        registry: runs them.
        clock: says when they are due.
        delays_s: how long to wait before each further attempt.
    """

    def __init__(
        self,
        store: Events,
        registry: Registry,
        clock: Clock,
        delays_s: Sequence[float] = schedule.RETRY_DELAYS_S,
    ) -> None:
        self._store, self._registry, self._clock = store, registry, clock
        self._delays_s = delays_s
        self._loop = asyncio.get_running_loop()
        self._due: list[tuple[float, str]] = []  # a heap of request ids
        self._refusals: Counter[str] = Counter()
        self._running: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    async def start(self) -> None:
        """Take up what was accepted before."""
        self._due = [(due, request_id) for request_id, due in (await self._store.events()).items()]
        heapq.heapify(self._due)
        self._pump()

    async def stop(self) -> None:
        """Let go of what is running; it stays in the store."""
        self._stopped = True
        self._cancel_timer()
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    async def accept(self, function: str, version: str, invocation: Invocation) -> None:
        """Have an invocation run in a while. When this returns, it will be, whatever comes."""
        now = self._clock.now()
        event = Event(
            request_id=invocation.request_id,
            function=function,
            version=version,
            payload=invocation.payload,
            function_arn=invocation.function_arn,
            trace=invocation.trace,
            client_context=invocation.client_context,
            content_type=invocation.content_type,
            tenant_id=invocation.tenant_id,
            traced=invocation.traced,
            accepted=now,
            due=now,
        )
        await self._store.add_event(event)
        self._schedule(event.request_id, now)

    def _schedule(self, request_id: str, due: float) -> None:
        heapq.heappush(self._due, (due, request_id))
        self._pump()

    def _pump(self) -> None:
        """Begin what is due, as many at a time as may be; be back for the rest."""
        self._cancel_timer()
        if self._stopped:
            return
        now = self._clock.now()
        while self._due and len(self._running) < limits.events_running_max:
            due, request_id = self._due[0]
            if due > now:
                self._timer = self._loop.call_later(due - now, self._pump)
                return
            heapq.heappop(self._due)
            task = self._loop.create_task(self._see_to(request_id))
            self._running.add(task)
            task.add_done_callback(self._seen_to)

    def _seen_to(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._pump()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _see_to(self, request_id: str) -> None:
        try:
            event = await self._store.event(request_id)
            if event is not None:
                await self._attempt(event)
            else:  # Its function is gone, and it with that.
                self._refusals.pop(request_id, None)
        except PlatformFault as fault:
            # The store does not do what it should: the next start tries again.
            _log.error("cannot see to an event", request_id=request_id, error=str(fault))

    async def _attempt(self, event: Event) -> None:
        """Run it once and note what has come of it."""
        if schedule.is_too_old(event, self._clock.now()):
            await self._give_up(event, "EventAgeExceeded")
        elif self._registry.reserved(event.function) == 0:
            await self._give_up(event, "ZeroReservedConcurrency")
        else:
            try:
                run = await self._registry.invoke(event.function, _again(event), event.version)
                await asyncio.shield(run.answered)
            except FunctionError:
                await self._failed(event)
            except (ApiError, PlatformFault) as error:
                await self._refused(event, error)
            except Exception as error:  # noqa: BLE001  whatever it is, the event is tried again
                _log.exception("cannot run an event", request_id=event.request_id)
                await self._refused(event, error)
            else:
                await self._done(event)

    async def _failed(self, event: Event) -> None:
        due = schedule.after_failure(event, self._clock.now(), self._delays_s)
        if due is None:
            await self._give_up(event, "RetriesExhausted")
        elif await self._store.retry_event(event.request_id, event.attempts + 1, due):
            self._schedule(event.request_id, due)

    async def _refused(self, event: Event, why: Exception) -> None:
        """It could not be run, for now or for ever."""
        if isinstance(why, ApiError) and why.code == "ResourceNotFoundException":
            await self._give_up(event, why.code)
            return
        request_id = event.request_id
        due = schedule.after_refusal(event, self._refusals[request_id], self._clock.now())
        if due is None:
            await self._give_up(event, "EventAgeExceeded")
            return
        self._refusals[request_id] += 1
        self._schedule(request_id, due)

    async def _give_up(self, event: Event, condition: str) -> None:
        _log.warning(
            "gave up an event",
            request_id=event.request_id,
            function=event.function,
            condition=condition,
            attempts=event.attempts,
        )
        await self._done(event)

    async def _done(self, event: Event) -> None:
        self._refusals.pop(event.request_id, None)
        await self._store.remove_event(event.request_id)


def _again(event: Event) -> Invocation:
    """What was asked for, as it was asked for."""
    return Invocation(
        request_id=event.request_id,
        payload=event.payload,
        function_arn=event.function_arn,
        trace=event.trace,
        client_context=event.client_context,
        content_type=event.content_type,
        tenant_id=event.tenant_id,
        traced=event.traced,
    )
