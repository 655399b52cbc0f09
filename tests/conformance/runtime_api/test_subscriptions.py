"""Who may be told what: checks 64 to 68 and 74 of Telemetry and Logs."""

from __future__ import annotations

import pytest
from conformance.runtime_api.players import QUICK

APIS = pytest.mark.parametrize(
    ("api", "kind"), [("telemetry", "ValidationError"), ("logs", "Logs.ValidationError")]
)
DESTINATION = {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4243"}


@pytest.fixture
def watcher(stage):
    """An extension that has registered."""
    show = stage("watcher")
    show.invoke()
    watcher = show.extension("watcher")
    watcher.register("INVOKE")
    return watcher


@pytest.mark.parametrize(("api", "word"), [("telemetry", "TELEMETRY"), ("logs", "LOGS")])
@pytest.mark.parametrize("protocol", ["HTTP", "TCP"])
def test_064_a_subscription_is_accepted_and_logged(stage, messages, api, word, protocol):
    show = stage("watcher")
    show.invoke()
    watcher = show.extension("watcher")
    watcher.register("INVOKE")
    sink = watcher.puppet.sink(4243, protocol)
    for state in ("Subscribed", "Already subscribed"):
        reply = watcher.subscribe(sink, "platform", "function", "extension", api=api)
        assert (reply.status, reply.body) == (200, b'"OK"')
        assert f"{word}\tName: watcher\tState: {state}" in "".join(messages(show.name, state))
    line = f"{word}\tName: watcher\tState: Subscribed\tTypes: [Platform, Function, Extension]"
    assert line in "".join(messages(show.name))


@APIS
@pytest.mark.parametrize(
    ("limit", "values"),
    [
        ("maxBytes", (262_143, 1_048_577)),
        ("maxItems", (999, 10_001)),
        ("timeoutMs", (24, 30_001)),
    ],
)
def test_065_a_buffer_has_its_limits(watcher, api, kind, limit, values):
    for value in values:
        wanted = {
            "types": ["platform"],
            "destination": DESTINATION,
            "buffering": QUICK | {limit: value},
        }
        reply = watcher.put(api, wanted)
        assert reply.refusal == (400, kind)
        assert limit in reply.json["errorMessage"]


@APIS
def test_066_all_that_is_wrong_is_told_at_once(watcher, api, kind):
    nowhere = {"protocol": "HTTP", "URI": "http://sandbox.localdomain"}
    reply = watcher.put(api, {"types": [], "destination": nowhere})
    assert reply.status == 400
    assert reply.headers["Content-Type"] == "application/json"
    text = "URI port is not provided; types should not be empty"
    told = f'{{"errorType":"{kind}","errorMessage":"{text}"}}'
    assert reply.body.strip() == told.encode()


@APIS
def test_067_nobody_is_told_outside(watcher, api, kind):
    for host in ("example.com", "127.0.0.1", "sandbox.localdomain.example.com", ""):
        destination = {"protocol": "HTTP", "URI": f"http://{host}:4243"}
        reply = watcher.put(api, {"types": ["platform"], "destination": destination})
        assert reply.refusal == (400, kind)
    for host in ("sandbox", "sandbox.localdomain"):
        destination = {"protocol": "HTTP", "URI": f"http://{host}:4243"}
        assert watcher.put(api, {"types": ["platform"], "destination": destination}).status == 200


@pytest.mark.parametrize(("api", "name"), [("telemetry", "Telemetry"), ("logs", "Logs")])
def test_068_subscriptions_close_with_init(stage, api, name):
    show = stage("watcher")
    show.invoke()
    watcher = show.extension("watcher")
    watcher.register("INVOKE")
    sink = watcher.puppet.sink(4243)
    show.runtime().poll()
    assert watcher.next().json["eventType"] == "INVOKE"
    reply = watcher.subscribe(sink, "platform", api=api)
    assert reply.status == 403
    assert reply.json == {
        "errorMessage": f"{name} API subscription is closed already",
        "errorType": f"{name}.SubscriptionClosed",
    }


def test_074_only_what_was_asked_for_is_told(stage):
    show = stage("watcher")
    invoked = show.invoke()
    watcher = show.extension("watcher")
    watcher.register("INVOKE")
    sink = watcher.puppet.sink(4243)
    assert watcher.subscribe(sink, "function").status == 200
    watcher.puppet.ask("print", text="of the extension\n")
    runtime = show.runtime()
    waiting, heard = runtime.poll(), watcher.poll()
    for number in (1, 2):
        event = waiting.result()
        heard.result()
        runtime.ask("print", text=f"line {number}\n")
        assert sink.wait("function", number)[-1] == f"line {number}\n"
        runtime.respond(event)
        waiting, heard = runtime.poll(), watcher.poll()
        invoked.result()
        invoked = show.invoke()
    waiting.result()
    assert sink.types == ["function", "function"]
