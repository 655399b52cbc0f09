"""The stages of one test, and the log that was kept of what was played there."""

from __future__ import annotations

import shutil

import boto3
import pytest


@pytest.fixture
def stage(daemon):
    """Deploys functions whose runtimes and extensions are puppets."""
    from conformance.runtime_api.stage import Stage  # and with it AWS's client

    if shutil.which("python3", path="/usr/bin") is None:
        pytest.skip("there is no /usr/bin/python3 for puppets to run on")
    stages = []

    def deployed(*extensions, **settings):
        stages.append(Stage(daemon, extensions, **settings))
        return stages[-1]

    yield deployed
    for each in stages:
        each.close()


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
    """The whole log of a function, once it has been said so often, event by event."""
    from conformance.runtime_api.players import until

    def read(name, text="", times=1):
        found = []

        def is_there():
            pages = logs.get_paginator("filter_log_events").paginate(
                logGroupName=f"/aws/lambda/{name}"
            )
            found[:] = [event["message"] for page in pages for event in page["events"]]
            return sum(text in message for message in found) >= times

        until(is_there, text)
        return found

    return read
