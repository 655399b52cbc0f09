"""The doors of the real program: crowds outside, hostile guests inside, callers who sign."""

from __future__ import annotations

import contextlib
import http.client
import resource
import socket
import subprocess
import urllib.request
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from scenario.package import zipped
from scenario.program import OWN_RUNTIME, PATIENCE

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

ECHO = "def handler(event, context): return event"
IDLE, SLOW = 1_000, 200
# What a client of one byte a second has sent until now.
PARTS = [b"P", b"POST / HT", b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n1"]


@pytest.fixture
def many_files():
    """As many files as this process may ever open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 2 * (IDLE + SLOW):
        pytest.skip(f"needs {2 * (IDLE + SLOW)} open files, and {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_idle_and_slow_clients_hinder_nobody(daemon, deploy, invoke, many_files):
    name = deploy(ECHO)
    address = urlsplit(daemon.url)
    with contextlib.ExitStack() as crowd:
        for number in range(IDLE + SLOW):
            client = socket.create_connection((address.hostname, address.port), 10 * PATIENCE)
            crowd.enter_context(client)
            if number >= IDLE:
                client.sendall(PARTS[number % len(PARTS)])
        for number in range(50):
            assert invoke(name, number).payload == number


@pytest.mark.parametrize(
    ("header", "value"),
    [("Origin", "https://elsewhere.example"), ("Host", "rebound.example")],
)
def test_a_page_in_a_browser_cannot_invoke(daemon, deploy, header, value):
    name = deploy(ECHO)
    address = urlsplit(daemon.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10 * PATIENCE)
    with contextlib.closing(connection):
        path = f"/2015-03-31/functions/{name}/invocations"
        connection.request("POST", path, b"{}", {header: value})
        answer = connection.getresponse()
        assert answer.status == 403
        assert answer.headers["x-amzn-ErrorType"] == "AccessDeniedException"
        assert answer.headers["Server"] == "lambdad"
        assert answer.headers["Access-Control-Allow-Origin"] is None
    assert "START" not in daemon.log_of(name)


def test_curl_can_invoke_without_more(daemon, deploy):
    name = deploy(ECHO)
    url = f"{daemon.url}/2015-03-31/functions/{name}/invocations"
    try:
        ran = subprocess.run(
            ["curl", "-sS", "-d", '{"a": 1}', url], capture_output=True, check=True
        )
    except FileNotFoundError:
        pytest.skip("needs curl")
    assert ran.stdout == b'{"a": 1}'


# --- from inside -----------------------------------------------------------------------------


def shout(crowd):
    """Everything a guest may say to its Runtime API that is no HTTP, and too much of it."""
    import os
    import socket

    host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].partition(":")
    head = b"POST /2018-06-01/runtime/invocation/x/response HTTP/1.1\r\nHost: x\r\n"
    rubbish = [
        head + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        head + b"A: " + b"a" * 2_000_000 + b"\r\n\r\n",
        head + b"A: b\r\n" * 100_000,
        b"\x00" * 1_000_000,
    ]
    answers = []
    for sent in rubbish:
        with socket.create_connection((host, int(port)), 10) as one:
            try:
                one.sendall(sent)
                answers.append(one.recv(12).decode())
            except ConnectionError:
                answers.append("closed")
    standing = [socket.create_connection((host, int(port)), 10) for _ in range(crowd)]
    for one in standing:
        one.close()
    return answers


def test_a_guest_that_shouts_at_its_runtime_api_is_refused_and_goes_on(inside, daemon, deploy):
    answers = inside(shout, 200)
    assert set(answers) <= {"HTTP/1.0 400", "HTTP/1.0 431", "closed"}
    assert inside(shout, 1), "it is still served"
    assert daemon.invoke(deploy(ECHO), 1).payload == 1, "and so is everybody else"


# --- callers who sign ------------------------------------------------------------------------


def client_with(url, access_key_id, secret, token=None):
    once = Config(retries={"total_max_attempts": 1})
    return boto3.client(
        "lambda", endpoint_url=url, region_name="us-east-1", config=once,
        aws_access_key_id=access_key_id, aws_secret_access_key=secret, aws_session_token=token,
    )  # fmt: skip


def test_where_callers_sign_the_key_is_made_and_opens_the_door(start, monkeypatch):
    program = start("--auth", "sigv4", "--host", "0.0.0.0")
    path = program.state_dir / "credentials"
    assert str(path) in program.said()
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(path))
    keys = boto3.Session().get_credentials()
    assert keys.secret_key not in program.said()
    url = program.url.replace("0.0.0.0", "127.0.0.1")
    with contextlib.closing(client_with(url, keys.access_key, keys.secret_key)) as client:
        client.create_function(
            FunctionName="signed", Runtime=OWN_RUNTIME, Handler="lambda_function.handler",
            Role="arn:aws:iam::123456789012:role/any", Code={"ZipFile": zipped(ECHO)},
        )  # fmt: skip
        waiter = client.get_waiter("function_active_v2")
        waiter.wait(FunctionName="signed", WaiterConfig={"Delay": 0.1, "MaxAttempts": 300})
        arn = "arn:aws:lambda:us-east-1:123456789012:function:signed"
        assert client.invoke(FunctionName=arn, Payload=b"[1]")["Payload"].read() == b"[1]"
        link = client.get_function(FunctionName="signed")["Code"]["Location"]
    with urllib.request.urlopen(link) as followed:
        assert followed.read(2) == b"PK"
    strangers = [
        ("any", "any", None),
        (keys.access_key, "any", None),
        (keys.access_key, keys.secret_key, "token"),
    ]
    for stranger in strangers:
        with contextlib.closing(client_with(url, *stranger)) as client:
            with pytest.raises(ClientError) as refused:
                client.invoke(FunctionName="signed")
            assert refused.value.response["Error"]["Code"] == "InvalidSignatureException"
            assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
