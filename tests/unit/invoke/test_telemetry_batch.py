import json
import math

import pytest

from lambdad.invoke.subscription import Api, Destination, Protocol, Subscription
from lambdad.invoke.telemetry_batch import Backlog, render
from lambdad.model import limits


def backlog(**values):
    terms = {"max_items": 3, "max_bytes": 100, "timeout_s": 1.0}
    return Backlog(
        Subscription(
            Api.TELEMETRY,
            "2022-07-01",
            frozenset({"function"}),
            Destination(Protocol.TCP, 4323),
            **{**terms, **values},
        )
    )


def test_the_envelope_is_as_documented():
    assert render(1_795_253_400.1236, "platform.start", {"requestId": "r-1"}) == (
        b'{"time":"2026-11-21T09:30:00.123Z","type":"platform.start","record":{"requestId":"r-1"}}'
    )


def test_a_record_may_be_a_line_with_its_newline():
    assert json.loads(render(0, "function", "Grüße\t\x00\n"))["record"] == "Grüße\t\x00\n"


def test_half_a_character_stays_the_escape_that_it_was():
    event = render(0, "function", {"a": "\ud800"})
    assert rb'{"a":"\ud800"}' in event
    assert json.loads(event)["record"] == {"a": "\ud800"}


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("record", [math.nan, {"a": math.inf}, nested(100_000)])
def test_what_json_has_no_form_for_is_no_event(record):
    assert render(0, "function", record) is None


def test_nothing_is_never_due():
    assert backlog().due_s() == math.inf
    assert not backlog()


def test_a_batch_is_due_some_time_after_its_first_event():
    waiting = backlog()
    waiting.add(b"a", 10)
    waiting.add(b"b", 10.9)
    assert waiting.due_s() == 11
    assert waiting.take() == [b"a", b"b"]
    assert waiting.due_s() == math.inf


def test_a_batch_of_many_events_is_due_at_once():
    waiting = backlog()
    for event in (b"a", b"b", b"c", b"d"):
        waiting.add(event, 10)
    assert waiting.due_s() == -math.inf
    assert waiting.take() == [b"a", b"b", b"c"]
    assert waiting.due_s() == 11
    assert waiting.take() == [b"d"]


def test_a_batch_of_many_bytes_is_due_at_once_and_ends_with_what_fills_it():
    waiting = backlog()
    waiting.add(b"a" * 99, 10)
    assert waiting.due_s() == 11
    waiting.add(b"b" * 200, 10)
    waiting.add(b"c", 10)
    assert waiting.due_s() == -math.inf
    assert [len(event) for event in waiting.take()] == [99, 200]
    assert waiting.take() == [b"c"]


def test_what_waits_is_bounded_and_what_is_dropped_is_counted():
    waiting = backlog(max_bytes=2**40, max_items=2**40)
    half = b"x" * (limits.telemetry_held_bytes_max // 2)
    for _ in range(5):
        waiting.add(half, 10)
    assert len(waiting) == 2
    assert (waiting.dropped_records, waiting.dropped_bytes) == (3, 3 * len(half))
    waiting.take()
    waiting.add(half, 11)
    assert len(waiting) == 1


def test_what_the_subscriber_has_been_told_of_is_not_counted_again():
    waiting = backlog()
    waiting.drop(2, 30)
    waiting.drop(1, 5)
    assert (waiting.dropped_records, waiting.dropped_bytes) == (3, 35)
    waiting.forgive()
    assert (waiting.dropped_records, waiting.dropped_bytes) == (0, 0)
