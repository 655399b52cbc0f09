"""AWS's runtime client for Node.js: answers, errors and streams."""

from __future__ import annotations

import json
import re

import pytest
from clients.installed import with_node_ric
from scenario.program import PATIENCE

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture
def deploy_node(deploy):
    def deployed(handler):
        return deploy(
            with_node_ric("node"),
            Runtime="provided.al2023",
            Handler=f"app.{handler}",
            Timeout=30 * PATIENCE,
        )

    return deployed


@pytest.fixture
def stream(daemon):
    """Invokes for a stream; what came, and how it ended."""

    def streamed(name, event):
        said = daemon.client.invoke_with_response_stream(
            FunctionName=name, Payload=json.dumps(event), LogType="Tail"
        )
        *parts, end = said["EventStream"]
        content = b"".join(part["PayloadChunk"]["Payload"] for part in parts)
        return content, end["InvokeComplete"]

    return streamed


def test_events_are_answered(deploy_node, invoke):
    name = deploy_node("buffered")
    for key in ("cold", "warm"):
        answer = invoke(name, {"key": key})
        assert answer.error is None, answer.payload
        assert answer.payload == {"event": {"key": key}, "memory": "1769", "name": name}
        line = rf"{TIME}\t{answer.request_id}\tINFO\tas on AWS {answer.request_id}"
        assert any(re.fullmatch(line, said) for said in answer.lines), answer.log


def test_an_error_is_told_and_the_next_event_is_answered(deploy_node, invoke):
    name = deploy_node("buffered")
    failed = invoke(name, {"fail": True})
    assert failed.error == "Unhandled"
    assert failed.payload["errorType"] == "TypeError"
    assert failed.payload["errorMessage"] == "as asked"
    assert failed.payload["trace"][0] == "TypeError: as asked"
    assert "Invoke Error" in failed.log
    assert invoke(name, {}).error is None


def test_a_stream_arrives(deploy_node, stream):
    name = deploy_node("streamed")
    for parts in (["one ", "two ", "three"], ["x" * 1_000_000] * 3):
        content, end = stream(name, {"parts": parts})
        assert content.decode() == "".join(parts)
        assert not end.get("ErrorCode"), end
        assert not end.get("ErrorDetails")
        assert end["LogResult"]


def test_an_error_in_the_middle_of_a_stream_ends_it(deploy_node, stream):
    name = deploy_node("streamed")
    content, end = stream(name, {"parts": ["one "], "fail": True})
    assert content == b"one "
    assert end["ErrorCode"] == "RangeError"
    details = json.loads(end["ErrorDetails"])
    assert details["errorType"] == "RangeError"
    assert details["errorMessage"] == "after the first part"
    content, end = stream(name, {"parts": ["two"]})
    assert content == b"two"
    assert not end.get("ErrorCode")


def test_an_invoker_that_wants_no_stream_gets_it_whole(deploy_node, invoke):
    answer = invoke(deploy_node("streamed"), {"parts": ["one ", "two"]})
    assert answer.error is None
    assert answer.body == b"one two"


def test_what_precedes_an_http_response_is_passed_on_as_it_is(deploy_node, stream):
    content, _ = stream(deploy_node("site"), {})
    prelude, body = content.split(bytes(8), 1)
    assert json.loads(prelude) == {
        "statusCode": 201,
        "headers": {"x-shop": "open"},
        "cookies": ["a=b"],
    }
    assert body == b"<p>open</p>"
