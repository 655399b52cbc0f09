"""CloudWatch Logs as AWS's client sees them, and ``lambdad logs``."""

from __future__ import annotations

import secrets
import signal
import subprocess
from contextlib import closing

import boto3
import pytest
from botocore.config import Config
from scenario.program import LAMBDAD, PATIENCE, wait_until_ended

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

SPEAKER = """
    import json

    def handler(event, context):
        print(json.dumps({"level": "ERROR" if event % 2 else "INFO", "n": event}))
        return context.log_stream_name
"""


def logs_client(daemon):
    return boto3.client(
        "logs",
        endpoint_url=daemon.url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=60 * PATIENCE),
    )


@pytest.fixture(scope="module")
def logs(daemon):
    client = logs_client(daemon)
    yield client
    client.close()


def command(daemon, *arguments):
    return subprocess.run(
        [LAMBDAD, "logs", "--endpoint-url", daemon.url, *arguments],
        capture_output=True, check=False, text=True, timeout=30 * PATIENCE,
    )  # fmt: skip


def all_events(logs, **asked):
    pages = logs.get_paginator("filter_log_events").paginate(**asked)
    return [event for page in pages for event in page["events"]]


def said(logs, **asked):
    return [event["message"] for event in all_events(logs, **asked)]


def test_what_a_function_says_is_in_its_group_and_stream(logs, deploy, invoke):
    name = deploy(SPEAKER)
    first, second = invoke(name, 1), invoke(name, 2)
    group, stream = f"/aws/lambda/{name}", first.payload
    assert "".join(said(logs, logGroupName=group)).endswith(first.log + second.log)
    assert {event["logStreamName"] for event in all_events(logs, logGroupName=group)} == {stream}
    (described,) = logs.describe_log_streams(logGroupName=group, orderBy="LastEventTime")[
        "logStreams"
    ]
    assert described["logStreamName"] == stream
    read = logs.get_log_events(logGroupName=group, logStreamName=stream, limit=1)
    assert [event["message"] for event in read["events"]] == second.log.splitlines(True)[-1:]
    found = logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]
    assert [one["logGroupName"] for one in found] == [group]


def test_a_filter_finds_fields_of_json(logs, deploy, invoke):
    name = deploy(SPEAKER)
    for number in range(4):
        invoke(name, number)
    pattern = '{ $.level = "ERROR" && $.n > 1 }'
    found = said(logs, logGroupName=f"/aws/lambda/{name}", filterPattern=pattern)
    assert found == ['{"level": "ERROR", "n": 3}\n']


def test_who_polls_sees_every_event_once_and_in_order(logs, deploy, invoke):
    name = deploy(SPEAKER)
    seen, newest = {}, 0
    for number in range(5):
        invoke(name, number)
        for event in all_events(logs, logGroupName=f"/aws/lambda/{name}", startTime=newest):
            seen.setdefault(event["eventId"], event["message"])
            newest = max(newest, event["timestamp"])
    numbers = [text for text in seen.values() if text.startswith("{")]
    assert [f'"n": {number}' in text for number, text in enumerate(numbers)] == [True] * 5
    assert sum(text.startswith("REPORT") for text in seen.values()) == 5


def test_a_group_that_others_make_can_be_written_and_read(logs):
    group = f"/test/{secrets.token_hex(8)}"
    place = {"logGroupName": group, "logStreamName": "mine"}
    logs.create_log_group(logGroupName=group, tags={"a": "b"})
    with pytest.raises(logs.exceptions.ResourceAlreadyExistsException):
        logs.create_log_group(logGroupName=group)
    logs.create_log_stream(**place)
    now_ms = int(logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"][0]["creationTime"])
    logs.put_log_events(**place, logEvents=[{"timestamp": now_ms, "message": "hello"}])
    assert said(logs, logGroupName=group) == ["hello"]
    logs.put_retention_policy(logGroupName=group, retentionInDays=30)
    logs.delete_log_group(logGroupName=group)
    with pytest.raises(logs.exceptions.ResourceNotFoundException, match="log group does not exist"):
        logs.get_log_events(**place)


def test_a_wrong_parameter_is_told_as_aws_tells_it(logs):
    with pytest.raises(logs.exceptions.InvalidParameterException, match="at 'logGroupName' failed"):
        logs.describe_log_streams(logGroupName="a b")
    with pytest.raises(logs.exceptions.ClientError, match="UnknownOperationException"):
        logs.describe_metric_filters()


def test_the_command_prints_what_was_said(daemon, deploy, invoke):
    name = deploy(SPEAKER)
    first, second = invoke(name, 1), invoke(name, 2)
    ran = command(daemon, name)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.endswith(first.log + second.log)
    assert command(daemon, name, "--filter", '"level"').stdout.count("\n") == 2
    assert command(daemon, f"/aws/lambda/{name}").stdout == ran.stdout
    assert command(daemon, f"{name}-not").returncode == 1


def test_the_command_follows_until_interrupted(daemon, deploy, invoke):
    name = deploy(SPEAKER)
    following = subprocess.Popen(
        [LAMBDAD, "logs", "-f", "--endpoint-url", daemon.url, name],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        for number in range(2):
            log = invoke(name, number).log
            lines = iter(following.stdout.readline, "REPORT")
            last = log.splitlines(True)[-1]
            assert any(line == last for line in lines)
        following.send_signal(signal.SIGINT)
        assert following.wait(10 * PATIENCE) == 0
        assert following.stderr.read() == ""
    finally:
        following.kill()
        following.communicate()


def test_logs_outlive_a_daemon_that_was_killed(start):
    own = start()
    name = own.deploy("def handler(event, context): print('said')")
    own.invoke(name)
    with closing(logs_client(own)) as logs:
        before = all_events(logs, logGroupName=f"/aws/lambda/{name}")
    watched = own.kill()
    again = start()
    wait_until_ended(watched)
    with closing(logs_client(again)) as logs:
        assert all_events(logs, logGroupName=f"/aws/lambda/{name}") == before
        again.invoke(name)
        after = all_events(logs, logGroupName=f"/aws/lambda/{name}")
    assert after[: len(before)] == before
    assert [event["message"] for event in after].count("said\n") == 2


def test_the_log_of_a_deleted_function_goes(daemon, logs):
    name = daemon.deploy(SPEAKER)
    daemon.invoke(name, 1)
    daemon.client.delete_function(FunctionName=name)
    group = f"/aws/lambda/{name}"
    for _ in range(200 * PATIENCE):
        if logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"] == []:
            return
    pytest.fail("the log group stays")
