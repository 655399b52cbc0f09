from itertools import product

import pytest

from lambdad.invoke.account import Share
from lambdad.invoke.pool_policy import (
    Await,
    Event,
    Evict,
    Lease,
    PutOff,
    Queue,
    Retire,
    Room,
    Snapshot,
    Spawn,
    Throttle,
    decide,
    expired,
    is_frequent,
    missing,
    pause_before_next_s,
)

FREE = Share(0, 9, reserved=False)
THROTTLE = (Throttle("ConcurrentInvocationLimitExceeded"),)
THROTTLE_RESERVED = (Throttle("ReservedFunctionConcurrentInvocationLimitExceeded"),)
THROTTLE_RATE = (Throttle("FunctionInvocationRateLimitExceeded"),)


@pytest.mark.parametrize(
    ("share", "idle", "instruction"),
    [
        (Share(0, 1, reserved=False), 0, (Await(),)),
        (Share(0, 1, reserved=False), 1, (Lease(),)),
        (Share(1, 1, reserved=False), 1, THROTTLE),
        (Share(2, 1, reserved=False), 0, THROTTLE),
        (Share(0, 0, reserved=False), 3, THROTTLE),
        (Share(2, 2, reserved=True), 1, THROTTLE_RESERVED),
        (Share(0, 0, reserved=True), 1, THROTTLE_RESERVED),
        (Share(1, 2, reserved=True), 1, (Lease(),)),
    ],
)
def test_an_arrival_is_refused_at_the_limit_and_else_takes_what_is_idle_or_waits(
    share, idle, instruction
):
    assert decide(Snapshot(share, idle), Event.ARRIVED) == instruction


def test_a_throttle_says_when_to_try_again():
    (throttle,) = decide(Snapshot(Share(1, 1, reserved=False)), Event.ARRIVED)
    assert throttle.retry_after_s == 1


@pytest.mark.parametrize(
    ("waiting", "impatient", "finishing", "coming", "lacking"),
    [
        (0, 0, 0, 0, 0),
        (1, 0, 0, 0, 1),
        (1, 0, 1, 0, 0),  # It takes the one that is about to be back,
        (1, 1, 1, 0, 1),  # but waits for it no longer than that takes,
        (1, 1, 1, 1, 0),  # and then has a start of its own.
        (3, 0, 1, 1, 1),
        (20, 0, 0, 2, 18),
        (5, 0, 0, 8, -3),
    ],
)
def test_as_many_start_as_are_missing_for_all_who_wait(
    waiting, impatient, finishing, coming, lacking
):
    now = Snapshot(FREE, 0, waiting, impatient, finishing, coming)
    assert missing(now) == lacking
    assert decide(now, Event.CHANGED) == ((Queue(),) if lacking > 0 else ())


@pytest.mark.parametrize(
    ("changes", "instructions"),
    [
        ({"waiting": 1}, (Spawn(),)),
        ({"waiting": 1, "coming": 1}, ()),  # Others have become free meanwhile.
        ({"waiting": 1, "room": Room.EVICTABLE}, (Evict(), Spawn())),
        ({"waiting": 1, "room": Room.NONE}, THROTTLE),
        ({"waiting": 1, "may_add": False}, THROTTLE_RATE),
        ({"waiting": 1, "requested": 2}, (Spawn(),)),  # Who waits comes first.
        ({"waiting": 1, "retired": True}, (Spawn(),)),
        ({"requested": 2, "provisioned": 1}, (Spawn(provisioned=True),)),
        ({"requested": 2, "provisioned": 1, "may_add": False}, (Spawn(provisioned=True),)),
        ({"requested": 2, "provisioned": 2}, ()),
        ({"requested": 2, "may_provision": False}, ()),
        ({"requested": 2, "retired": True}, ()),
        ({"requested": 1, "room": Room.EVICTABLE}, (Evict(), Spawn(provisioned=True))),
        ({"ahead_wanted": 1}, (Spawn(ahead=True),)),
        ({"ahead_wanted": 1, "ahead": 1}, ()),
        ({"ahead_wanted": 1, "room": Room.EVICTABLE}, ()),  # It is not worth anybody's place.
        ({"ahead_wanted": 1, "may_add": False}, ()),
        ({"ahead_wanted": 1, "retired": True}, ()),
        ({"ahead_wanted": 1, "requested": 1}, (Spawn(provisioned=True),)),
        ({}, ()),
    ],
)
def test_a_turn_is_for_whoever_waits_then_for_what_is_provisioned_then_for_what_is_ahead(
    changes, instructions
):
    assert decide(Snapshot(FREE, **changes), Event.GRANTED) == instructions


def test_what_is_to_be_provisioned_without_memory_is_put_off_with_the_reason():
    (instruction,) = decide(Snapshot(FREE, requested=1, room=Room.NONE), Event.GRANTED)
    assert isinstance(instruction, PutOff)
    assert "memory budget" in instruction.reason


@pytest.mark.parametrize(
    ("event", "changes", "retires"),
    [
        (Event.RESTED, {}, False),
        (Event.RESTED, {"retired": True}, True),
        (Event.RESTED, {"requested": 0, "provisioned": 1}, False),
        (Event.PROVISIONED_RESTED, {"requested": 1, "provisioned": 1}, False),
        (Event.PROVISIONED_RESTED, {"requested": 0, "provisioned": 1}, True),
        (Event.PROVISIONED_RESTED, {"requested": 1, "provisioned": 1, "retired": True}, True),
    ],
)
def test_what_rests_goes_if_its_pool_is_retired_or_it_is_one_provisioned_too_many(
    event, changes, retires
):
    assert decide(Snapshot(FREE, **changes), event) == ((Retire(),) if retires else ())


def test_a_turn_that_was_asked_for_leads_to_something_unless_things_have_changed():
    for waiting, requested, ahead, room in product(range(3), range(2), range(2), Room):
        now = Snapshot(FREE, waiting=waiting, requested=requested, ahead_wanted=ahead, room=room)
        asked, done = decide(now, Event.CHANGED), decide(now, Event.GRANTED)
        assert not done or asked
        only_ahead = not waiting and not requested
        assert bool(asked) == bool(done) or (only_ahead and room is not Room.FREE)


@pytest.mark.parametrize(
    ("idle_since", "now", "count"),
    [
        ([], 100, 0),
        ([1.0, 2.0, 3.0], 10.9, 0),
        ([1.0, 2.0, 3.0], 11.0, 1),
        ([1.0, 2.0, 3.0], 12.5, 2),
        ([1.0, 2.0, 3.0], 99, 3),
    ],
)
def test_those_expire_that_were_idle_long_enough(idle_since, now, count):
    assert expired(idle_since, now, idle_s=10) == count


@pytest.mark.parametrize(
    ("arrivals", "made", "now", "frequent"),
    [
        ([], 0, 59, True),  # It has just been published.
        ([], 0, 61, False),
        ([1], 0, 61, False),
        ([1, 2], 0, 61, True),
        ([1, 2], 0, 63, False),  # Nobody has come for a while.
        ([0, 100, 110, 120], 0, 130, True),
        ([0, 100, 200, 210], 0, 220, False),
    ],
)
def test_one_is_worth_starting_ahead_where_the_median_pause_is_below_a_minute(
    arrivals, made, now, frequent
):
    assert is_frequent(arrivals, made, now) is frequent


def test_provisioning_that_fails_is_tried_again_with_growing_pauses_and_not_for_ever():
    assert [pause_before_next_s(failures) for failures in range(1, 7)] == [
        1, 2, 4, 8, None, None,
    ]  # fmt: skip
