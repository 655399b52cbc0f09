"""Who has subscribed to the telemetry of one environment, and the tasks that bring it to them.

A subscriber that is slow, gone or hostile loses its own events and holds up nobody. How they
travel is the courier's matter; what is in them is the journal's. Source: runtime-protocol 3.2,
4.2 and 4.8.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from typing import Protocol

from lambdad.invoke import subscription as subscribing
from lambdad.invoke.platform_events import LogsDropped
from lambdad.invoke.runtime_state import Refused
from lambdad.invoke.subscription import Api, Destination, Subscription
from lambdad.invoke.telemetry_batch import Backlog, render
from lambdad.model import limits
from lambdad.model.clock import Clock

# What a subscriber gets of an event; ``None``: nothing, it is not for its API or schema.
Record = Callable[[Subscription], object]


class Courier(Protocol):
    """Brings events to one subscriber."""

    async def deliver(self, events: list[bytes]) -> None:
        """Bring a batch.

        Raises:
            OSError: it was not taken; it may be brought again.
        """

    def close(self) -> None:
        """Give back what it holds; nothing is delivered any more."""


class Event:
    """Something that has happened; rendered once for all subscribers of one schema."""

    __slots__ = ("_record", "_rendered", "_time_s", "_type", "kind")

    def __init__(self, time_s: float, kind: str, record: Record) -> None:
        self._time_s, self.kind, self._record = time_s, kind, record
        self._type = kind.partition(".")[0]
        self._rendered: dict[tuple[Api, str], bytes | None] = {}

    def render(self, subscription: Subscription) -> bytes | None:
        """As this subscriber gets it; ``None`` if it does not."""
        if self._type not in subscription.types:
            return None
        form = subscription.api, subscription.schema
        if form not in self._rendered:
            record = self._record(subscription)
            self._rendered[form] = (
                None if record is None else render(self._time_s, self.kind, record)
            )
        return self._rendered[form]


class Telemetry:
    """The telemetry of one environment.

    Args:
        clock: dates what is published here.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._subscribers: dict[str, _Subscriber] = {}
        self._past: _Past | None = _Past()
        self._thawed = asyncio.Event()
        self._thawed.set()

    def publish(self, time_s: float, kind: str, record: Record) -> None:
        """Something has happened.

        Args:
            time_s: when, since the epoch.
            kind: ``platform.start``, ``function``, ``extension`` and so on.
            record: called once for each API and schema that is subscribed to, now or later.
        """
        if not self.followed:
            return
        event = Event(time_s, kind, record)
        if self._past is not None:
            self._past.keep(event)
        for subscriber in self._subscribers.values():
            subscriber.tell(event)

    @property
    def followed(self) -> bool:
        """Whether there is a subscriber, or could still be one."""
        return self._past is not None or bool(self._subscribers)

    def subscribe(self, name: str, subscription: Subscription, courier: Courier) -> bool:
        """One more subscriber, who is told what has been published since init began.

        Args:
            name: the extension's.
            subscription: what it wants.
            courier: brings it there.

        Returns:
            Whether it was none before; who subscribes again keeps its first subscription.

        Raises:
            Refused: init is over, or it has subscribed to the other API.
        """
        api = subscription.api
        if self._past is None:
            text = f"{api} API subscription is closed already"
            raise Refused(403, f"{api}.SubscriptionClosed", text)
        known = self._subscribers.get(name)
        if known is not None:
            if known.subscription.api is not api:
                text = f"Extension {name} is subscribed to the {known.subscription.api} API already"
                raise Refused(400, subscribing.VALIDATION_ERROR[api], text)
            return False
        subscriber = _Subscriber(subscription, courier, self._thawed, self._clock)
        self._subscribers[name] = subscriber
        self._past.tell(subscriber)
        return True

    def close_subscription(self) -> None:
        """Init is over: nobody can subscribe, and what has happened is not kept for anybody."""
        self._past = None

    def reopen(self) -> None:
        """Init begins again: all are forgotten, as their processes are dead, and may come anew."""
        self.stop()
        self._past = _Past()
        self._thawed.set()

    async def flush(self, within_s: float) -> None:
        """Deliver what waits, as far as that can be done in ``within_s``; the rest still waits."""
        for subscriber in self._subscribers.values():
            subscriber.hurry()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                for subscriber in tuple(self._subscribers.values()):
                    await subscriber.idle.wait()

    def pause(self) -> None:
        """The environment is about to freeze: until ``resume`` nobody in it can take anything."""
        if self._thawed.is_set():
            self._thawed.clear()
            for subscriber in self._subscribers.values():
                subscriber.pause()

    def resume(self) -> None:
        """The environment runs again; what was under way goes on."""
        if not self._thawed.is_set():
            self._thawed.set()
            for subscriber in self._subscribers.values():
                subscriber.resume()

    def stop(self) -> None:
        """Nothing is delivered any more, nothing is kept."""
        for subscriber in self._subscribers.values():
            subscriber.stop()
        self._subscribers.clear()
        self._past = None


# How large an event is before anybody has asked for it: as the first schema has it.
_MEASURE = Subscription(
    Api.TELEMETRY,
    subscribing.SCHEMAS[Api.TELEMETRY][0],
    frozenset(subscribing.TYPES),
    Destination(subscribing.Protocol.TCP, 0),
)


class _Past:
    """What has been published since init began, as far as there is room.

    Events of the platform are small and few; lines are what takes room.
    """

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._bytes = 0
        self._dropped_records = self._dropped_bytes = 0

    def keep(self, event: Event) -> None:
        size = 0 if event.kind.startswith("platform.") else len(event.render(_MEASURE) or b"")
        if (
            len(self._events) < limits.telemetry_past_items_max
            and self._bytes + size <= limits.telemetry_past_bytes_max
        ):
            self._events.append(event)
            self._bytes += size
        else:
            self._dropped_records += 1
            self._dropped_bytes += size

    def tell(self, subscriber: _Subscriber) -> None:
        for event in self._events:
            subscriber.tell(event)
        subscriber.has_missed(self._dropped_records, self._dropped_bytes)


class _Subscriber:
    """One subscriber, and the task that brings it what it wants, one batch at a time.

    Attributes:
        idle: set while it has been brought everything.
    """

    def __init__(
        self, subscription: Subscription, courier: Courier, thawed: asyncio.Event, clock: Clock
    ) -> None:
        self.subscription = subscription
        self._courier, self._thawed, self._clock = courier, thawed, clock
        self._loop = asyncio.get_running_loop()
        self._backlog = Backlog(subscription)
        self._changed, self.idle = asyncio.Event(), asyncio.Event()
        self.idle.set()
        self._hurried = False
        self._limit: asyncio.Timeout | None = None
        self._left_s: float | None = None
        self._task = self._loop.create_task(self._work())

    def tell(self, event: Event) -> None:
        """Something has happened; what no JSON can be made of is nothing that has."""
        rendered = event.render(self.subscription)
        if rendered is None:
            return
        first = not self._backlog
        self._backlog.add(rendered, self._loop.time())
        if self._backlog:
            self.idle.clear()
        if first or self._backlog.due_s() < 0:
            self._changed.set()

    def has_missed(self, records: int, size_bytes: int) -> None:
        self._backlog.drop(records, size_bytes)

    def hurry(self) -> None:
        """What waits now is due now."""
        self._hurried = True
        self._changed.set()

    def pause(self) -> None:
        """A delivery under way takes no time from now on."""
        if self._limit is not None and not self._limit.expired():
            when_s = self._limit.when()
            assert when_s is not None
            self._left_s = when_s - self._loop.time()
            self._limit.reschedule(None)

    def resume(self) -> None:
        if self._limit is not None and self._left_s is not None:
            self._limit.reschedule(self._loop.time() + self._left_s)
        self._left_s = None

    def stop(self) -> None:
        self._task.cancel()

    async def _work(self) -> None:
        try:
            while True:
                await self._until_due()
                await self._bring(self._batch())
                if not self._backlog:
                    self._hurried = False
                    self.idle.set()
        finally:
            self._courier.close()

    async def _until_due(self) -> None:
        """Until a batch is to leave, and somebody is there to take it."""
        while True:
            await self._thawed.wait()
            due_s = self._backlog.due_s()
            if due_s <= self._loop.time() or (self._hurried and self._backlog):
                return
            self._hurried = False
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(None if due_s == math.inf else due_s):
                    await self._changed.wait()

    def _batch(self) -> list[bytes]:
        """The next batch; if something was dropped before, it begins by saying so."""
        batch, backlog = self._backlog.take(), self._backlog
        if backlog.dropped_records:
            dropped = LogsDropped(backlog.dropped_bytes, backlog.dropped_records)
            backlog.forgive()
            event = Event(self._clock.now(), dropped.type, dropped.record_for)
            told = event.render(self.subscription)
            if told is not None:
                batch.insert(0, told)
        return batch

    async def _bring(self, batch: list[bytes]) -> None:
        """Deliver a batch, or drop it after some attempts."""
        for attempt in range(limits.telemetry_attempts_max):
            if attempt:
                await asyncio.sleep(limits.telemetry_retry_s * 2 ** (attempt - 1))
            await self._thawed.wait()
            try:
                async with asyncio.timeout(limits.telemetry_delivery_s_max) as self._limit:
                    await self._courier.deliver(batch)
            except OSError:
                continue  # A delivery that took too long ends in one, too.
            finally:
                self._limit = None
            return
        self._backlog.drop(len(batch), sum(map(len, batch)))
