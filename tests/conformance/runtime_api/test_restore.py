"""Snapshots: checks 31 to 34."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from conformance.runtime_api.players import RUNTIME

NEXT, ERROR = RUNTIME + "restore/next", RUNTIME + "restore/error"


@pytest.fixture
def suspended(stage):
    """The runtime of a version that is restored from a snapshot, and what its invoker gets."""
    show = stage(SnapStart={"ApplyOn": "PublishedVersions"})
    version = show.client.publish_version(FunctionName=show.name)["Version"]
    show.wait_until_active(version)
    invoked = show.invoke(Qualifier=version)
    return show.runtime(), invoked


def test_031_an_on_demand_function_is_not_restored(stage):
    show = stage()
    show.invoke()
    runtime = show.runtime()
    for method, path in (("GET", NEXT), ("POST", ERROR), ("GET", "/2021-04-23/credentials")):
        assert runtime.call(method, path).status == 404


def test_032_restore_next_is_answered_when_the_snapshot_is_restored(suspended):
    runtime, invoked = suspended
    restored = runtime.call("GET", NEXT)
    assert (restored.status, restored.body) == (200, b"")
    event = runtime.next()
    assert event.status == 200
    assert runtime.respond(event, b'"restored"').status == 202
    runtime.poll()
    assert invoked.result().body == b'"restored"'


def test_033_an_error_of_restore_fails_the_invoke(suspended):
    runtime, invoked = suspended
    assert runtime.call("GET", NEXT).status == 200
    headers = {"Lambda-Runtime-Function-Error-Type": "Runtime.AfterRestoreError"}
    body = b'{"errorMessage":"a hook","errorType":"Runtime.AfterRestoreError"}'
    assert runtime.call("POST", ERROR, headers, body).status == 202
    with pytest.raises(ClientError) as caught:
        invoked.result()
    assert caught.value.response["Error"]["Code"] == "SnapStartException"
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    runtime.gone.result()


def test_034_credentials_are_had_with_the_token(suspended):
    runtime, _ = suspended
    environ = runtime.ask("facts")["environ"]
    assert environ["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start"
    assert "AWS_SECRET_ACCESS_KEY" not in environ
    uri = environ["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
    origin = "http://" + environ["AWS_LAMBDA_RUNTIME_API"]
    assert uri == origin + "/2021-04-23/credentials"
    path = uri.removeprefix(origin)
    token = environ["AWS_CONTAINER_AUTHORIZATION_TOKEN"]
    had = runtime.call("GET", path, {"Authorization": token})
    assert had.status == 200
    assert set(had.json) == {"AccessKeyId", "SecretAccessKey", "Token", "Expiration"}
    refused = runtime.call("GET", path, {"Authorization": "another"})
    assert refused.status == 404
    assert refused.body == b"cannot get credentials for the provided token"
