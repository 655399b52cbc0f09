"""An extension made with AWS's crate: it registers, gets events and telemetry, and shuts down."""

from __future__ import annotations

import json

import pytest
from clients.installed import watcher_layer

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

HANDLER = "def handler(event, context): print('sold', event)"


@pytest.fixture
def layer(daemon):
    """The ARN of a layer with the extension."""
    made = daemon.client.publish_layer_version(
        LayerName="watcher", Content={"ZipFile": watcher_layer()}
    )
    yield made["LayerVersionArn"]
    daemon.client.delete_layer_version(LayerName="watcher", VersionNumber=made["Version"])


def seen(said):
    """What the extension printed."""
    begins = "watcher: "
    return [json.loads(line.removeprefix(begins)) for line in said if line.startswith(begins)]


def test_an_extension_from_a_layer_sees_the_life_of_its_environment(
    daemon, deploy, invoke, messages, layer
):
    name = deploy(HANDLER, Layers=[layer])
    answers = [invoke(name, number) for number in (1, 2, 3)]
    assert [answer.error for answer in answers] == [None] * 3
    ids = [answer.request_id for answer in answers]

    daemon.client.update_function_configuration(FunctionName=name, Description="another")
    said = messages(name, '"event":"SHUTDOWN"')
    assert "EXTENSION\tName: watcher\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n" in said
    assert "TELEMETRY\tName: watcher\tState: Subscribed\tTypes: [Platform, Function]\n" in said

    all_seen = seen(said)
    events = [one for one in all_seen if "event" in one]
    registered, *invokes, shutdown = events
    arn = f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
    assert registered == {
        "event": "REGISTERED",
        "function": name,
        "version": "$LATEST",
        "handler": "lambda_function.handler",
        "account": "123456789012",
    }
    assert [one["requestId"] for one in invokes] == ids
    assert {one["functionArn"] for one in invokes} == {arn}
    assert all(one["tracing"].startswith("Root=1-") for one in invokes)
    assert shutdown["reason"] == "spindown"

    telemetry = [one for one in all_seen if "type" in one]
    told = [one["type"] for one in telemetry]
    assert told[0] == "platform.initStart"
    for once in ("platform.telemetrySubscription", "platform.initRuntimeDone",
                 "platform.extension", "platform.initReport"):  # fmt: skip
        assert told.count(once) == 1, told
    lines = [one["record"] for one in telemetry if one["type"] == "function"]
    assert lines == [f"sold {number}\n" for number in (1, 2, 3)]
    for kind in ("platform.start", "platform.runtimeDone", "platform.report"):
        records = [one["record"] for one in telemetry if one["type"] == kind]
        assert [record["requestId"] for record in records] == ids
        assert all(record.get("status", "success") == "success" for record in records)


def test_an_extension_is_told_that_the_function_ran_out_of_time(deploy, invoke, messages, layer):
    name = deploy("import time\ndef handler(event, context): time.sleep(60)", Layers=[layer],
                  Timeout=1)  # fmt: skip
    answer = invoke(name)
    assert answer.payload["errorType"] == "Sandbox.Timedout"
    *_, shutdown = [one for one in seen(messages(name, '"event":"SHUTDOWN"')) if "event" in one]
    assert shutdown["reason"] == "timeout"
