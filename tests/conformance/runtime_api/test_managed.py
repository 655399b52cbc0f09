"""Several events at a time in one environment: checks 99 and 100."""

from __future__ import annotations

import pytest
from conformance.runtime_api.players import SHORT_S
from scenario.program import PATIENCE

PROVIDER = "arn:aws:lambda:us-east-1:123456789012:capacity-provider:any"


@pytest.fixture
def two_at_a_time(stage):
    def deployed(**settings):
        instances = {
            "CapacityProviderArn": PROVIDER,
            "PerExecutionEnvironmentMaxConcurrency": 2,
        }
        config = {"LambdaManagedInstancesCapacityProviderConfig": instances}
        return stage(CapacityProviderConfig=config, **settings)

    return deployed


def test_099_two_polls_take_two_events_and_a_third_goes_elsewhere(two_at_a_time):
    """That there is no room is what the environment tells its router, who makes another."""
    show = two_at_a_time(Timeout=30 * PATIENCE)
    first = show.invoke(b"1")
    runtime = show.runtime()
    environ = runtime.ask("facts")["environ"]
    assert environ["AWS_LAMBDA_INITIALIZATION_TYPE"] == "lambda-managed-instances"
    assert environ["AWS_LAMBDA_MAX_CONCURRENCY"] == "2"
    events = [runtime.next()]
    waiting = runtime.poll_and_be_heard()
    second = show.invoke(b"2")
    events.append(waiting.result())
    assert [event.body for event in events] == [b"1", b"2"]
    assert events[0].request_id != events[1].request_id
    third = show.invoke(b"3")
    other = show.runtime()
    for event in reversed(events):
        assert runtime.respond(event, event.body * 2).status == 202
    assert [first.result().body, second.result().body] == [b"11", b"22"]
    event = other.next()
    assert event.body == b"3"
    other.respond(event, b"33")
    assert third.result().body == b"33"


def test_100_a_response_after_the_timeout_is_told_so_once(two_at_a_time):
    show = two_at_a_time(Timeout=SHORT_S)
    invoked = show.invoke()
    runtime = show.runtime()
    event = runtime.next()
    answer = invoked.result()
    assert answer.error == "Unhandled"
    assert answer.payload["errorType"] == "Sandbox.Timedout"
    late = runtime.respond(event)
    assert late.status == 410
    assert late.json == {"errorMessage": "Invoke timeout", "errorType": "InvokeTimeout"}
    assert runtime.respond(event).refusal == (400, "InvalidRequestID")
    assert not runtime.gone.done()
