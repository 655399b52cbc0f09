"""RAPI: the Runtime API is a strict state machine, and costs the daemon nothing."""

from __future__ import annotations

import psutil
import pytest
from scenario.program import PATIENCE

MIB = 1024 * 1024
# What the daemon may grow by when a guest has sent it hundreds of MiB.
GROWTH_BYTES_MAX = 128 * MIB  # 64 connections may each hold a head of 1 MiB.

# A runtime's side of the protocol, spoken beside the real one.
SPEAKER = """
    import http.client, json, os, socket, time
    host, _, port = os.environ["AWS_LAMBDA_RUNTIME_API"].partition(":")
    BASE = "/2018-06-01/runtime/"
    kept = []

    def call(method, path, body=None, headers={}):
        connection = http.client.HTTPConnection(host, int(port), timeout=20)
        connection.request(method, BASE + path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return [answer.status, json.loads(text).get("errorType") if text[:1] == "{" else text]

    def raw(data):
        end = socket.create_connection((host, int(port)), timeout=20)
        end.sendall(data)
        kept.append(end)
        return end

    def head(method, path, *lines):
        lines = (f"{method} {BASE}{path} HTTP/1.1", f"Host: {host}", *lines)
        return ("\\r\\n".join(lines) + "\\r\\n\\r\\n").encode()

    def status_of(end):
        answer = end.recv(4096)
        return int(answer.split()[1]) if answer else 0
"""


# --- RAPI-1: a strict state machine ---


def test_rapi_1_calls_out_of_order_are_refused(deploy, invoke):
    source = f"""{SPEAKER}
    def handler(event, context):
        own = context.aws_request_id
        return [
            call("POST", "init/error", "{{}}"),
            call("POST", "invocation/00000000-0000-4000-8000-000000000000/response", "1"),
            call("POST", f"invocation/{{own.upper()}}x/response", "1"),
            call("POST", f"invocation/..%2f{{own}}/response", "1"),
            call("POST", "invocation//response", "1"),
            call("POST", "invocation/next", "1"),
            call("GET", f"invocation/{{own}}/response"),
            call("PUT", f"invocation/{{own}}/response", "1"),
            call("GET", "../../../etc/passwd"),
        ]
    """
    answer = invoke(deploy(source))
    assert answer.error is None, answer.body
    assert answer.payload[:3] == [
        [403, "InvalidStateTransition"],
        [400, "InvalidRequestID"],
        [400, "InvalidRequestID"],
    ]
    assert all(400 <= status < 500 for status, _ in answer.payload)


def test_rapi_1_asking_again_gives_the_same_event_and_never_another(deploy, invoke):
    source = f"""{SPEAKER}
    def handler(event, context):
        return [event, call("GET", "invocation/next")]
    """
    name = deploy(source)
    for event in ("one", "two"):
        assert invoke(name, event).payload == [event, [200, f'"{event}"']]


def test_rapi_1_an_event_is_answered_once(deploy, invoke):
    """The second answer, the runtime's own and a late error change nothing."""
    source = f"""{SPEAKER}
    def handler(event, context):
        if event == "rest":
            return "rest"
        path = f"invocation/{{context.aws_request_id}}"
        first = call("POST", path + "/response", '"first"')
        second = call("POST", path + "/response", '"second"')
        third = call("POST", path + "/error", "{{}}")
        print([first[0], second[0], third[0]], flush=True)
        return "fourth"
    """
    name = deploy(source)
    answer = invoke(name, "twice")
    assert answer.payload == "first"
    assert "[202, 403, 403]" in answer.log
    assert invoke(name, "rest").payload == "rest"


def test_rapi_1_the_id_of_an_event_that_is_over_is_worth_nothing(deploy, invoke):
    source = f"""{SPEAKER}
    def handler(event, context):
        stale, kept[:] = list(kept), [context.aws_request_id]
        return [call("POST", f"invocation/{{id}}/response", '"late"')[0] for id in stale]
    """
    name = deploy(source)
    assert [invoke(name).payload for _ in range(3)] == [[], [400], [400]]


# --- RAPI-2: hostile HTTP costs the daemon nothing ---


@pytest.fixture
def unharmed(daemon, deploy, invoke):
    """After the attack the daemon has not grown, and has served a neighbour meanwhile."""
    quiet = deploy("def handler(event, context): return event")
    process = psutil.Process(daemon.process.pid)

    def attack(source, event=None, **settings):
        name = deploy(SPEAKER + source, Timeout=30 * PATIENCE, **settings)
        invoke(name, None)
        before = process.memory_info().rss
        answer = invoke(name, event)
        grown = process.memory_info().rss - before
        assert [invoke(quiet, number).payload for number in range(5)] == list(range(5))
        assert grown < GROWTH_BYTES_MAX, f"the daemon has grown by {grown / MIB:.0f} MiB"
        return answer

    return attack


def test_rapi_2_many_connections_with_bodies_that_do_not_end(unharmed):
    """Each one of them within its limits; together, far beyond what one event may cost."""
    source = """
    def handler(event, context):
        for _ in range(event or 0):
            try:
                raw(head("POST", "init/error", "Content-Length: 6000000") + bytes(5_900_000))
            except OSError:
                break
        return len(kept)
    """
    unharmed(source, 100)


def test_rapi_2_many_connections_that_ask_and_do_not_read(unharmed, daemon):
    """The same large event is asked for over and over."""
    source = """
    def handler(event, context):
        for _ in range(200 if event else 0):
            try:
                raw(20 * head("GET", "invocation/next"))
            except OSError:
                break
        return len(kept)
    """
    unharmed(source, "x" * 2 * MIB)


def test_rapi_2_many_connections_with_headers_that_do_not_end(unharmed):
    source = """
    def handler(event, context):
        for _ in range(event or 0):
            try:
                end = raw(head("POST", "init/error")[:-2])
                for number in range(8):
                    end.sendall(b"X-%d: " % number + bytes([120]) * 1_000_000 + b"\\r\\n")
            except OSError:
                continue
        return len(kept)
    """
    unharmed(source, 40)


@pytest.mark.parametrize(
    "line",
    ["'X-Large: ' + 'x' * 4_000_000", "'X: ' + 'x\\r\\nX: ' * 100_000", "'\\r\\n ' * 100_000"],
    ids=["long", "many", "folded"],
)
def test_rapi_2_huge_headers_are_refused(unharmed, line):
    source = f"""
    def handler(event, context):
        if event is None:
            return
        try:
            return status_of(raw(head("GET", "invocation/next", {line})))
        except OSError:
            return 0
    """
    answer = unharmed(source, "attack")
    assert answer.payload == 0 or 400 <= answer.payload < 500


def test_rapi_2_a_body_without_end_is_cut_off(unharmed):
    source = """
    def handler(event, context):
        if event is None:
            return
        path = f"invocation/{context.aws_request_id}/response"
        end = raw(head("POST", path, "Transfer-Encoding: chunked"))
        sent, chunk = 0, b"100000\\r\\n" + bytes(1 << 20) + b"\\r\\n"
        try:
            while sent < 1 << 30:
                end.sendall(chunk)
                sent += 1 << 20
        except OSError:
            pass
        print("sent", sent, flush=True)
        os._exit(0)
    """
    answer = unharmed(source, "attack")
    assert answer.payload["errorType"] == "Function.ResponseSizeTooLarge"
    (sent,) = [int(line.split()[1]) for line in answer.lines if line.startswith("sent")]
    assert sent < 1 << 30


def test_rapi_2_a_slow_body_costs_its_own_function_and_nobody_else(deploy, invoke):
    """The neighbour is served while the body dribbles; then the time is up."""
    source = f"""{SPEAKER}
    def handler(event, context):
        path = f"invocation/{{context.aws_request_id}}/response"
        raw(head("POST", path, "Content-Length: 1000") + b"1")
        time.sleep(1_000)
    """
    slow, quiet = (
        deploy(source, Timeout=min(PATIENCE, 5)),
        deploy("def handler(event, context): return 1"),
    )
    assert invoke(slow).payload["errorType"] == "Sandbox.Timedout"
    assert invoke(quiet).payload == 1


@pytest.mark.parametrize(
    "data",
    [
        b"\0" * 100,
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /2018-06-01/ping HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
    ids=["zeros", "tls", "cut", "negative", "http/2", "chunk"],
)
def test_rapi_2_what_is_no_http_is_hung_up_on_and_not_logged(daemon, deploy, invoke, data):
    source = f"""{SPEAKER}
    def handler(event, context):
        try:
            return status_of(raw({data!r}))
        except OSError:
            return 0
    """
    said = len(daemon.said())
    answer = invoke(deploy(source))
    assert answer.payload == 0 or 400 <= answer.payload < 500
    assert daemon.said()[said:] == ""
