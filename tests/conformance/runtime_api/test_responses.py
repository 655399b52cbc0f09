"""What a runtime answers: checks 11 to 30 of the Runtime API."""

from __future__ import annotations

import json

import pytest
from conformance.runtime_api.players import NOBODYS, RUNTIME, head, outcome

OK = b'{"status":"OK"}\n'
WRONG_ID = b'{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}\n'
RESPONSE_BYTES_MAX = 6_291_556
ERROR = b'{"errorMessage":"m","errorType":"T"}'
ERROR_TYPE = "Lambda-Runtime-Function-Error-Type"
IMPORT_FAILED = {ERROR_TYPE: "Runtime.ImportModuleError"}


def refused_transition(now, wanted):
    text = f"State transition from {now} to {wanted} failed for runtime. "
    text += "Error: State transition is not allowed"
    return {"errorMessage": text, "errorType": "InvalidStateTransition"}


@pytest.fixture
def begun(stage):
    """A runtime, the event that it has, and what its invoker will get."""
    show = stage()
    invoked = show.invoke()
    runtime = show.runtime()
    return runtime, runtime.next(), invoked


@pytest.fixture
def watched(stage):
    """The same with an extension that keeps the invoke open until it asks for the next event."""
    show = stage("watcher")
    invoked = show.invoke()
    watcher = show.extension("watcher")
    watcher.register("INVOKE")
    runtime = show.runtime()
    waiting = runtime.poll()
    assert watcher.next().json["eventType"] == "INVOKE"
    return runtime, waiting.result(), invoked, watcher, show


def test_011_a_response_is_accepted(begun):
    runtime, event, invoked = begun
    reply = runtime.respond(event, b'{"a": 1}')
    assert (reply.status, reply.body) == (202, OK)
    assert reply.headers["Content-Type"] == "application/json"
    runtime.poll()
    answer = invoked.result()
    assert (answer.status, answer.error, answer.body) == (200, None, b'{"a": 1}')


def test_012_null_is_a_payload_of_four_bytes(begun):
    runtime, event, invoked = begun
    runtime.respond(event, b"null")
    runtime.poll()
    assert invoked.result().body == b"null"


def test_013_a_response_to_a_made_up_event_changes_nothing(begun):
    runtime, event, invoked = begun
    reply = runtime.respond(NOBODYS, b'"wrong"')
    assert (reply.status, reply.body) == (400, WRONG_ID)
    assert runtime.respond(event, b'"right"').status == 202
    runtime.poll()
    assert invoked.result().body == b'"right"'


def test_014_a_response_to_an_event_that_is_over_is_refused(stage):
    show = stage()
    invoked = show.invoke()
    runtime = show.runtime()
    before = runtime.next()
    runtime.respond(before)
    waiting = runtime.poll()
    invoked.result()
    invoked = show.invoke()
    event = waiting.result()
    reply = runtime.respond(before, b'"late"')
    assert (reply.status, reply.body) == (400, WRONG_ID)
    runtime.respond(event, b'"right"')
    runtime.poll()
    assert invoked.result().body == b'"right"'


def test_015_a_second_response_is_refused_while_an_extension_holds_the_invoke_open(watched):
    runtime, event, invoked, watcher, _ = watched
    assert runtime.respond(event, b'"first"').status == 202
    reply = runtime.respond(event, b'"second"')
    assert reply.status == 403
    assert reply.json == refused_transition("RuntimeResponseSentState", "InvocationResponse")
    runtime.poll()
    watcher.poll()
    assert invoked.result().body == b'"first"'


def test_016_an_error_after_the_response_is_refused(watched):
    runtime, event, invoked, watcher, _ = watched
    runtime.respond(event, b'"first"')
    reply = runtime.fail(event, ERROR)
    assert reply.status == 403
    assert reply.json == refused_transition("RuntimeResponseSentState", "InvocationErrorResponse")
    runtime.poll()
    watcher.poll()
    answer = invoked.result()
    assert (answer.error, answer.body) == (None, b'"first"')


def test_019_a_response_may_have_six_mib_and_a_hundred_bytes(stage):
    show = stage()
    invoked = show.invoke()
    runtime = show.runtime()
    assert runtime.respond(runtime.next(), b"", fill=RESPONSE_BYTES_MAX).status == 202
    waiting = runtime.poll()
    assert invoked.result().body == b"x" * RESPONSE_BYTES_MAX
    invoked = show.invoke()
    reply = runtime.respond(waiting.result(), b"", fill=RESPONSE_BYTES_MAX + 1)
    assert reply.status == 413
    assert reply.json == {
        "errorMessage": "Exceeded maximum allowed payload size (6291556 bytes).",
        "errorType": "RequestEntityTooLarge",
    }
    runtime.poll()
    assert invoked.result().error == "Unhandled"


def test_020_a_runtime_lives_on_after_a_response_that_was_too_large(stage):
    show = stage()
    invoked = show.invoke()
    runtime = show.runtime()
    event = runtime.next()
    assert runtime.respond(event, fill=RESPONSE_BYTES_MAX).status == 413
    late = runtime.fail(event)
    assert late.refusal == (403, "InvalidStateTransition")
    waiting = runtime.poll()
    answer = invoked.result()
    assert answer.error == "Unhandled"
    text = "Response payload size exceeded maximum allowed payload size (6291556 bytes)."
    said = f'{{"errorMessage":"{text}","errorType":"Function.ResponseSizeTooLarge"}}'
    assert answer.body == said.encode()
    invoked = show.invoke()
    runtime.respond(waiting.result(), b'"again"')
    runtime.poll()
    assert invoked.result().body == b'"again"'
    assert show.began() == 1


def test_021_an_unknown_response_mode_is_refused(stage):
    show = stage()
    invoked = show.invoke(early=True)
    runtime = show.runtime()
    mode = {"Lambda-Runtime-Function-Response-Mode": "foo"}
    reply = runtime.respond(runtime.next(), b"1", mode)
    assert reply.status == 400
    assert reply.json == {
        "errorMessage": "Invalid function response mode",
        "errorType": "InvalidFunctionResponseMode",
    }
    answer = invoked.result()
    assert (answer.status, answer.error, answer.body) == (200, "Unhandled", b"")


def test_022_a_body_that_breaks_off_is_a_truncated_response(stage):
    show = stage()
    invoked = show.invoke(early=True)
    runtime = show.runtime()
    event = runtime.next()
    request = head("POST", outcome(event, "response"), {"Content-Length": "99"})
    lane = runtime.send(request + b"short")
    runtime.tell("close", lane)
    answer = invoked.result()
    assert answer.error == "Unhandled"
    assert answer.payload["errorType"] == "Runtime.TruncatedResponse"


def test_023_an_error_is_the_invokers_word_for_word(begun):
    runtime, event, invoked = begun
    body = b' {"errorType": "E", "trace": ["a"], "more": {"\xc3\xa4": null}}\n'
    reply = runtime.fail(event, body, {ERROR_TYPE: "unhandled"})
    assert (reply.status, reply.body) == (202, OK)
    runtime.poll()
    answer = invoked.result()
    assert (answer.status, answer.error, answer.body) == (200, "Unhandled", body)


def test_024_an_error_needs_no_type_in_its_head(begun):
    runtime, event, invoked = begun
    assert runtime.fail(event, ERROR).status == 202
    runtime.poll()
    assert invoked.result().body == ERROR


def test_025_an_error_may_have_a_cause_of_900_kib_in_its_head(begun):
    runtime, event, invoked = begun
    cause = json.dumps({"message": "x" * 900 * 1024})
    headers = {"Lambda-Runtime-Function-XRay-Error-Cause": cause}
    assert runtime.fail(event, ERROR, headers).status == 202
    runtime.poll()
    assert invoked.result().body == ERROR


def test_026_a_cause_in_the_body_of_an_error_is_not_the_invokers(stage):
    show = stage()
    invoked = show.invoke()
    runtime = show.runtime()
    event = runtime.next()
    told = {"errorMessage": "m", "errorType": "T", "stackTrace": ["a"]}
    body = json.dumps({**told, "errorCause": {"message": "c"}}).encode()
    kind = {"Content-Type": "application/vnd.aws.lambda.error.cause+json"}
    assert runtime.fail(event, body, kind).status == 202
    waiting = runtime.poll()
    assert invoked.result().payload == told
    invoked = show.invoke()
    assert runtime.fail(waiting.result(), b"{nonsense", kind).status == 202
    runtime.poll()
    assert invoked.result().body == b'"Invalid error body"'


def test_027_after_an_error_the_environment_is_used_again(watched):
    runtime, event, invoked, watcher, show = watched
    runtime.fail(event, ERROR)
    waiting, heard = runtime.poll(), watcher.poll()
    assert invoked.result().body == ERROR
    invoked = show.invoke()
    runtime.respond(waiting.result(), b'"again"')
    assert heard.result().json["eventType"] == "INVOKE"
    runtime.poll()
    watcher.poll()
    assert invoked.result().body == b'"again"'
    assert show.began() == show.began("watcher") == 1


def test_028_an_error_of_init_is_the_invokers_and_its_type_is_reported(stage, messages):
    body = b'{"errorMessage": "No module", "errorType": "NameError", "requestId": ""}'
    show = stage()
    invoked = show.invoke()
    for _ in ("init", "invoke"):
        runtime = show.runtime()
        reply = runtime.init_error(body, IMPORT_FAILED)
        assert (reply.status, reply.body) == (202, OK)
        runtime.tell("exit", status=1)
        runtime.gone.result()
    answer = invoked.result()
    assert (answer.status, answer.error, answer.body) == (200, "Unhandled", body)
    ends = "\tStatus: error\tError Type: Runtime.ImportModuleError"
    assert answer.log.splitlines()[-1].endswith(ends)
    said = "".join(messages(show.name, "REPORT RequestId"))
    for phase in ("init", "invoke"):
        assert said.count(f"\tPhase: {phase}{ends}") == 1


def test_029_an_error_of_init_after_the_first_next_is_refused(begun):
    runtime, event, invoked = begun
    reply = runtime.init_error(ERROR)
    assert reply.status == 403
    assert reply.json == refused_transition("Running", "InitError")
    runtime.respond(event, b'"well"')
    runtime.poll()
    assert invoked.result().body == b'"well"'


def test_030_after_an_error_of_init_there_is_no_next(stage):
    show = stage()
    show.invoke()
    runtime = show.runtime()
    told = runtime.begin("POST", RUNTIME + "init/error", body=ERROR, lane="one")
    asked = runtime.begin("GET", RUNTIME + "invocation/next", lane="one")
    assert told.result().status == 202
    reply = asked.result()
    assert reply.status == 403
    assert reply.json == refused_transition("InitError", "Ready")
