"""Events from acceptance to their end; functions and the store are played."""

import asyncio
import dataclasses

import pytest
import pytest_asyncio
import structlog

from lambdad.events.queue import EventQueue
from lambdad.invoke.invocation import Invocation
from lambdad.model import limits
from lambdad.model.errors import ApiError, FunctionError, PlatformFault, not_found

pytestmark = pytest.mark.asyncio

FAILED = FunctionError("Runtime.Unknown", b"{}")
THROTTLED = ApiError("TooManyRequestsException", "Rate Exceeded.")


class FakeClock:
    s = 1_000.0

    def now(self):
        return self.s


class FakeStore:
    """The Events protocol over a dict."""

    def __init__(self):
        self.kept, self.fault = {}, None

    async def add_event(self, event):
        if self.fault is not None:
            raise self.fault
        self.kept[event.request_id] = event

    async def events(self):
        return {event.request_id: event.due for event in self.kept.values()}

    async def event(self, request_id):
        if self.fault is not None:
            raise self.fault
        return self.kept.get(request_id)

    async def retry_event(self, request_id, attempts, due):
        event = self.kept.get(request_id)
        if event is not None:
            self.kept[request_id] = dataclasses.replace(event, attempts=attempts, due=due)
        return event is not None

    async def remove_event(self, request_id):
        return self.kept.pop(request_id, None) is not None


class FakeRun:
    def __init__(self):
        self.answered = asyncio.get_running_loop().create_future()


class FakeRegistry:
    """Runs that end as the test says: an outcome for each, then success; or never."""

    def __init__(self):
        self.outcomes, self.invoked, self.zero, self.endless = [], [], False, False
        self.changed = asyncio.Event()

    def reserved(self, name):
        return 0 if self.zero else None

    async def invoke(self, name, invocation, version):
        self.invoked.append((name, version, invocation))
        self.changed.set()
        outcome = self.outcomes.pop(0) if self.outcomes else b"null"
        if isinstance(outcome, Exception) and not isinstance(outcome, FunctionError):
            raise outcome
        run = FakeRun()
        if self.endless:
            return run
        if isinstance(outcome, FunctionError):
            run.answered.set_exception(outcome)
        else:
            run.answered.set_result(outcome)
        return run


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def store():
    return FakeStore()


@pytest.fixture
def registry():
    return FakeRegistry()


@pytest_asyncio.fixture
async def new_queue(store, registry, clock):
    queues = []

    async def made(delays_s=(60.0, 120.0)):
        queues.append(EventQueue(store, registry, clock, delays_s))
        await queues[-1].start()
        return queues[-1]

    yield made
    for queue in queues:
        await queue.stop()


@pytest_asyncio.fixture
async def queue(new_queue):
    return await new_queue()


def invocation(request_id="r-1"):
    return Invocation(request_id, b"[1]", "arn", "Root=1", client_context="{}", traced=True)


async def settled(queue):
    """Until nothing is running."""
    while queue._running:
        await asyncio.wait(queue._running)
        await asyncio.sleep(0)  # The end of a task is told in the next turn.


async def passed(queue, clock, delay_s):
    """So much time, and what was due in it."""
    clock.s += delay_s
    queue._pump()
    await settled(queue)


async def test_an_accepted_event_is_run_as_it_was_asked_for_and_forgotten(queue, store, registry):
    await queue.accept("fn", "3", invocation())
    assert "r-1" in store.kept
    await settled(queue)
    assert registry.invoked == [("fn", "3", invocation())]
    assert store.kept == {}


async def test_what_the_store_does_not_take_is_not_accepted(queue, store, registry):
    store.fault = PlatformFault("full")
    with pytest.raises(PlatformFault):
        await queue.accept("fn", "$LATEST", invocation())
    await settled(queue)
    assert registry.invoked == []


async def test_a_failure_is_tried_again_after_one_minute_and_two(queue, store, registry, clock):
    registry.outcomes = [FAILED, FAILED, FAILED]
    await queue.accept("fn", "$LATEST", invocation())
    await settled(queue)
    tries = [len(registry.invoked)]
    for delay_s in (59.9, 0.2, 119.8, 0.3, 3_600):
        await passed(queue, clock, delay_s)
        tries.append(len(registry.invoked))
    assert tries == [1, 1, 2, 2, 3, 3]
    assert store.kept == {}
    assert {one.request_id for _, _, one in registry.invoked} == {"r-1"}


async def test_one_that_succeeds_at_last_is_done(queue, store, registry, clock):
    registry.outcomes = [FAILED]
    await queue.accept("fn", "$LATEST", invocation())
    await passed(queue, clock, 61)
    await passed(queue, clock, 61)
    assert (len(registry.invoked), store.kept) == (2, {})


@pytest.mark.parametrize("refusal", [THROTTLED, PlatformFault("no memory")])
async def test_what_cannot_be_run_is_no_failed_attempt(queue, store, registry, clock, *, refusal):
    registry.outcomes = [refusal] * 8
    await queue.accept("fn", "$LATEST", invocation())
    await settled(queue)
    for number in range(8):
        assert store.kept["r-1"].attempts == 0
        await passed(queue, clock, 2**number)
    assert store.kept == {}
    assert len(registry.invoked) == 9


async def test_an_error_that_nobody_foresaw_loses_no_event(queue, store, registry, clock):
    registry.outcomes = [OSError(24, "Too many open files")]
    await queue.accept("fn", "$LATEST", invocation())
    with structlog.testing.capture_logs() as told:
        await settled(queue)
    assert [entry["event"] for entry in told] == ["cannot run an event"]
    assert store.kept["r-1"].attempts == 0
    await passed(queue, clock, 1)
    assert store.kept == {}


async def test_after_six_hours_an_event_is_given_up(queue, store, registry, clock):
    registry.outcomes = [THROTTLED] * 1_000
    await queue.accept("fn", "$LATEST", invocation())
    for _ in range(80):
        await passed(queue, clock, 300)
    assert store.kept == {}
    assert len(registry.invoked) < 80


async def test_where_nothing_may_run_events_are_given_up_at_once(queue, store, registry):
    registry.zero = True
    await queue.accept("fn", "$LATEST", invocation())
    await settled(queue)
    assert (registry.invoked, store.kept) == ([], {})


async def test_without_its_version_an_event_is_given_up(queue, store, registry):
    registry.outcomes = [not_found("Function not found: arn:1")]
    await queue.accept("fn", "1", invocation())
    await settled(queue)
    assert store.kept == {}


async def test_what_went_with_its_function_is_not_run(queue, store, registry):
    registry.outcomes = [FAILED]
    await queue.accept("fn", "$LATEST", invocation())
    store.kept.clear()
    await settled(queue)
    assert registry.invoked == []


async def test_nothing_is_kept_in_memory_of_what_went_with_its_function(
    queue, store, registry, clock
):
    registry.outcomes = [THROTTLED]
    await queue.accept("fn", "$LATEST", invocation())
    await settled(queue)
    store.kept.clear()
    await passed(queue, clock, 1)
    assert (queue._due, queue._refusals) == ([], {})


async def test_what_was_running_when_the_daemon_ended_runs_again(new_queue, store, registry):
    registry.endless = True
    first = await new_queue()
    await first.accept("fn", "$LATEST", invocation())
    await registry.changed.wait()
    await first.stop()
    assert "r-1" in store.kept
    registry.endless = False
    await settled(await new_queue())
    assert len(registry.invoked) == 2
    assert store.kept == {}


async def test_what_is_not_due_waits_also_after_a_restart(new_queue, store, registry, clock):
    registry.outcomes = [FAILED]
    first = await new_queue()
    await first.accept("fn", "$LATEST", invocation())
    await settled(first)
    await first.stop()
    second = await new_queue()
    await settled(second)
    assert len(registry.invoked) == 1
    await passed(second, clock, 60)
    assert len(registry.invoked) == 2


async def test_only_so_many_run_at_a_time(queue, registry, monkeypatch):
    monkeypatch.setattr(limits, "events_running_max", 3)
    registry.endless = True
    for number in range(5):
        await queue.accept("fn", "$LATEST", invocation(f"r-{number}"))
    assert len(queue._running) == 3


async def test_all_run_in_the_end(queue, registry, store, monkeypatch):
    monkeypatch.setattr(limits, "events_running_max", 3)
    for number in range(50):
        await queue.accept("fn", "$LATEST", invocation(f"r-{number}"))
    await settled(queue)
    assert len({one.request_id for _, _, one in registry.invoked}) == 50
    assert store.kept == {}


async def test_a_store_that_fails_ends_nothing_else(queue, store, registry):
    await queue.accept("fn", "$LATEST", invocation())
    store.fault = PlatformFault("broken")
    await settled(queue)
    store.fault = None
    await queue.accept("fn", "$LATEST", invocation("r-2"))
    await settled(queue)
    assert [one.request_id for _, _, one in registry.invoked] == ["r-2"]
    assert "r-1" in store.kept
