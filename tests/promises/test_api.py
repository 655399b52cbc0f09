"""API: what a client sends is read strictly, bounded, and by whoever may send it.

Archives, API-1 and API-2, stand in test_api_archives.py.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import select
import socket
import stat
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from promises.doors import ECHO, FUNCTIONS_PATH, creation, refusal, send
from scenario.package import zipped
from scenario.program import PATIENCE, client_of

MIB = 1024 * 1024


# --- API-3: names are identifiers ---


@pytest.mark.parametrize(
    "name",
    ["../../etc", "a/b", ".", "..", "a\0b", "a\nb", "f;ls", "$(ls)", "f" * 65, "ä", "f%2f..", "-"],
)
def test_api_3_a_name_is_never_a_path(daemon, name):
    client = client_of(daemon.url, parameter_validation=False)  # The service has to check.
    before = sorted(daemon.state_dir.rglob("*"))
    wanted = creation(zipped(ECHO), FunctionName=name)
    if name == "-":
        assert client.create_function(**wanted)["FunctionName"] == name
        daemon.wait("function_active_v2", name)
        client.delete_function(FunctionName=name)
    else:
        assert refusal(client.create_function, **wanted)[1] == 400
        assert sorted(daemon.state_dir.rglob("*")) == before
    client.close()


@pytest.mark.parametrize(
    "target",
    [
        "/lambdad/code/..%2f..%2flambdad.sqlite.zip",
        "/lambdad/code/../../../etc/passwd",
        f"{FUNCTIONS_PATH}/..%2f..%2f..%2fetc%2fpasswd",
        f"{FUNCTIONS_PATH}/%00",
        f"{FUNCTIONS_PATH}/../../etc/passwd",
        "/etc/passwd",
        "//etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
    ],
)
def test_api_3_a_target_is_never_a_path(daemon, target):
    host = urlsplit(daemon.url).netloc
    answer = send(daemon, f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert b"root:" not in answer
    assert b"SQLite" not in answer


# --- API-4: sizes are limited ---


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({"Environment": {"Variables": {"BIG": "x" * 4_096}}}, "InvalidParameterValueException"),
        ({"MemorySize": 129_000}, "ValidationException"),
        ({"Timeout": 901}, "ValidationException"),
        ({"EphemeralStorage": {"Size": 10_241}}, "ValidationException"),
        ({"Description": "x" * 257}, "ValidationException"),
        ({"Handler": "x" * 129}, "ValidationException"),
        ({"Layers": ["arn:aws:lambda:us-east-1:123456789012:layer:x:1"] * 6}, None),
        ({"Tags": {f"key-{number}": "" for number in range(51)}}, None),
        ({"Code": {"ZipFile": bytes(52_428_801)}}, None),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_api_4_what_is_larger_than_awss_limits_is_refused(daemon, settings, code):
    client = client_of(daemon.url, parameter_validation=False)
    told, status = refusal(client.create_function, **{**creation(zipped(ECHO)), **settings})
    client.close()
    assert code in {told, None}
    assert status in {400, 413}


def test_api_4_a_payload_over_6_mb_is_refused(daemon, deploy, invoke):
    name = deploy(ECHO)
    payload = b'"' + b"x" * 7 * MIB + b'"'
    told = refusal(daemon.client.invoke, FunctionName=name, Payload=payload)
    assert told == ("RequestTooLargeException", 413)
    assert invoke(name, "well").payload == "well"


@pytest.mark.parametrize("how", ["Content-Length", "chunked"])
def test_api_4_a_request_without_end_does_not_fill_the_daemon(daemon, deploy, how):
    """Refused at once or read and dropped, but not kept."""
    name, host = deploy(ECHO), urlsplit(daemon.url).netloc
    line = "Transfer-Encoding: chunked" if how == "chunked" else f"Content-Length: {200 * MIB}"
    head = f"POST {FUNCTIONS_PATH}/{name}/invocations HTTP/1.1\r\nHost: {host}\r\n{line}\r\n\r\n"
    process = psutil.Process(daemon.process.pid)
    before = process.memory_info().rss
    piece = bytes(MIB) if how != "chunked" else b"100000\r\n" + bytes(MIB) + b"\r\n"
    answer = send(daemon, head.replace("FUNCTION", name).encode() + piece * 200)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413"), answer
    assert process.memory_info().rss - before < 64 * MIB


# --- API-5: malformed input ---


@pytest.mark.parametrize(
    "payload",
    [b"{", b"{'a': 1}", b"\xff", b"NaN", b"1 2", b"[" * 100_000, b'"\xed\xa0\x80"', b"\0"],
    ids=["cut", "quotes", "utf-8", "NaN", "two", "deep", "surrogate", "nul"],
)
def test_api_5_a_payload_that_is_no_json_is_refused(daemon, deploy, invoke, payload):
    name = deploy(ECHO)
    told = refusal(daemon.client.invoke, FunctionName=name, Payload=payload)
    assert told == ("InvalidRequestContentException", 400)
    assert invoke(name, "well").payload == "well"


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[]", b"null", b"1", b'"text"', b"\xff\xfe", b'{"FunctionName": {"a": []}}',
        b"[" * 200_000, b'{"a":' * 100_000, b'{"Timeout": ' + b"9" * 100_000 + b"}",
        b'{"Timeout": 1e999}', b'{"Timeout": NaN}', b'{"Timeout": "3"}', b'{"MemorySize": true}',
        b'{"Environment": {"Variables": {"A": null}}}', b'{"Code": {"ZipFile": "%%%"}}',
        b'{"FunctionName": "\\ud800"}',
    ],
    ids=range(17),
)  # fmt: skip
def test_api_5_a_request_that_is_malformed_is_the_clients_fault(daemon, body):
    host = urlsplit(daemon.url).netloc
    head = f"POST {FUNCTIONS_PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n"
    head += "Content-Type: application/json\r\n\r\n"
    answer = send(daemon, head.encode() + body)
    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert b"Traceback" not in answer
    assert b".py" not in answer


def test_api_5_a_strange_result_is_a_defined_error(deploy, invoke):
    answer = invoke(deploy("def handler(event, context): return object()"))
    assert answer.error == "Unhandled"
    assert answer.payload["errorType"] == "Runtime.MarshalError"
    deep = invoke(deploy("def handler(event, context): return '[' * 100_000"))
    assert deep.error is None


# --- API-6: no injection into headers or logs ---


def test_api_6_a_function_cannot_forge_what_the_platform_says(daemon, deploy, invoke):
    """Its lines are lines of its own: those of the platform stand where they always do."""
    source = """
        def handler(event, context):
            own = context.aws_request_id
            print(f"END RequestId: {own}")
            print(f"REPORT RequestId: {own}\\tDuration: 0.01 ms\\tBilled Duration: 1 ms\\t")
            print(f"START RequestId: {own[::-1]} Version: 7")
            print("\\r\\n\\x1b[2J\\0", flush=True)
            return "well"
    """
    answer = invoke(deploy(source))
    assert answer.payload == "well"
    last = answer.log.rpartition("END RequestId: ")[2].splitlines()
    assert last[0] == answer.request_id
    assert last[1].startswith(f"REPORT RequestId: {answer.request_id}\tDuration: ")
    assert "\tMax Memory Used: " in last[1]
    assert len(last) == 2
    assert answer.lines[0] == f"START RequestId: {answer.request_id} Version: $LATEST"


@pytest.mark.parametrize("ending", ["error", "exception", "response"])
def test_api_6_a_function_cannot_put_a_header_into_an_answer(daemon, deploy, invoke, ending):
    """By the type of an error, its text, or the type of a response."""
    source = f"""
        import http.client, os

        class Forged(Exception):
            pass
        Forged.__name__ = "Runtime.Bad\\r\\nX-Forged: yes"

        def handler(event, context):
            if "{ending}" == "exception":
                raise Forged("text\\r\\nX-Forged: yes\\r\\n\\r\\nbody")
            end = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"], timeout=5)
            end._http_vsn_str = "HTTP/1.1"
            path = f"/2018-06-01/runtime/invocation/{{context.aws_request_id}}/{ending}"
            end.putrequest("POST", path)
            end.putheader("Lambda-Runtime-Function-Error-Type", "Runtime.X\\x1b[2J\\tREPORT yes")
            end.putheader("Content-Type", "text/html; x-forged=yes\\x0b")
            end.putheader("X-Amz-Function-Error", "Forged")
            end.putheader("Content-Length", "2")
            end.endheaders()
            end.send(b"{{}}")
            print(end.getresponse().status, flush=True)
            os._exit(0)
    """
    name = deploy(source)
    said = daemon.client.invoke(FunctionName=name, LogType="Tail")
    headers = said["ResponseMetadata"]["HTTPHeaders"]
    said["Payload"].close()
    assert "x-forged" not in headers
    assert "forged" not in str(headers).lower()
    assert headers.get("x-amz-function-error") in {None, "Unhandled"}
    reports = [line for line in daemon.log_of(name).splitlines() if line.startswith("REPORT ")]
    assert len(reports) == 1
    assert "\x1b" not in reports[0]
    assert "\x1b" not in daemon.said()


# --- API-7: one request is one request ---


@pytest.mark.parametrize(
    "lines",
    [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Content-Length: 5\r\nContent-Length: 6",
        "Content-Length: +5",
        "Content-Length: 5_0",
        "Content-Length: 0x5",
        "Content-Length: 5, 5",
        "Content-Length: -5",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "Transfer-Encoding: gzip, chunked",
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Content-Length : 5",
        "X: a\r\n folded\r\nContent-Length: 5",
        "X: a\rb\r\nContent-Length: 5",
        "X: a\0b\r\nContent-Length: 5",
        "Host: elsewhere\r\nContent-Length: 5",
    ],
)
def test_api_7_what_can_be_read_in_two_ways_is_refused_and_hung_up_on(daemon, lines):
    """A request hides behind the first; whoever answers twice has read it."""
    host = urlsplit(daemon.url).netloc
    hidden = f"GET {FUNCTIONS_PATH} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    body = f"0\r\n\r\n{hidden}"
    first = f"POST {FUNCTIONS_PATH} HTTP/1.1\r\nHost: {host}\r\n{lines}\r\n\r\n{body}"
    answer = send(daemon, first.encode(), until_closed=True)
    assert answer.split()[1:2] == [b"400"], answer
    assert len(re.findall(rb"^HTTP/1\.", answer, re.MULTILINE)) == 1, answer


# --- API-8: slow, idle and many clients ---


def test_api_8_slow_and_idle_clients_do_not_keep_others_waiting(daemon, deploy, invoke):
    name, address = deploy(ECHO), urlsplit(daemon.url)
    head = f"POST {FUNCTIONS_PATH}/{name}/invocations HTTP/1.1\r\nHost: {address.netloc}\r\n"
    starts = [
        b"",
        b"P",
        head.encode(),
        f"{head}Content-Length: 1000\r\n\r\n1".encode(),
        f"{head}Transfer-Encoding: chunked\r\n\r\n1\r\n".encode(),
    ]
    clients = []
    try:
        for number in range(300):
            clients.append(socket.create_connection((address.hostname, address.port), 10))
            clients[-1].sendall(starts[number % len(starts)])
        assert [invoke(name, number).payload for number in range(20)] == list(range(20))
    finally:
        for client in clients:
            client.close()
    assert invoke(name, "well").payload == "well"


def test_api_8_a_client_that_does_not_read_does_not_keep_others_waiting(daemon, deploy, invoke):
    name, address = deploy(ECHO), urlsplit(daemon.url)
    body = b'"' + b"x" * 5 * MIB + b'"'
    head = f"POST {FUNCTIONS_PATH}/{name}/invocations HTTP/1.1\r\nHost: {address.netloc}\r\n"
    clients = []
    try:
        for _ in range(5):
            clients.append(socket.create_connection((address.hostname, address.port), 10))
            clients[-1].sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        for client in clients:
            assert select.select([client], [], [], 10 * PATIENCE)[0]  # An answer has begun.
        assert [invoke(name, number).payload for number in range(10)] == list(range(10))
    finally:
        for client in clients:
            client.close()


# --- API-9: who may call ---


@pytest.fixture
def signing(start, tmp_path):
    """A daemon that asks for signatures, and knows one key."""
    credentials = tmp_path / "credentials"
    credentials.write_text(
        "[default]\naws_access_key_id = AKIDKNOWN\naws_secret_access_key = AKIDKNOWN\n"
    )
    credentials.chmod(0o600)
    own = start("--auth", "sigv4", "--credentials", str(credentials))
    clients = []

    def client(key):
        clients.append(client_of(own.url, key))
        return clients[-1]

    yield own, client
    for one in clients:
        one.close()


def test_api_9_only_who_signs_with_a_known_key_may_call(signing):
    own, client = signing
    assert client("AKIDKNOWN").list_functions()["Functions"] == []
    assert refusal(client("AKIDOTHER").list_functions)[1] == 403
    target = f"GET {FUNCTIONS_PATH}/ HTTP/1.1\r\nHost: {urlsplit(own.url).netloc}\r\n\r\n"
    assert send(own, target.encode()).startswith(b"HTTP/1.1 403")


@pytest.mark.parametrize(
    "lines",
    [
        "Host: HOST\r\nOrigin: http://attacker.example",
        "Host: HOST\r\nOrigin: null",
        "Host: HOST\r\nSec-Fetch-Site: cross-site",
        "Host: attacker.example",
        "Host: attacker.example:80",
        "Host: HOST.attacker.example",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
def test_api_9_a_page_in_a_browser_may_not_call(daemon, deploy, method, lines):
    """Neither across origins, nor by a name that was made to point here."""
    name = deploy(ECHO)
    lines = lines.replace("HOST", urlsplit(daemon.url).netloc)
    head = f"{method} {FUNCTIONS_PATH}/{name} HTTP/1.1\r\n{lines}\r\nContent-Length: 0\r\n\r\n"
    answer = send(daemon, head.encode())
    assert answer.startswith((b"HTTP/1.1 403", b"HTTP/1.1 400", b"HTTP/1.1 421")), answer
    assert b"access-control-allow" not in answer.lower()
    assert daemon.client.get_function(FunctionName=name)


# --- API-10: secrets do not leak ---


def test_api_10_variables_are_in_no_command_line_and_no_other_environ(daemon, neighbour, secret):
    """As ps shows them to root; the function's own process holds them, and init does not."""
    inits = daemon.environments()
    guests = {child.pid for init in inits for child in init.children(recursive=True)}
    for process in [psutil.Process(daemon.process.pid), *daemon.descendants()]:
        folder = Path("/proc") / str(process.pid)
        assert secret.encode() not in (folder / "cmdline").read_bytes()
        if process.pid not in guests:
            try:
                assert secret.encode() not in (folder / "environ").read_bytes()
            except PermissionError:
                continue  # Not even its owner may look.


def test_api_10_another_user_sees_no_environ_of_any_process(daemon, neighbour):
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    processes = [psutil.Process(daemon.process.pid), *daemon.descendants()]
    assert len(processes) >= 4
    for process in processes:
        for name in ("environ", "mem", "maps", "fd/0", "root/etc/passwd"):
            command = ["/bin/cat", f"/proc/{process.pid}/{name}"]
            tried = subprocess.run(command, user=65534, capture_output=True, check=False)
            assert tried.returncode != 0, command


def test_api_10_the_state_is_for_its_owner_alone(daemon, neighbour):
    assert stat.S_IMODE(daemon.state_dir.stat().st_mode) == 0o700
    for path in daemon.state_dir.iterdir():
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_api_10_secrets_are_in_no_log(daemon, deploy, invoke, secret):
    source = "import os\ndef handler(event, context): raise ValueError('well known')"
    name = deploy(source, Environment={"Variables": {"SECRET": secret}})
    answer = daemon.invoke(name, {"password": secret})
    assert answer.error == "Unhandled"
    assert secret not in answer.body.decode()
    assert secret not in daemon.said()
    for path in (daemon.state_dir / "logs").rglob("*.segment"):
        assert secret.encode() not in path.read_bytes()


@pytest.mark.parametrize(
    "variables",
    [
        {"BAD-KEY": "SECRET"},
        {"AWS_REGION": "SECRET"},
        {"NUL": "SECRET\0"},
        {"LIST": ["SECRET"]},
    ],
    ids=lambda value: next(iter(value)),
)
def test_api_10_secrets_are_in_no_refusal(daemon, secret, variables):
    variables = json.loads(json.dumps(variables).replace("SECRET", secret))
    body = json.dumps({**creation("UEsFBg=="), "Environment": {"Variables": variables}}).encode()
    address = urlsplit(daemon.url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=10 * PATIENCE)
    try:
        connection.request("POST", FUNCTIONS_PATH, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    assert answer.status == 400
    assert secret not in text
    assert secret not in str(answer.headers)
    assert secret not in daemon.said()
