"""Powertools for AWS Lambda: what its Logger and its Metrics write is kept as they write it."""

from __future__ import annotations

import json

import pytest
from clients.installed import python_modules, with_awslambdaric
from scenario.package import FUNCTIONS, folder
from scenario.program import OWN_RUNTIME, PATIENCE

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

LIBRARY = ("aws_lambda_powertools/", "jmespath/", "typing_extensions.py")
SETTINGS = {"Handler": "app.handler", "Timeout": 30 * PATIENCE, "MemorySize": 512}


@pytest.fixture(params=["a runtime of lambdad", "AWS's runtime client"])
def shop(request, deploy):
    """A function with the library, by name; under either client."""

    def deployed(**more):
        if request.param == "AWS's runtime client":
            code = with_awslambdaric("shop")
            return deploy(code, Runtime="provided.al2023", **SETTINGS, **more)
        code = python_modules(*LIBRARY) | folder(FUNCTIONS / "shop")
        return deploy(code, Runtime=OWN_RUNTIME, **SETTINGS, **more)

    return deployed


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
def test_logger_and_metrics_write_what_they_write_on_aws(
    daemon, shop, invoke, messages, log_format
):
    name = shop(LoggingConfig={"LogFormat": log_format})
    answer = invoke(name, {"basket": "b-1", "count": 2})
    assert answer.error is None, answer.payload
    assert answer.payload == {"sold": 2}

    said = messages(name, "REPORT" if log_format == "Text" else "platform.report")
    records = [json.loads(message) for message in said if message.startswith("{")]
    logged = [record for record in records if "level" in record]
    event, sold, no_price = logged
    for record in logged:
        assert record["service"] == "shop"
        assert record["cold_start"] is True
        assert record["function_name"] == name
        assert record["function_memory_size"] == "512"
        assert record["function_arn"].endswith(f":function:{name}")
        assert record["function_request_id"] == answer.request_id
        assert record["location"]
        assert record["timestamp"]
        assert record["xray_trace_id"].startswith("1-")
    assert event["message"] == {"basket": "b-1", "count": 2}
    assert (sold["level"], sold["message"], sold["basket"]) == ("INFO", "sold", "b-1")
    assert no_price["exception_name"] == "KeyError"
    assert no_price["exception"].startswith("Traceback (most recent call last):\n")

    metrics = {
        metric["Name"]: (record, directive)
        for record in records
        for directive in record.get("_aws", {}).get("CloudWatchMetrics", [])
        for metric in directive["Metrics"]
    }
    assert set(metrics) == {"Sold", "ColdStart"}
    record, directive = metrics["Sold"]
    assert record["Sold"] == [2.0]
    assert record["service"] == "shop"
    assert isinstance(record["_aws"]["Timestamp"], int)
    assert directive["Namespace"] == "Shop"
    assert directive["Dimensions"] == [["service"]]
    assert directive["Metrics"] == [{"Name": "Sold", "Unit": "Count"}]
    assert metrics["ColdStart"][0]["function_name"] == name
