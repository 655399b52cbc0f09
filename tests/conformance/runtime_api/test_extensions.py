"""What extensions do to invokes: checks 54 to 56, 59 and 60 of the Extensions API."""

from __future__ import annotations

from concurrent.futures import FIRST_COMPLETED, wait

import pytest
from botocore.exceptions import ClientError
from conformance.runtime_api.players import SHORT_S, WAIT_S_MAX, until


@pytest.fixture
def watched(stage):
    """A function with an extension, both at their first event."""

    def begun(*events, **settings):
        show = stage("watcher", **settings)
        invoked = show.invoke(early=True)
        watcher = show.extension("watcher")
        watcher.register(*events)
        runtime = show.runtime()
        waiting = runtime.poll()
        assert watcher.next().json["eventType"] == "INVOKE"
        return show, runtime, watcher, waiting.result(), invoked

    return begun


def crash(answer, error_type):
    text = f"RequestId: {answer.request_id} Error: exit code 0"
    return {"errorType": error_type, "errorMessage": text}


def test_054_the_invoker_does_not_wait_for_extensions(watched):
    _, runtime, _, event, invoked = watched("INVOKE")
    runtime.respond(event, b'"soon"')
    runtime.poll()
    assert invoked.result().body == b'"soon"'


def test_055_the_next_event_waits_until_the_extension_is_back(watched):
    show, runtime, watcher, event, invoked = watched("INVOKE")
    show.client.put_function_concurrency(FunctionName=show.name, ReservedConcurrentExecutions=1)
    runtime.respond(event)
    waiting = runtime.poll()
    invoked.result()
    with pytest.raises(ClientError, match="TooManyRequestsException"):
        show.invoke(b'"too soon"').result()
    assert not waiting.done()
    watcher.poll()

    def taken():
        again = show.invoke(b'"in time"')
        wait([again, waiting], WAIT_S_MAX, FIRST_COMPLETED)
        return waiting.done()

    until(taken, "an invoke that is not refused")
    assert waiting.result().body == b'"in time"'


def test_056_an_extension_that_is_not_back_in_time_ends_with_the_rest(watched):
    show, runtime, watcher, event, invoked = watched("INVOKE", "SHUTDOWN", Timeout=SHORT_S)
    runtime.respond(event, b'"in time"')
    runtime.poll()
    assert invoked.result().body == b'"in time"'
    runtime.gone.result()
    told = watcher.next().json
    assert (told["eventType"], told["shutdownReason"]) == ("SHUTDOWN", "timeout")
    watcher.puppet.let_go()
    show.invoke()
    show.extension("watcher")


def test_059_an_extension_that_reports_its_error_of_init_and_ends(stage):
    show = stage("watcher")
    invoked = show.invoke()
    for _ in ("init", "invoke"):
        watcher = show.extension("watcher")
        watcher.register("INVOKE")
        assert watcher.error("init").status == 202
        watcher.puppet.tell("exit", status=0)
        watcher.puppet.gone.result()
    answer = invoked.result()
    assert (answer.status, answer.error) == (200, "Unhandled")
    assert answer.payload == crash(answer, "Extension.InitError")


def test_060_an_extension_that_ends_during_an_invoke_is_a_crash(watched):
    show, runtime, watcher, _, invoked = watched("INVOKE")
    watcher.puppet.tell("exit", status=0)
    answer = invoked.result()
    assert (answer.status, answer.error) == (200, "Unhandled")
    assert answer.payload == crash(answer, "Extension.Crash")
    runtime.gone.result()
    show.invoke()
    assert show.extension("watcher").register("INVOKE").status == 200
