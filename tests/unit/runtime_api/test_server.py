import asyncio

import pytest

from lambdad.model import limits

pytestmark = pytest.mark.asyncio

PREFIX = "/2018-06-01/runtime"
NEXT = f"{PREFIX}/invocation/next"
RESPONSE = f"{PREFIX}/invocation/r-1/response"
ERROR = f"{PREFIX}/invocation/r-1/error"
INIT_ERROR = f"{PREFIX}/init/error"
OK = b'{"status":"OK"}\n'


# --- next -----------------------------------------------------------------------------


async def test_next_gives_the_event_byte_for_byte(ask, environment):
    environment.deliver(b'{ "a" :\t"\xc3\xbc" }')
    answer = await ask("GET", NEXT)
    assert (answer.status, answer.body) == (200, b'{ "a" :\t"\xc3\xbc" }')
    shown = {name: value for name, value in answer.headers.items() if name.startswith("Lambda")}
    assert shown == {
        "Lambda-Runtime-Aws-Request-Id": "r-1",
        "Lambda-Runtime-Deadline-Ms": "1795253403123",
        "Lambda-Runtime-Invoked-Function-Arn": (
            "arn:aws:lambda:eu-west-1:123456789012:function:fn"
        ),
        "Lambda-Runtime-Trace-Id": "Root=1-0-0;Parent=0;Sampled=0",
    }
    assert answer.headers["Content-Type"] == "application/json"


class TestManyWorkers:
    @pytest.fixture
    def environment(self, environment):
        environment.function.max_concurrency = 100
        return environment

    async def test_each_has_a_connection(self, connect):
        workers = [await connect() for _ in range(100)]
        for worker in workers:
            await worker.send("GET", "/2018-06-01/ping")
        assert [(await worker.receive()).body for worker in workers] == [b"pong"] * 100


async def test_a_client_context_comes_only_when_given(ask, environment):
    environment.deliver(client_context='{"a":1}')
    answer = await ask("GET", NEXT)
    assert answer.headers["Lambda-Runtime-Client-Context"] == '{"a":1}'
    assert "Lambda-Runtime-Cognito-Identity" not in answer.headers
    assert "Lambda-Runtime-Aws-Tenant-Id" not in answer.headers


async def test_what_else_the_invoker_said_comes_only_when_given(ask, environment):
    environment.deliver(
        content_type="text/plain", cognito_identity='{"cognitoIdentityId":"a"}', tenant_id="blue"
    )
    answer = await ask("GET", NEXT)
    assert answer.headers["Content-Type"] == "text/plain"
    assert answer.headers["Lambda-Runtime-Cognito-Identity"] == '{"cognitoIdentityId":"a"}'
    assert answer.headers["Lambda-Runtime-Aws-Tenant-Id"] == "blue"


async def test_a_large_event_says_no_more_of_who_sends_it(ask, environment):
    environment.deliver(b"x" * 100_000)
    answer = await ask("GET", NEXT)
    assert (answer.headers["Server"], len(answer.body)) == ("lambdad", 100_000)


async def test_next_waits_without_a_byte_until_there_is_an_event(client, environment):
    await client.send("GET", NEXT)
    waiting = asyncio.ensure_future(client.reader.read(1))
    await environment.heard()
    assert not waiting.done()
    environment.deliver()
    assert await waiting == b"H"


async def test_one_connection_serves_for_a_whole_life(ask, environment):
    environment.deliver()
    for _ in range(3):
        assert (await ask("GET", NEXT)).status == 200
        assert (await ask("POST", RESPONSE, b"1")).status == 202


async def test_who_waits_is_hung_up_on_when_nothing_will_come(client, environment):
    await client.send("GET", NEXT)
    await environment.heard()
    environment.event.cancel()
    assert await client.reader.read() == b""


# --- response and error ------------------------------------------------------------------


@pytest.mark.parametrize("body", [b"null", b"", b"\x00\xff not JSON"])
async def test_a_response_is_passed_on_byte_for_byte(ask, environment, body):
    answer = await ask("POST", RESPONSE, body)
    assert (answer.status, answer.body) == (202, OK)
    assert answer.headers["Content-Type"] == "application/json"
    assert environment.told == [("begin", "r-1", "InvocationResponse"), ("answer", body)]


async def test_a_response_in_chunks_is_one_response(client, environment):
    await client.send("POST", RESPONSE, Transfer_Encoding="chunked")
    client.writer.write(b"2\r\n[1\r\n2\r\n,2\r\n1\r\n]\r\n0\r\n\r\n")
    assert (await client.receive()).status == 202
    assert environment.told[-1] == ("answer", b"[1,2]")


async def test_an_error_is_passed_on_verbatim(ask, environment):
    body = b'{"errorMessage":"no","errorType":"E","more":[1]}'
    answer = await ask("POST", ERROR, body)
    assert (answer.status, answer.body) == (202, OK)
    assert environment.told == [
        ("begin", "r-1", "InvocationErrorResponse"),
        ("error", "Runtime.Unknown", body),
    ]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Runtime.ImportModuleError", "Runtime.ImportModuleError"),
        ("Function.TooSlow", "Function.TooSlow"),
        ("x Runtime.Seen y", "Runtime.Seen"),
        ("Function.lower", "Function.Unknown"),
        ("NameError", "Runtime.Unknown"),
        ("", "Runtime.Unknown"),
        ("unhandled", "Runtime.Unknown"),
        ("Runtime.A", "Runtime.Unknown"),
    ],
)
@pytest.mark.parametrize("path", [ERROR, INIT_ERROR])
async def test_of_an_error_type_only_the_known_form_is_kept(ask, environment, path, said, kept):
    await ask("POST", path, b"{}", Lambda_Runtime_Function_Error_Type=said)
    assert environment.told[-1][1] == kept


async def test_an_init_error_is_passed_on_verbatim(ask, environment):
    answer = await ask("POST", INIT_ERROR, b'{"errorType":"X"}')
    assert (answer.status, answer.body) == (202, OK)
    assert environment.told == [
        ("begin init error",),
        ("init error", "Runtime.Unknown", b'{"errorType":"X"}'),
    ]


@pytest.mark.parametrize(
    ("method", "path"), [("GET", NEXT), ("POST", RESPONSE), ("POST", ERROR), ("POST", INIT_ERROR)]
)
async def test_a_refusal_is_told_with_its_message_first(ask, environment, method, path):
    environment.refuse(403, "InvalidStateTransition", "State transition from A to B failed")
    answer = await ask(method, path, b"{}" if method == "POST" else None)
    assert answer.status == 403
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body == (
        b'{"errorMessage":"State transition from A to B failed",'
        b'"errorType":"InvalidStateTransition"}\n'
    )


async def test_a_wrong_id_is_refused_before_the_body_is_read(client, environment):
    environment.refuse(400, "InvalidRequestID", "Invalid request ID")
    await client.send("POST", RESPONSE, b"", Content_Length=1_000_000)
    answer = await client.receive()
    assert answer.status == 400
    assert answer.body == b'{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}\n'


async def test_the_id_is_what_stands_in_the_path(ask, environment):
    await ask("POST", f"{PREFIX}/invocation/any-thing.else/response", b"1")
    assert environment.told[0] == ("begin", "any-thing.else", "InvocationResponse")


# --- sizes -------------------------------------------------------------------------------


async def test_the_largest_response_is_taken(ask, environment):
    answer = await ask("POST", RESPONSE, b"x" * 6_291_556)
    assert answer.status == 202
    assert len(environment.told[-1][1]) == 6_291_556


@pytest.mark.parametrize("path", [RESPONSE, ERROR])
async def test_one_byte_more_is_too_large(ask, environment, path):
    answer = await ask("POST", path, b"x" * 6_291_557)
    assert answer.status == 413
    assert answer.body == (
        b'{"errorMessage":"Exceeded maximum allowed payload size (6291556 bytes).",'
        b'"errorType":"RequestEntityTooLarge"}\n'
    )
    assert environment.told[-1] == (
        "error",
        "Function.ResponseSizeTooLarge",
        (
            b'{"errorMessage":"Response payload size exceeded maximum allowed payload size '
            b'(6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}'
        ),
    )
    environment.deliver()
    assert (await ask("GET", NEXT)).status == 200


async def test_a_header_of_a_mebibyte_is_taken(ask, environment):
    cause = "x" * limits.MIB
    answer = await ask("POST", ERROR, b"{}", Lambda_Runtime_Function_XRay_Error_Cause=cause)
    assert answer.status == 202


async def test_a_response_that_is_cut_off_is_a_function_error(connect, environment):
    client = await connect()
    await client.send("POST", RESPONSE, b"half", Content_Length=1_000)
    await environment.heard()
    client.writer.close()
    await client.writer.wait_closed()
    await environment.heard(2)
    assert environment.told[1][:2] == ("error", "Runtime.TruncatedResponse")


async def test_an_error_that_is_cut_off_is_a_function_error(connect, environment):
    client, bystander = await connect(), await connect()
    await client.send("POST", ERROR, b"half", Content_Length=1_000)
    await environment.heard()
    client.writer.close()
    await client.writer.wait_closed()
    for _ in range(20):
        await bystander.ask("GET", "/2018-06-01/ping")
    assert environment.told[1][:2] == ("error", "Runtime.TruncatedResponse")


# --- what there is not ---------------------------------------------------------------------


async def test_ping_answers_pong(ask):
    answer = await ask("GET", "/2018-06-01/ping")
    assert (answer.status, answer.body) == (200, b"pong")


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/2018-06-01",
        "/2018-06-01/runtime",
        "/2018-06-02/runtime/invocation/next",
        f"{PREFIX}/invocation/r-1",
        f"{PREFIX}/invocation//response",
        f"{PREFIX}/invocation/a/b/response",
        f"{PREFIX}/invocation/a%2Fb/response",
        f"{PREFIX}/restore/next",
        "/../../etc/passwd",
        "/%00",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_an_unknown_path_is_not_found(ask, environment, method, path):
    answer = await ask(method, path)
    assert (answer.status, answer.body) == (404, b"404 page not found\n")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert environment.told == []


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", NEXT), ("GET", RESPONSE), ("PUT", ERROR), ("GET", INIT_ERROR), ("HEAD", NEXT)],
)
async def test_another_method_is_not_allowed(ask, environment, method, path):
    answer = await ask(method, path)
    assert (answer.status, answer.body) == (405, b"")
    assert environment.told == []


# --- hostile bytes ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        b"\x00" * 1_000,
        b"\xff\xfe\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET " + NEXT.encode() + b" HTTP/9.9\r\n\r\n",
        b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nA: " + b"x" * 2_000_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 50_000 + b"\r\n",
        b"POST " + RESPONSE.encode() + b" HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST " + RESPONSE.encode() + b" HTTP/1.1\r\nContent-Length: 9e9\r\n\r\n",
        b"POST " + RESPONSE.encode() + b" HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST "
        + RESPONSE.encode()
        + b" HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
async def test_hostile_bytes_hurt_nobody_but_their_sender(connect, environment, data):
    hostile, other = await connect(), await connect()
    hostile.writer.write(data)
    hostile.writer.write_eof()
    await asyncio.gather(hostile.reader.read(), return_exceptions=True)
    assert not any(what[0] == "answer" for what in environment.told)
    environment.deliver()
    assert (await other.ask("GET", NEXT)).status == 200
