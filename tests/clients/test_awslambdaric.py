"""AWS's runtime client for Python: what it logs, and many events at a time."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from clients.installed import with_awslambdaric
from scenario.program import OWN_RUNTIME, PATIENCE

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

OS_ONLY = {"Runtime": "provided.al2023", "Handler": "app.handler", "Timeout": 30 * PATIENCE}
# A managed runtime has a descriptor for its log; the wrapper takes the place of lambdad's client.
IN_PYTHON = {
    **OS_ONLY,
    "Runtime": OWN_RUNTIME,
    "Environment": {"Variables": {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/bootstrap"}},
}
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
MANAGED = {
    "MemorySize": 2_048,
    "CapacityProviderConfig": {
        "LambdaManagedInstancesCapacityProviderConfig": {
            "CapacityProviderArn": "arn:aws:lambda:us-east-1:123456789012:capacity-provider:any",
            "PerExecutionEnvironmentMaxConcurrency": 3,
        }
    },
}


def test_events_are_answered(deploy, invoke):
    name = deploy(with_awslambdaric("awslambdaric"), **OS_ONLY)
    for key in ("cold", "warm"):
        answer = invoke(name, {"key": key})
        assert answer.error is None, answer.payload
        assert answer.payload["event"] == {"key": key}
        assert answer.lines[1] == f"as on AWS {answer.request_id}"


def test_a_record_is_one_event_however_many_lines_it_has(deploy, invoke, messages):
    name = deploy(with_awslambdaric("logs"), **IN_PYTHON)
    answer = invoke(name, {"count": 3})
    assert answer.payload["errorType"] == "ValueError"
    said = messages(name, "REPORT")
    sold, no_price, error = (message for message in said if message.startswith("["))
    assert re.fullmatch(rf"\[INFO\]\t{TIME}\t{answer.request_id}\tsold 3\n", sold)
    assert re.match(rf"\[ERROR\]\t{TIME}\t{answer.request_id}\tno price\nTraceback ", no_price)
    assert no_price.endswith("KeyError: 'price'")
    assert error.startswith("[ERROR] ValueError: as asked\nTraceback (most recent call last):\n")
    assert "printed\n" in said


def test_a_runtime_without_the_log_descriptor_joins_the_lines_of_an_error(deploy, invoke, messages):
    name = deploy(with_awslambdaric("logs"), **OS_ONLY)
    answer = invoke(name, {"count": 3})
    said = messages(name, "REPORT")
    assert any(
        re.fullmatch(rf"\[INFO\]\t{TIME}\t{answer.request_id}\tsold 3\n", one) for one in said
    )
    joined = "[ERROR] ValueError: as asked\rTraceback (most recent call last):\r"
    assert sum(joined in message for message in said) == 1


def test_records_are_json_where_that_is_asked_for(deploy, invoke, messages):
    logging = {"LogFormat": "JSON", "ApplicationLogLevel": "INFO"}
    name = deploy(with_awslambdaric("logs"), **OS_ONLY, LoggingConfig=logging)
    answer = invoke(name, {"count": 3})
    said = messages(name, "platform.report")
    assert "printed\n" in said
    records = [json.loads(message) for message in said if message.startswith("{")]
    platform = [record["type"] for record in records if "type" in record]
    assert platform == ["platform.start", "platform.report"]
    sold, no_price, error = (record for record in records if "type" not in record)
    assert list(sold) == ["timestamp", "level", "message", "logger", "requestId", "shop"]
    assert sold["message"] == "sold 3"
    assert sold["requestId"] == answer.request_id
    assert no_price["errorType"] == "KeyError"
    assert error["level"] == "ERROR"
    assert error["errorMessage"] == "as asked"


def test_several_events_are_in_one_environment_at_a_time(deploy, invoke):
    name = deploy(with_awslambdaric("concurrent"), **OS_ONLY, **MANAGED)
    alone = invoke(name, {"meeting": "alone", "count": 1, "workers": 3})
    assert alone.error is None, alone.payload
    with ThreadPoolExecutor(2) as callers:
        for meeting in ("first", "second"):
            event = {"meeting": meeting, "count": 2, "workers": 3}
            answers = list(callers.map(invoke, [name] * 2, [event] * 2))
            assert [answer.error for answer in answers] == [None] * 2, answers
            assert len({answer.payload["me"] for answer in answers}) == 2
            streams = {answer.payload["stream"] for answer in answers}
            assert streams == {alone.payload["stream"]}
