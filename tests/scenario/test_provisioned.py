"""Provisioned concurrency, as AWS's client has it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError
from scenario import held
from scenario.package import zipped
from scenario.program import PATIENCE, START_S_MAX

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

PROVISIONED, ON_DEMAND = "provisioned-concurrency", "on-demand"
AT_ONCE = "."  # is in every folder

# As those of ``held``; says how it was initialized, and by which version.
SOURCE = """
    import os, time, uuid

    here = str(uuid.uuid4())
    kind = os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
    print(f"begins {kind}.")

    def handler(event, context):
        open(f"/tmp/{event}.awaited", "w").close()
        while not os.path.exists(f"/tmp/{event}"):
            time.sleep(0.01)
        return [kind, here]
"""
FAILS_AHEAD = """
    import os

    if os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"] != "on-demand":
        raise RuntimeError("not like this")

    def handler(event, context):
        return os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""


@pytest.fixture
def callers():
    """Threads for as many clients as a test has."""
    with ThreadPoolExecutor(8) as pool:
        yield pool


def deploy(program, code=SOURCE):
    """A function with a version 1 that is Active."""
    name = program.deploy(code, Publish=True, Timeout=60 * PATIENCE)
    waiter = program.client.get_waiter("published_version_active")
    attempts = {"Delay": 0.02, "MaxAttempts": 500 * PATIENCE}
    waiter.wait(FunctionName=name, Qualifier="1", WaiterConfig=attempts)
    return name


def put(program, name, count, qualifier="1"):
    asked = {"FunctionName": name, "Qualifier": qualifier, "ProvisionedConcurrentExecutions": count}
    return program.client.put_provisioned_concurrency_config(**asked)


def get(program, name, qualifier="1"):
    asked = {"FunctionName": name, "Qualifier": qualifier}
    return program.client.get_provisioned_concurrency_config(**asked)


def wait_until(program, name, status, qualifier="1"):
    """What is shown once it has that status; the service has no waiter for it."""
    last = time.monotonic() + START_S_MAX
    while (shown := get(program, name, qualifier))["Status"] != status:
        assert time.monotonic() < last, f"it never was {status}: {shown}"
        time.sleep(0.02)
    return shown


def counts(shown):
    kinds = ("Requested", "Allocated", "Available")
    return [shown[f"{kind}ProvisionedConcurrentExecutions"] for kind in kinds]


def refusal(call, **asked):
    """Status, code and text of what is refused."""
    with pytest.raises(ClientError) as caught:
        call(**asked)
    answer = caught.value.response
    status, error = answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]
    return status, error["Code"], error["Message"]


def test_three_provisioned_run_at_once_without_a_cold_start_and_a_fourth_on_demand(start, callers):
    own = start()
    name = deploy(own)
    answer = put(own, name, 3)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert (counts(answer), answer["Status"]) == ([3, 0, 0], "IN_PROGRESS")
    ready = wait_until(own, name, "READY")
    assert (counts(ready), ready["LastModified"]) == ([3, 3, 3], answer["LastModified"])
    own.wait_for_log(name, f"begins {PROVISIONED}.", 3)

    calls = [callers.submit(own.invoke, f"{name}:1", "first") for _ in range(3)]
    held.wait_until_held(own, "first", 3)
    assert own.log_of(name).count("begins") == 3
    fourth = callers.submit(own.invoke, f"{name}:1", "first")
    held.wait_until_held(own, "first", 4)
    held.let_go(own, "first", 4)
    ran = [call.result().payload for call in calls]
    assert [kind for kind, _ in ran] == [PROVISIONED] * 3
    assert len({here for _, here in ran}) == 3
    assert fourth.result().payload[0] == ON_DEMAND
    assert own.log_of(name).count(f"begins {ON_DEMAND}.") == 1
    assert counts(get(own, name)) == [3, 3, 3]


def test_what_fails_to_start_has_failed_and_runs_on_demand(start):
    own = start()
    name = deploy(own, FAILS_AHEAD)
    put(own, name, 2)
    failed = wait_until(own, name, "FAILED")
    assert (counts(failed), failed["StatusReason"]) == ([2, 0, 0], "FUNCTION_ERROR_INIT_FAILURE")
    assert own.invoke(f"{name}:1").payload == ON_DEMAND


def test_what_is_provisioned_of_an_alias_moves_with_it(start):
    own = start()
    name = deploy(own)
    own.client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    put(own, name, 1, "live")
    wait_until(own, name, "READY", "live")
    assert own.invoke(f"{name}:live", AT_ONCE).payload[0] == PROVISIONED

    own.client.update_function_code(FunctionName=name, ZipFile=zipped(SOURCE + "\n    new = True"))
    own.wait("function_updated_v2", name)
    assert own.client.publish_version(FunctionName=name)["Version"] == "2"
    own.client.update_alias(FunctionName=name, Name="live", FunctionVersion="2")
    assert counts(wait_until(own, name, "READY", "live")) == [1, 1, 1]
    assert own.invoke(f"{name}:2", AT_ONCE).payload[0] == PROVISIONED
    assert own.invoke(f"{name}:1", AT_ONCE).payload[0] == ON_DEMAND
    listed = own.client.list_provisioned_concurrency_configs(FunctionName=name)
    (only,) = listed["ProvisionedConcurrencyConfigs"]
    assert only["FunctionArn"].endswith(f":function:{name}:live")

    own.client.delete_alias(FunctionName=name, Name="live")
    listed = own.client.list_provisioned_concurrency_configs(FunctionName=name)
    assert listed["ProvisionedConcurrencyConfigs"] == []
    assert own.invoke(f"{name}:2", AT_ONCE).payload[0] == ON_DEMAND


def test_what_is_provisioned_is_there_again_after_a_restart_until_it_is_deleted(start):
    own = start()
    name = deploy(own)
    put(own, name, 2)
    wait_until(own, name, "READY")
    own.stop()
    own = start()
    assert counts(wait_until(own, name, "READY")) == [2, 2, 2]
    assert own.invoke(f"{name}:1", AT_ONCE).payload[0] == PROVISIONED
    asked = {"FunctionName": name, "Qualifier": "1"}
    for _ in range(2):
        answer = own.client.delete_provisioned_concurrency_config(**asked)
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert own.invoke(f"{name}:1", AT_ONCE).payload[0] == ON_DEMAND
    assert refusal(own.client.get_provisioned_concurrency_config, **asked) == (
        404,
        "ProvisionedConcurrencyConfigNotFoundException",
        "No Provisioned Concurrency Config found for this function",
    )


def test_when_all_that_is_reserved_is_provisioned_nothing_is_left_for_latest(start):
    own = start()
    name = deploy(own)
    own.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    put(own, name, 2)
    wait_until(own, name, "READY")
    status, code, _ = refusal(own.client.invoke, FunctionName=name)
    assert (status, code) == (429, "TooManyRequestsException")
    assert own.invoke(f"{name}:1", AT_ONCE).payload[0] == PROVISIONED
    reserving = own.client.put_function_concurrency
    assert refusal(reserving, FunctionName=name, ReservedConcurrentExecutions=1) == (
        400,
        "InvalidParameterValueException",
        (
            " ReservedConcurrentExecutions  1 should not be lower than function's total "
            "provisioned concurrency [2]."
        ),
    )


def test_what_cannot_be_provisioned_is_refused_in_the_services_words(daemon, deploy):
    name = deploy(SOURCE, Publish=True)
    arn = daemon.client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    put_of = daemon.client.put_provisioned_concurrency_config

    def refused(qualifier, count=1):
        asked = {"Qualifier": qualifier, "ProvisionedConcurrentExecutions": count}
        return refusal(put_of, FunctionName=name, **asked)

    missing = "ResourceNotFoundException"
    assert refused("live") == (404, missing, f"Cannot find alias arn: {arn}:live")
    assert refused("10") == (404, missing, f"Function not found: {arn}:10")
    assert refused("$LATEST") == (
        400,
        "InvalidParameterValueException",
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions.",
    )
    assert refused("1", 1_001)[:2] == (400, "InvalidParameterValueException")


def test_the_account_says_what_it_may_have_and_has(start):
    own = start("--concurrency", "500")
    name = deploy(own)
    own.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=100)
    settings = own.client.get_account_settings()
    limit, usage = settings["AccountLimit"], settings["AccountUsage"]
    assert (limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]) == (500, 400)
    size = own.client.get_function(FunctionName=name)["Configuration"]["CodeSize"]
    assert usage == {"FunctionCount": 1, "TotalCodeSize": 2 * size}
