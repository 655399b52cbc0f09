"""How extensions begin: checks 40 to 53, 57, 58, 61 to 63 of the Extensions API."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import FIRST_COMPLETED, wait

import pytest
from conformance.runtime_api.players import (
    EXTENSION,
    IDENTIFIER,
    NOBODYS,
    PING,
    WAIT_S_MAX,
    Extension,
)

STATE, EVENT_TYPE = "Extension.InvalidExtensionState", "Extension.InvalidEventType"


@pytest.fixture
def watched(stage):
    """A function with an extension that has not registered yet, its runtime neither."""
    show = stage("watcher")
    invoked = show.invoke()
    return show, show.extension("watcher"), invoked


@pytest.fixture
def inner(stage):
    """A runtime that has begun, as an extension of itself."""
    show = stage()
    show.invoke()
    return Extension(show.runtime(), "inner")


def test_040_extensions_begin_before_the_runtime_and_it_waits_for_all_of_them(stage):
    show = stage("a", "b")
    show.invoke()
    first, second = show.extension("a"), show.extension("b")
    assert first.register("INVOKE").status == 200
    another = stage()
    another.invoke()
    another.runtime()
    assert show.began() == 0  # In the time in which another function's runtime has begun.
    before_last = second.puppet.call("GET", PING).at
    assert second.register().status == 200
    assert first.puppet.at < before_last < show.runtime().at


def test_041_who_registers_gets_an_identifier_and_three_facts(watched):
    show, watcher, _ = watched
    reply = watcher.register("INVOKE", "SHUTDOWN")
    assert reply.status == 200
    identifier = reply.headers[IDENTIFIER]
    assert str(uuid.UUID(identifier)) == identifier
    assert reply.headers["Content-Type"] == "application/json"
    facts = {"functionName": show.name, "functionVersion": "$LATEST", "handler": "any.handler"}
    assert reply.json == facts


def test_042_the_account_is_told_to_those_who_ask(watched):
    show, watcher, _ = watched
    wanted = {"Lambda-Extension-Accept-Feature": "another, accountId"}
    told = watcher.register("INVOKE", headers=wanted).json
    arn = show.client.get_function_configuration(FunctionName=show.name)["FunctionArn"]
    assert told["accountId"] == arn.split(":")[4]
    assert len(told) == 4


def test_043_who_has_no_name_cannot_register(watched):
    _, watcher, _ = watched
    for headers in ({}, {"Lambda-Extension-Name": ""}):
        reply = watcher.puppet.call("POST", EXTENSION + "register", headers, b"{}")
        assert reply.refusal == (403, "Extension.InvalidExtensionName")
        assert reply.json["errorMessage"] == "Empty extension name"


def test_044_a_registration_has_a_body_if_only_an_empty_object(watched):
    _, watcher, _ = watched
    for body in (b"", b"{", b'{"configurationKeys": ["a"]}'):
        assert watcher.register(body=body).refusal == (403, "InvalidRequestFormat")
    assert watcher.register(body=b"{}").status == 200


def test_045_an_unknown_event_is_refused(watched):
    _, watcher, _ = watched
    for event in ("FOO", "invoke"):
        reply = watcher.register(event)
        assert reply.refusal == (403, EVENT_TYPE)
        assert reply.json["errorMessage"] == f"{event}: ErrorInvalidEventType"


def test_046_an_internal_extension_hears_of_no_shutdown(inner):
    reply = inner.register("INVOKE", "SHUTDOWN")
    assert reply.refusal == (403, EVENT_TYPE)
    text = "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension"
    assert reply.json["errorMessage"] == text


def test_047_an_extension_registers_once(watched):
    show, watcher, _ = watched
    watcher.register("INVOKE")
    text = "State transition from Registered to Registered failed for extension watcher. "
    text += "Error: State transition is not allowed"
    reply = Extension(watcher.puppet, "watcher").register("INVOKE")
    assert reply.refusal == (403, STATE)
    assert reply.json["errorMessage"] == text
    inner = Extension(show.runtime(), "inner")
    assert inner.register("INVOKE").status == 200
    reply = Extension(inner.puppet, "inner").register("INVOKE")
    assert reply.refusal == (403, STATE)
    assert reply.json["errorMessage"] == "Extension with this name already registered"


def test_048_registration_ends_with_the_runtimes_first_next(inner):
    inner.puppet.next()
    reply = inner.register("INVOKE")
    assert reply.refusal == (403, "Extension.RegistrationClosed")
    assert reply.json["errorMessage"] == "Extension registration closed already"


def test_049_ten_extensions_are_enough(inner, stage):
    for number in range(10):
        assert Extension(inner.puppet, f"inner-{number}").register().status == 200
    reply = Extension(inner.puppet, "inner-10").register()
    assert reply.refusal == (403, "Extension.TooManyExtensions")
    assert reply.json["errorMessage"] == "Extension limit (10) reached"
    show = stage(*(f"outer-{number:02}" for number in range(11)))
    answer = show.invoke().result()
    assert answer.payload["errorType"] == "Extension.LaunchError"
    assert "\tError Type: TooManyExtensions\n" in answer.log


def test_050_who_asks_for_events_says_who_it_is(watched):
    _, watcher, _ = watched
    refusals = [
        ({}, "Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header"),
        (
            {IDENTIFIER: "me"},
            "Extension.InvalidExtensionIdentifier",
            "Invalid Lambda-Extension-Identifier",
        ),
        (
            {IDENTIFIER: NOBODYS},
            "Extension.UnknownExtensionIdentifier",
            f"Unknown extension {NOBODYS}",
        ),
    ]
    for headers, error_type, text in refusals:
        reply = watcher.puppet.call("GET", EXTENSION + "event/next", headers)
        assert reply.refusal == (403, error_type)
        assert reply.json["errorMessage"] == text


def test_051_no_event_is_delivered_before_every_extension_is_ready(watched):
    show, watcher, _ = watched
    watcher.register("INVOKE")
    runtime = show.runtime()
    waiting = runtime.poll_and_be_heard()
    asked_at = watcher.puppet.call("GET", PING).at
    assert not waiting.done()
    watcher.poll()
    assert waiting.result().at > asked_at


def test_052_an_extension_without_events_is_waited_for_once_and_never_told(watched):
    show, watcher, invoked = watched
    watcher.register()
    runtime = show.runtime()
    waiting = runtime.poll_and_be_heard()
    assert not waiting.done()
    heard = watcher.poll()
    for payload in (b"1", b"2"):
        runtime.respond(waiting.result(), payload)
        waiting = runtime.poll()
        assert invoked.result().body == payload
        invoked = show.invoke()
    runtime.respond(waiting.result())
    assert not heard.done()


def test_053_an_extension_hears_of_the_event_what_the_runtime_does(watched):
    show, watcher, _ = watched
    watcher.register("INVOKE")
    waiting = show.runtime().poll()
    heard, event = watcher.next(), waiting.result()
    assert heard.status == 200
    assert heard.headers[IDENTIFIER] == watcher.identifier
    assert uuid.UUID(heard.headers["Lambda-Extension-Event-Identifier"])
    assert heard.headers["Content-Type"] == "application/json"
    assert heard.json == {
        "eventType": "INVOKE",
        "deadlineMs": int(event.headers["Lambda-Runtime-Deadline-Ms"]),
        "requestId": event.request_id,
        "invokedFunctionArn": event.headers["Lambda-Runtime-Invoked-Function-Arn"],
        "tracing": {
            "type": "X-Amzn-Trace-Id",
            "value": event.headers["Lambda-Runtime-Trace-Id"],
        },
    }


def test_057_an_extension_asks_once_at_a_time(watched):
    _, watcher, _ = watched
    watcher.register()
    asked = [watcher.poll(), watcher.poll()]
    (refused,), waiting = wait(asked, WAIT_S_MAX, FIRST_COMPLETED)
    assert refused.result().refusal == (403, STATE)
    text = f"State transition from Ready to Ready failed for extension {watcher.identifier}. "
    assert refused.result().json["errorMessage"].startswith(text)
    assert len(waiting) == 1


def test_058_an_error_without_a_type_is_refused(watched):
    _, watcher, _ = watched
    watcher.register("INVOKE")
    for phase in ("init", "exit"):
        reply = watcher.puppet.call("POST", f"{EXTENSION}{phase}/error", watcher.own)
        assert reply.refusal == (403, "Extension.MissingHeader")
        text = "Lambda-Extension-Function-Error-Type not found"
        assert reply.json["errorMessage"] == text


def test_061_an_extension_that_cannot_be_executed_is_a_launch_error(stage):
    show = stage(layer={"extensions/broken": ("#!/bin/sh\n", 0o644)})
    answer = show.invoke().result()
    assert answer.error == "Unhandled"
    text = f"RequestId: {answer.request_id} Error: "
    text += "fork/exec /opt/extensions/broken: permission denied"
    assert answer.payload == {"errorType": "Extension.LaunchError", "errorMessage": text}
    line = "EXTENSION\tName: broken\tState: LaunchError\tEvents: []\tError Type: PermissionDenied\n"
    assert line in answer.log


def test_062_extensions_can_be_disabled(stage):
    show = stage("watcher", layer={"disable-extensions-jwigqn8j": ("", 0o644)})
    invoked = show.invoke()
    runtime = show.runtime()
    for method, path in (
        ("POST", EXTENSION + "register"),
        ("GET", EXTENSION + "event/next"),
        ("POST", EXTENSION + "init/error"),
        ("POST", EXTENSION + "exit/error"),
        ("PUT", "/2022-07-01/telemetry"),
        ("PUT", "/2020-08-15/logs"),
    ):
        named = {"Lambda-Extension-Name": "inner"}
        assert runtime.call(method, path, named).status == 404
    runtime.respond(runtime.next(), b'"alone"')
    runtime.poll()
    assert invoked.result().body == b'"alone"'
    assert show.began("watcher") == 0


def test_063_after_an_exit_error_there_is_no_next(watched):
    _, watcher, _ = watched
    watcher.register("INVOKE")
    told = watcher.error("exit")
    assert (told.status, json.loads(told.body)) == (202, {"status": "OK"})
    assert watcher.next().refusal == (403, STATE)
    assert watcher.error("exit", "Extension.Another").status == 202
