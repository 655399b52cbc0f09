"""The log of a function as any client of CloudWatch Logs reads it."""

from __future__ import annotations

import time

import boto3
import pytest
from scenario.program import START_S_MAX


@pytest.fixture(scope="session")
def logs(daemon):
    client = boto3.client(
        "logs",
        endpoint_url=daemon.url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
    )
    yield client
    client.close()


@pytest.fixture
def messages(logs):
    """All messages of a function's log, once there are so many that contain a text."""

    def read(name, text="", times=1):
        pages = logs.get_paginator("filter_log_events")
        last = time.monotonic() + START_S_MAX
        while True:
            found = pages.paginate(logGroupName=f"/aws/lambda/{name}")
            said = [event["message"] for page in found for event in page["events"]]
            if sum(text in message for message in said) >= times:
                return said
            assert time.monotonic() < last, f"{text!r} never came: {said}"
            time.sleep(0.05)

    return read
