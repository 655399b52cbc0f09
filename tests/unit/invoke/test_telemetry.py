"""Subscribers with played couriers, on a loop whose time passes when it is told to."""

import asyncio
import json

import pytest
import pytest_asyncio

from lambdad.invoke.runtime_state import Refused
from lambdad.invoke.subscription import Api, Destination, Protocol, Subscription
from lambdad.invoke.telemetry import Telemetry
from lambdad.model import limits

pytestmark = pytest.mark.asyncio

_TURNS = 20  # of the loop, more than anything here takes that waits for nothing


class Clock:
    def now(self):
        return 1_795_253_400.0

    def monotonic(self):
        return asyncio.get_running_loop().time()


class Courier:
    """Keeps what it is given; refuses, or holds back, when it is told to."""

    def __init__(self):
        self.batches, self.attempts, self.refusals = [], 0, 0
        self.open = asyncio.Event()
        self.open.set()
        self.closed = False

    async def deliver(self, events):
        self.attempts += 1
        await self.open.wait()
        if self.refusals:
            self.refusals -= 1
            raise ConnectionRefusedError
        self.batches.append([json.loads(event) for event in events])

    def close(self):
        self.closed = True

    @property
    def records(self):
        return [event["record"] for batch in self.batches for event in batch]


def subscription(api=Api.TELEMETRY, types=("platform", "function"), **values):
    destination = Destination(Protocol.TCP, 4323)
    return Subscription(api, "2022-07-01", frozenset(types), destination, **values)


class Stage:
    def __init__(self, loop):
        self.loop, self.telemetry = loop, Telemetry(Clock())

    async def settle(self):
        for _ in range(_TURNS):
            await asyncio.sleep(0)

    async def pass_(self, delay_s):
        self.loop.now_s += delay_s
        await self.settle()

    def subscribe(self, name="x", **values):
        courier = Courier()
        assert self.telemetry.subscribe(name, subscription(**values), courier)
        return courier

    def publish(self, *records, kind="function"):
        for record in records:
            self.telemetry.publish(1_795_253_400.0, kind, lambda _, record=record: record)


@pytest_asyncio.fixture
async def stage(monkeypatch):
    loop = asyncio.get_running_loop()
    loop.now_s = loop.time()
    with monkeypatch.context() as patched:
        patched.setattr(loop, "time", lambda: loop.now_s)
        stage = Stage(loop)
        yield stage
        stage.telemetry.stop()
        await stage.settle()


# --- batches --------------------------------------------------------------------------


async def test_events_come_together_a_while_after_the_first(stage):
    courier = stage.subscribe()
    stage.publish("a\n", "b\n")
    await stage.pass_(0.9)
    assert courier.batches == []
    stage.publish("c\n")
    await stage.pass_(0.2)
    assert courier.batches == [
        [
            {"time": "2026-11-21T09:30:00.000Z", "type": "function", "record": f"{letter}\n"}
            for letter in "abc"
        ]
    ]


async def test_the_next_batch_has_a_while_of_its_own(stage):
    courier = stage.subscribe()
    stage.publish("a")
    await stage.pass_(1)
    await stage.pass_(5)
    stage.publish("b")
    await stage.pass_(0.9)
    assert courier.records == ["a"]
    await stage.pass_(0.2)
    assert courier.records == ["a", "b"]


async def test_a_full_batch_is_not_waited_for(stage):
    courier = stage.subscribe(max_items=2)
    stage.publish("a", "b", "c")
    await stage.settle()
    assert courier.records == ["a", "b"]
    await stage.pass_(1)
    assert courier.records == ["a", "b", "c"]


async def test_each_subscriber_gets_the_types_that_it_asked_for(stage):
    lines, all_there_is = stage.subscribe("x", types=("function",)), stage.subscribe("y")
    stage.publish("start", kind="platform.start")
    stage.publish("line")
    stage.publish("noise", kind="extension")
    await stage.pass_(1)
    assert lines.records == ["line"]
    assert all_there_is.records == ["start", "line"]


async def test_a_record_is_made_for_each_subscriber_or_not_at_all(stage):
    telemetry, logs = stage.subscribe("x"), stage.subscribe("y", api=Api.LOGS)
    stage.telemetry.publish(0, "platform.end", lambda asked: {} if asked.api is Api.LOGS else None)
    await stage.pass_(1)
    assert (telemetry.records, logs.records) == ([], [{}])


async def test_without_subscribers_no_record_is_made(stage):
    stage.telemetry.close_subscription()
    stage.telemetry.publish(0, "function", lambda _: pytest.fail("nobody asked for it"))


# --- subscriptions -----------------------------------------------------------------------


async def test_who_subscribes_late_within_init_misses_nothing(stage):
    stage.publish({"initializationType": "on-demand"}, kind="platform.initStart")
    stage.publish("line")
    courier = stage.subscribe()
    stage.publish("later")
    await stage.pass_(1)
    assert courier.records == [{"initializationType": "on-demand"}, "line", "later"]


async def test_who_subscribes_again_keeps_what_it_has(stage):
    courier = stage.subscribe()
    assert not stage.telemetry.subscribe("x", subscription(types=("platform",)), Courier())
    stage.publish("line")
    await stage.pass_(1)
    assert courier.records == ["line"]


async def test_nobody_subscribes_to_both_apis(stage):
    stage.subscribe("x")
    with pytest.raises(Refused) as refused:
        stage.telemetry.subscribe("x", subscription(api=Api.LOGS), Courier())
    assert (refused.value.status, refused.value.error_type) == (400, "Logs.ValidationError")
    stage.subscribe("y", api=Api.LOGS)


@pytest.mark.parametrize("api", Api)
async def test_after_init_nobody_subscribes(stage, api):
    stage.telemetry.close_subscription()
    with pytest.raises(Refused) as refused:
        stage.telemetry.subscribe("x", subscription(api=api), Courier())
    assert (refused.value.status, refused.value.error_type, refused.value.message) == (
        403,
        f"{api}.SubscriptionClosed",
        f"{api} API subscription is closed already",
    )


async def test_when_init_begins_again_all_is_forgotten(stage):
    before = stage.subscribe()
    stage.publish("first life")
    await stage.settle()
    stage.telemetry.close_subscription()
    stage.telemetry.reopen()
    stage.publish("second life")
    after = stage.subscribe()
    await stage.pass_(1)
    assert (before.records, after.records) == ([], ["second life"])
    assert before.closed


async def test_of_an_init_that_writes_without_end_the_beginning_is_kept_and_the_rest_counted(stage):
    size = limits.telemetry_past_bytes_max // 4
    stage.publish({"phase": "init"}, kind="platform.initStart")
    stage.publish(*("x" * size for _ in range(6)))
    stage.publish({"status": "success"}, kind="platform.initRuntimeDone")
    courier = stage.subscribe(max_bytes=2**30)
    await stage.pass_(1)
    dropped, start, *lines, done = courier.records
    assert (start, done) == ({"phase": "init"}, {"status": "success"})
    assert dropped["droppedRecords"] == 3
    assert [len(line) for line in lines] == [size] * 3


# --- those who are slow, gone or hostile --------------------------------------------------


async def test_what_is_refused_is_brought_again_after_a_while(stage):
    courier = stage.subscribe()
    courier.refusals = 1
    stage.publish("a")
    await stage.pass_(1)
    assert (courier.attempts, courier.records) == (1, [])
    await stage.pass_(limits.telemetry_retry_s)
    assert (courier.attempts, courier.records) == (2, ["a"])


async def test_what_is_refused_again_and_again_is_dropped_and_said_to_be(stage):
    courier = stage.subscribe()
    courier.refusals = limits.telemetry_attempts_max
    stage.publish("a", "b")
    for _ in range(limits.telemetry_attempts_max + 2):
        await stage.pass_(1)
    assert courier.attempts == limits.telemetry_attempts_max
    stage.publish("c")
    await stage.pass_(1)
    dropped, line = courier.batches[0]
    assert dropped["type"] == "platform.logsDropped"
    assert dropped["record"]["droppedRecords"] == 2
    assert "slower than the logs production rate" in dropped["record"]["reason"]
    assert line["record"] == "c"


async def test_a_subscriber_of_lines_only_is_told_of_none_that_were_dropped(stage):
    courier = stage.subscribe(types=("function",))
    courier.refusals = limits.telemetry_attempts_max
    stage.publish("a")
    for _ in range(limits.telemetry_attempts_max + 2):
        await stage.pass_(1)
    stage.publish("b")
    await stage.pass_(1)
    assert courier.records == ["b"]


async def test_who_takes_nothing_loses_events_and_holds_up_nobody(stage):
    slow, quick = stage.subscribe("x"), stage.subscribe("y")
    slow.open.clear()
    line = "x" * 200_000
    for _ in range(30):
        stage.publish(line)
        await stage.pass_(0.01)
    await stage.pass_(1)
    assert len(quick.records) == 30
    slow.open.set()
    await stage.pass_(1)
    lost = sum(r["droppedRecords"] for r in slow.records if isinstance(r, dict))
    assert lost > 0
    assert lost + slow.records.count(line) == 30


async def test_a_delivery_ends_some_time(stage):
    courier = stage.subscribe()
    courier.open.clear()
    stage.publish("a")
    await stage.pass_(1)
    await stage.pass_(limits.telemetry_delivery_s_max)
    courier.open.set()
    await stage.pass_(limits.telemetry_retry_s)
    assert (courier.attempts, courier.records) == (2, ["a"])


# --- frozen -----------------------------------------------------------------------------


async def test_nothing_is_delivered_while_frozen(stage):
    courier = stage.subscribe()
    stage.publish("a")
    stage.telemetry.pause()
    await stage.pass_(60)
    assert courier.attempts == 0
    stage.telemetry.resume()
    await stage.settle()
    assert courier.records == ["a"]


async def test_a_delivery_under_way_has_as_much_time_as_without_a_freeze(stage):
    courier = stage.subscribe()
    courier.open.clear()
    stage.publish("a")
    await stage.pass_(1)
    await stage.pass_(limits.telemetry_delivery_s_max - 1)
    stage.telemetry.pause()
    await stage.pass_(3600)
    stage.telemetry.resume()
    await stage.pass_(0.9)
    courier.open.set()
    await stage.settle()
    assert (courier.attempts, courier.records) == (1, ["a"])


async def test_what_was_left_of_the_time_is_all_there_is_after_a_freeze(stage):
    courier = stage.subscribe()
    courier.open.clear()
    stage.publish("a")
    await stage.pass_(1)
    stage.telemetry.pause()
    stage.telemetry.pause()
    stage.telemetry.resume()
    stage.telemetry.resume()
    await stage.pass_(limits.telemetry_delivery_s_max)
    await stage.pass_(limits.telemetry_retry_s)
    assert courier.attempts == 2


async def test_what_is_brought_again_waits_for_the_thaw(stage):
    courier = stage.subscribe()
    courier.refusals = 1
    stage.publish("a")
    await stage.pass_(1)
    stage.telemetry.pause()
    await stage.pass_(60)
    assert courier.attempts == 1
    stage.telemetry.resume()
    await stage.settle()
    assert courier.records == ["a"]


# --- the end ------------------------------------------------------------------------------


async def test_a_flush_brings_the_tail_at_once(stage):
    courier = stage.subscribe(max_items=2)
    stage.publish("a", "b", "c")
    await stage.telemetry.flush(1)
    assert courier.records == ["a", "b", "c"]


async def test_a_flush_without_anything_to_bring_takes_no_time(stage):
    stage.subscribe()
    await stage.telemetry.flush(1)
    await Stage(stage.loop).telemetry.flush(1)


async def test_a_flush_waits_no_longer_than_it_may(stage):
    courier = stage.subscribe()
    courier.open.clear()
    stage.publish("a")
    flushing = asyncio.ensure_future(stage.telemetry.flush(1))
    await stage.settle()
    await stage.pass_(0.9)
    assert not flushing.done()
    await stage.pass_(0.2)
    assert flushing.done()
    assert courier.records == []


async def test_after_a_flush_events_come_together_again(stage):
    courier = stage.subscribe()
    stage.publish("a")
    await stage.telemetry.flush(1)
    stage.publish("b")
    await stage.settle()
    assert courier.records == ["a"]


async def test_after_the_end_nothing_is_delivered_or_kept(stage):
    courier = stage.subscribe()
    courier.open.clear()
    stage.publish("a")
    await stage.pass_(1)
    stage.telemetry.stop()
    await stage.settle()
    courier.open.set()
    stage.publish("b")
    await stage.pass_(60)
    assert courier.closed
    assert (courier.attempts, courier.records) == (1, [])


async def test_an_event_is_rendered_once_for_all_who_get_it_alike(stage):
    asked = []
    couriers = [stage.subscribe(name) for name in "abc"]
    stage.telemetry.publish(1.0, "function", lambda wanted: asked.append(wanted) or "said")
    await stage.pass_(2)
    assert len(asked) == 1
    assert [courier.records for courier in couriers] == [["said"]] * 3
