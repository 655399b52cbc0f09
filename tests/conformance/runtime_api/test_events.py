"""What a runtime gets: checks 1 to 10, 17 and 18 of the Runtime API."""

from __future__ import annotations

import base64
import http.client
import json
import time
import uuid
from urllib.parse import urlsplit

import pytest
from conformance.runtime_api.players import NOBODYS, PING, RUNTIME, WAIT_S_MAX, wall
from scenario.program import PATIENCE


def test_001_ping_is_answered_with_pong(stage):
    show = stage()
    show.invoke()
    reply = show.runtime().call("GET", PING)
    assert (reply.status, reply.body) == (200, b"pong")


def test_002_an_unknown_path_and_a_wrong_method_are_refused(stage):
    show = stage()
    show.invoke()
    runtime = show.runtime()
    unknown = runtime.call("GET", RUNTIME + "invocation/previous")
    assert (unknown.status, unknown.body) == (404, b"404 page not found\n")
    assert unknown.headers["Content-Type"].startswith("text/plain")
    wrong = runtime.call("POST", RUNTIME + "invocation/next")
    assert (wrong.status, wrong.body) == (405, b"")


@pytest.mark.slow
def test_003_next_stays_open_for_a_minute(stage):
    show = stage()
    invoked = show.invoke()
    runtime = show.runtime()
    assert runtime.respond(runtime.next()).status == 202
    waiting = runtime.poll()
    invoked.result()
    asked_at = time.monotonic()
    with pytest.raises(TimeoutError):
        waiting.result(60)
    show.invoke(b'"late"')
    event = waiting.result()
    assert event.body == b'"late"'
    assert event.at - asked_at >= 60
    assert runtime.respond(event).status == 202


def test_004_an_event_comes_with_its_id_deadline_arn_and_trace(stage):
    show = stage()
    invoked = show.invoke()
    runtime = show.runtime()
    event = runtime.next()
    assert event.status == 200
    request_id = event.request_id
    assert str(uuid.UUID(request_id)) == request_id
    assert len(event.headers["Lambda-Runtime-Deadline-Ms"]) == 13
    arn = f"arn:aws:lambda:us-east-1:{account_of(show)}:function:{show.name}"
    assert event.headers["Lambda-Runtime-Invoked-Function-Arn"] == arn
    trace = event.headers["Lambda-Runtime-Trace-Id"]
    parts = dict(part.split("=") for part in trace.split(";"))
    assert parts["Root"].startswith("1-")
    assert len(parts["Parent"]) == 16
    assert parts["Sampled"] == "0"
    runtime.respond(event)
    runtime.poll()
    assert invoked.result().request_id == request_id


def account_of(show):
    return show.client.get_function_configuration(FunctionName=show.name)["FunctionArn"].split(":")[
        4
    ]


def test_005_the_deadline_is_the_timeout_from_now(stage):
    timeout_s = 7 * PATIENCE
    show = stage(Timeout=timeout_s)
    invoked = show.invoke()
    runtime = show.runtime()
    runtime.respond(runtime.next())
    waiting = runtime.poll()
    invoked.result()
    before = wall()
    show.invoke()
    event = waiting.result()
    deadline_s = int(event.headers["Lambda-Runtime-Deadline-Ms"]) / 1000
    assert before - 0.002 <= deadline_s - timeout_s <= event.wall + 0.002


def test_006_the_payload_is_the_invokers_byte_for_byte(stage):
    payload = ' {"a" :\r\n\t"ü 😀 \\u00e9",  "a": 1.50e0 }\n'.encode()
    show = stage()
    show.invoke(payload)
    assert show.runtime().next().body == payload


def test_007_the_content_type_is_the_invokers_or_json(stage, daemon):
    show = stage()
    invoked = show.invoke()
    runtime = show.runtime()
    event = runtime.next()
    assert event.headers["Content-Type"] == "application/json"
    runtime.respond(event)
    waiting = runtime.poll()
    invoked.result()
    kind = "application/vnd.example+json"
    address = urlsplit(daemon.url)
    connection = http.client.HTTPConnection(address.netloc, timeout=WAIT_S_MAX)
    path = f"/2015-03-31/functions/{show.name}/invocations"
    connection.request("POST", path, b"{}", {"Content-Type": kind})
    event = waiting.result()
    assert event.headers["Content-Type"] == kind
    runtime.respond(event)
    assert connection.getresponse().status == 200
    connection.close()


def test_008_the_client_context_comes_decoded_or_not_at_all(stage):
    context = {"client": {"app_title": "ä"}, "custom": {"key": "value"}}
    show = stage()
    encoded = base64.b64encode(json.dumps(context).encode()).decode()
    invoked = show.invoke(ClientContext=encoded)
    runtime = show.runtime()
    event = runtime.next()
    assert json.loads(event.headers["Lambda-Runtime-Client-Context"]) == context
    runtime.respond(event)
    waiting = runtime.poll()
    invoked.result()
    show.invoke()
    assert "Lambda-Runtime-Client-Context" not in waiting.result().headers


def test_009_there_is_no_cognito_identity_where_there_is_none(stage):
    show = stage()
    show.invoke()
    assert "Lambda-Runtime-Cognito-Identity" not in show.runtime().next().headers


def test_010_the_arn_ends_as_the_invoker_has_qualified_it(stage):
    show = stage()
    version = show.client.publish_version(FunctionName=show.name)["Version"]
    assert version == "1"
    show.wait_until_active(version)

    def arn_of(event):
        return event.headers["Lambda-Runtime-Invoked-Function-Arn"]

    invoked = show.invoke()
    runtime = show.runtime()
    event = runtime.next()
    assert arn_of(event).endswith(f":function:{show.name}")
    runtime.respond(event)
    waiting = runtime.poll()
    invoked.result()
    show.invoke(Qualifier="$LATEST")
    assert arn_of(waiting.result()).endswith(f":function:{show.name}:$LATEST")
    show.invoke(Qualifier=version)
    assert arn_of(show.runtime().next()).endswith(f":function:{show.name}:1")


def test_017_asking_again_gives_the_same_event_at_once(stage):
    show = stage()
    show.invoke(b'"once"')
    runtime = show.runtime()
    first, second = runtime.next(), runtime.next()
    assert second.status == 200
    assert (second.request_id, second.body) == (first.request_id, b'"once"')
    deadline = "Lambda-Runtime-Deadline-Ms"
    assert second.headers[deadline] == first.headers[deadline]


def test_018_a_response_before_any_event_has_no_id_to_bear(stage):
    show = stage()
    show.invoke()
    reply = show.runtime().respond(NOBODYS)
    assert reply.refusal == (400, "InvalidRequestID")
