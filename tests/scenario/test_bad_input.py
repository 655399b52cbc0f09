"""What no well-meaning client sends: the modelled error for each, and the daemon goes on."""

from __future__ import annotations

import http.client
import io
import json
import zipfile
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from scenario.package import add, zipped
from scenario.program import OWN_RUNTIME, PATIENCE, client_of

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

ECHO = "def handler(event, context): return event"
MIB = 1024 * 1024


def refusal(call, **parameters):
    """The code and status that a call is refused with."""
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    response = refused.value.response
    assert response["Error"]["Message"]
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def creation(package, **more):
    return {
        "FunctionName": "never",
        "Runtime": OWN_RUNTIME,
        "Role": "arn:aws:iam::123456789012:role/any",
        "Handler": "lambda_function.handler",
        "Code": {"ZipFile": package},
        **more,
    }


@pytest.mark.parametrize(
    "payload",
    [b"{", b"{'a': 1}", b"\xff", b"NaN", b"1 2", b"[" * 100_000],
    ids=["cut", "quotes", "utf-8", "NaN", "two", "deep"],
)
def test_a_payload_that_is_no_json_is_refused(daemon, deploy, invoke, payload):
    name = deploy(ECHO)
    told = refusal(daemon.client.invoke, FunctionName=name, Payload=payload)
    assert told == ("InvalidRequestContentException", 400)
    assert invoke(name, "well").payload == "well"


def test_a_payload_over_6_mb_is_refused(daemon, deploy, invoke):
    name = deploy(ECHO)
    payload = b'"' + b"x" * 7 * MIB + b'"'
    told = refusal(daemon.client.invoke, FunctionName=name, Payload=payload)
    assert told == ("RequestTooLargeException", 413)
    assert invoke(name, "well").payload == "well"


def test_a_payload_of_6_mb_goes_in_and_out(deploy, invoke):
    name = deploy(ECHO, Timeout=30 * PATIENCE)
    payload = b'"' + b"x" * (6 * MIB - 2) + b'"'
    answer = invoke(name, payload=payload)
    assert answer.error is None
    assert answer.body == payload


def test_an_unknown_function_is_not_found(daemon):
    client = daemon.client
    for call in (client.invoke, client.get_function, client.delete_function):
        assert refusal(call, FunctionName="unknown") == ("ResourceNotFoundException", 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("PATCH", "/2015-03-31/functions"),
        ("DELETE", "/2015-03-31/functions"),
        ("GET", "/2015-03-31/functions/f/invocations"),
        ("GET", "/"),
        ("GET", "/../../etc/passwd"),
        ("GET", "/lambdad/code/..%2f..%2flambdad.sqlite.zip"),
        ("OPTIONS", "*"),
    ],
)
def test_what_is_no_operation_is_a_modelled_refusal(daemon, method, path):
    address = urlsplit(daemon.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10 * PATIENCE)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        told = json.loads(answer.read())
        assert answer.status == 403
        assert answer.headers["x-amzn-ErrorType"].startswith("AccessDeniedException")
        assert told["Message"]
    finally:
        connection.close()


def escaping_package(state_dir):
    """Names that would be files beside the state directory, and far above it."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        add(archive, "lambda_function.py", ECHO, 0o644)
        for depth in range(1, 12):
            add(archive, "../" * depth + "lambdad-escaped", "", 0o644)
        add(archive, str(state_dir.parent / "lambdad-escaped"), "", 0o644)
    return package.getvalue()


def test_a_zip_with_names_that_lead_out_is_refused_and_nothing_is_written(start):
    daemon = start()  # Where nothing that an earlier test has deleted is about to go.
    before = sorted(daemon.state_dir.rglob("*"))
    package = escaping_package(daemon.state_dir)
    told = refusal(daemon.client.create_function, **creation(package))
    assert told == ("InvalidParameterValueException", 400)
    assert sorted(daemon.state_dir.rglob("*")) == before
    for above in daemon.state_dir.parents:
        assert not (above / "lambdad-escaped").exists()


@pytest.mark.parametrize(
    "package", [b"no zip", b"PK\x03\x04", zipped(ECHO)[:-10]], ids=["text", "signature", "cut"]
)
def test_a_zip_that_is_no_zip_is_refused(daemon, package):
    told = refusal(daemon.client.create_function, **creation(package))
    assert told == ("InvalidParameterValueException", 400)
    assert refusal(daemon.client.get_function, FunctionName="never")[1] == 404


def test_an_update_that_is_no_zip_leaves_the_function_as_it_is(daemon, deploy, invoke):
    name = deploy(ECHO)
    told = refusal(daemon.client.update_function_code, FunctionName=name, ZipFile=b"no zip")
    assert told == ("InvalidParameterValueException", 400)
    assert invoke(name, "well").payload == "well"


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "InvalidParameterValueException"),
        ({"Environment": {"Variables": {"BIG": "x" * 4_096}}}, "InvalidParameterValueException"),
        ({"Environment": {"Variables": {"A=B": "x"}}}, "ValidationException"),
        ({"MemorySize": 129_000}, "ValidationException"),
        ({"MemorySize": 127}, "ValidationException"),
        ({"Timeout": 901}, "ValidationException"),
        ({"Timeout": 0}, "ValidationException"),
        ({"FunctionName": "../../etc"}, "ValidationException"),
        ({"FunctionName": "x" * 65}, "InvalidParameterValueException"),
        ({"Handler": "with blank.handler"}, "ValidationException"),
        ({"Role": "nobody"}, "ValidationException"),
        ({"Runtime": "cobol85"}, "InvalidParameterValueException"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else value,
)
def test_settings_that_aws_refuses_are_refused(daemon, settings, code):
    client = client_of(daemon.url, parameter_validation=False)  # The service has to check.
    told = refusal(client.create_function, **creation(zipped(ECHO), **settings))
    client.close()
    assert told == (code, 400)
    assert refusal(daemon.client.get_function, FunctionName="never")[1] == 404


def test_a_name_that_is_taken_is_a_conflict(daemon, deploy):
    name = deploy(ECHO)
    told = refusal(daemon.client.create_function, **creation(zipped(ECHO), FunctionName=name))
    assert told == ("ResourceConflictException", 409)
