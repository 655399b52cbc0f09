"""Versions, reserved concurrency and events, as AWS's client has them."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from scenario.package import zipped

pytestmark = [pytest.mark.root, pytest.mark.cgroup]


def saying(word):
    return f"""
        def handler(event, context):
            return [{word!r}, context.invoked_function_arn.rpartition("function:")[2]]
    """


FAILS_AT_FIRST = """
    import os

    def handler(event, context):
        print("event", event, context.aws_request_id)
        if event == "dies":
            os._exit(1)
"""


def invoked(daemon, name, qualifier=None):
    more = {} if qualifier is None else {"Qualifier": qualifier}
    answer = daemon.client.invoke(FunctionName=name, **more)
    return answer["ExecutedVersion"], answer["Payload"].read().decode()


def test_a_version_runs_what_it_was_published_with(daemon, deploy):
    name = deploy(saying("old"))
    assert daemon.client.publish_version(FunctionName=name)["Version"] == "1"
    daemon.client.update_function_code(FunctionName=name, ZipFile=zipped(saying("new")))
    daemon.wait("function_updated_v2", name)
    assert daemon.client.publish_version(FunctionName=name)["Version"] == "2"
    assert invoked(daemon, name) == ("$LATEST", f'["new", "{name}"]')
    assert invoked(daemon, name, "1") == ("1", f'["old", "{name}:1"]')
    assert invoked(daemon, f"{name}:2") == ("2", f'["new", "{name}:2"]')
    daemon.client.delete_function(FunctionName=name, Qualifier="1")
    with pytest.raises(ClientError, match=f"Function not found: .*:{name}:1$"):
        invoked(daemon, name, "1")
    assert invoked(daemon, name, "2")[0] == "2"


def test_versions_are_there_after_a_restart(start):
    daemon = start()
    name = daemon.deploy(saying("old"), Publish=True)
    daemon.client.update_function_code(FunctionName=name, ZipFile=zipped(saying("new")))
    daemon.wait("function_updated_v2", name)
    daemon.stop()
    daemon = start()
    assert invoked(daemon, name, "1") == ("1", f'["old", "{name}:1"]')
    assert invoked(daemon, name) == ("$LATEST", f'["new", "{name}"]')


def test_what_is_reserved_is_all_there_is(daemon, deploy):
    name = deploy(saying("any"))
    assert invoked(daemon, name)[0] == "$LATEST"
    daemon.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError, match="Rate Exceeded") as caught:
        invoked(daemon, name)
    assert caught.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    daemon.client.delete_function_concurrency(FunctionName=name)
    assert invoked(daemon, name)[0] == "$LATEST"


def test_an_event_is_accepted_and_run(daemon, deploy):
    name = deploy(FAILS_AT_FIRST)
    answer = daemon.client.invoke(FunctionName=name, InvocationType="Event", Payload=b'"x"')
    assert (answer["StatusCode"], answer["Payload"].read()) == (202, b"")
    assert "ExecutedVersion" not in answer
    daemon.wait_for_log(name, f"event x {answer['ResponseMetadata']['RequestId']}")


def test_an_accepted_event_survives_sigkill(start):
    daemon = start()
    name = daemon.deploy("""
        import time

        def handler(event, context):
            print("begun")
            if event:
                time.sleep(600)
    """)  # fmt: skip
    daemon.client.invoke(FunctionName=name, InvocationType="Event", Payload=b"1")
    daemon.wait_for_log(name, "begun")
    daemon.kill()
    daemon = start()
    daemon.wait_for_log(name, "begun", times=2)
