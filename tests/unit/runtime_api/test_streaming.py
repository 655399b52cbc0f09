"""Responses that stream, errors that come late, and trailers however they arrive."""

import asyncio
import base64
import contextlib

import pytest

from lambdad.http_door import Stage
from lambdad.model import limits
from lambdad.runtime_api import runtime

pytestmark = pytest.mark.asyncio

PREFIX = "/2018-06-01/runtime"
NEXT = f"{PREFIX}/invocation/next"
RESPONSE = f"{PREFIX}/invocation/r-1/response"
OK = b'{"status":"OK"}\n'
ERROR_BODY = b'{"errorMessage":"half way","errorType":"E"}'
SECTION = (
    b"Lambda-Runtime-Function-Error-Type: Function.Late\r\n"
    b"Lambda-Runtime-Function-Error-Body: " + base64.b64encode(ERROR_BODY) + b"\r\n"
)
ANNOUNCED = "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"
STREAMING = {
    "Lambda_Runtime_Function_Response_Mode": "streaming",
    "Transfer_Encoding": "chunked",
    "Content_Type": "text/x-plain",
    "Trailer": ANNOUNCED,
}


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


async def all_of(stream):
    return b"".join([piece async for piece in stream])


# --- as it comes ------------------------------------------------------------------------


async def test_each_chunk_is_there_before_the_next_is_sent(client, environment):
    opened = environment.streams()
    await client.send("POST", RESPONSE, **STREAMING)
    stream = await opened
    assert stream.content_type == "text/x-plain"
    for piece in (b"one", b"two", b"\x00" * 8):
        client.writer.write(chunk(piece))
        assert await anext(stream) == piece
    client.writer.write(b"0\r\n\r\n")
    answer = await client.receive()
    assert (answer.status, answer.body) == (202, OK)
    assert await anext(stream, None) is None
    assert environment.told == [
        ("begin", "r-1", "InvocationResponse"),
        ("stream", "text/x-plain"),
        ("end", "", b""),
    ]


async def test_a_stream_may_have_a_length(client, environment):
    opened = environment.streams()
    mode = {"Lambda_Runtime_Function_Response_Mode": "streaming"}
    await client.send("POST", RESPONSE, b"12345", **mode)
    assert await all_of(await opened) == b"12345"
    assert (await client.receive()).status == 202


async def test_a_runtime_that_does_not_stream_answers_a_caller_that_would(ask, environment):
    environment.streams()
    assert (await ask("POST", RESPONSE, b"1")).status == 202
    assert environment.told[-1] == ("answer", b"1")


async def test_a_caller_that_does_not_stream_gets_it_in_one_piece(client, environment):
    await client.send("POST", RESPONSE, **STREAMING)
    client.writer.write(chunk(b"one") + chunk(b"two") + b"0\r\n\r\n")
    assert (await client.receive()).status == 202
    assert environment.told[-1] == ("answer", b"onetwo")


async def test_a_stream_that_is_cut_off_ends_with_an_error(client, environment):
    opened = environment.streams()
    await client.send("POST", RESPONSE, **STREAMING)
    client.writer.write(chunk(b"half"))
    stream = await opened
    assert await anext(stream) == b"half"
    client.writer.close()
    assert await anext(stream, None) is None
    assert stream.error_type == "Runtime.TruncatedResponse"


async def test_a_runtime_is_answered_though_nobody_listens(client, environment):
    opened = environment.streams()
    await client.send("POST", RESPONSE, **STREAMING)
    (await opened).abandon()
    client.writer.write(chunk(b"x" * 1_000_000) + b"0\r\n\r\n")
    assert (await client.receive()).status == 202


async def test_a_stream_is_cut_where_it_becomes_too_large(client, environment, monkeypatch):
    monkeypatch.setattr(runtime.limits, "streamed_response_bytes_max", 10)
    opened = environment.streams()
    await client.send("POST", RESPONSE, **STREAMING)
    client.writer.write(chunk(b"123456"))
    stream = await opened
    assert await anext(stream) == b"123456"
    client.writer.write(chunk(b"7890abc") + chunk(b"more") + b"0\r\n\r\n")
    assert await all_of(stream) == b"7890"
    answer = await client.receive()
    assert answer.status == 413
    assert b"Exceeded maximum allowed payload size (10 bytes)." in answer.body
    assert stream.error_type == "Function.ResponseSizeTooLarge"


async def test_a_stream_may_be_as_large_as_that(client, environment, monkeypatch):
    monkeypatch.setattr(runtime.limits, "streamed_response_bytes_max", 10)
    opened = environment.streams()
    await client.send("POST", RESPONSE, **STREAMING)
    client.writer.write(chunk(b"1234567890") + b"0\r\n\r\n")
    assert await all_of(await opened) == b"1234567890"
    assert (await client.receive()).status == 202


async def test_a_stream_may_take_all_the_time_there_is(client, connect, environment, sweep):
    opened = environment.streams()
    await client.send("POST", RESPONSE, **STREAMING)
    await opened
    hasty = await connect()
    await hasty.send("POST", f"{PREFIX}/init/error", Content_Length=10)
    await environment.heard(3)
    assert [one.stage() for one in sweep._open] == [Stage.BODY, Stage.BODY]
    now_s = asyncio.get_running_loop().time()
    sweep.look(now_s)
    sweep.look(now_s + 10_000)
    assert await hasty.reader.read() == b""
    client.writer.write(b"0\r\n\r\n")
    assert (await client.receive()).status == 202


# --- response modes ---------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["foo", "Streaming", "buffered"])
async def test_another_mode_is_refused_before_the_body_is_read(client, environment, mode):
    await client.send(
        "POST", RESPONSE, Content_Length=1_000_000, Lambda_Runtime_Function_Response_Mode=mode
    )
    answer = await client.receive()
    assert answer.status == 400
    assert answer.body == (
        b'{"errorMessage":"Invalid function response mode",'
        b'"errorType":"InvalidFunctionResponseMode"}\n'
    )
    assert environment.told[-1] == ("error", "Runtime.InvalidResponseModeHeader", b"")


# --- errors that come late --------------------------------------------------------------


async def test_an_error_in_the_trailers_is_told_after_the_payload(client, environment):
    opened = environment.streams()
    await client.send("POST", RESPONSE, **STREAMING)
    client.writer.write(chunk(b"half") + b"0\r\n" + SECTION + b"\r\n")
    assert await all_of(await opened) == b"half"
    assert (await client.receive()).status == 202
    assert environment.told[-1] == ("end", "Function.Late", ERROR_BODY)


async def test_a_caller_that_does_not_stream_gets_only_the_error(client, environment):
    await client.send("POST", RESPONSE, **STREAMING)
    client.writer.write(chunk(b"half") + b"0\r\n" + SECTION + b"\r\n")
    assert (await client.receive()).status == 202
    assert environment.told[-1] == ("error", "Function.Late", ERROR_BODY)


@pytest.mark.parametrize(
    ("section", "error"),
    [
        (b"lambda-runtime-function-error-type: E\r\n", ("E", b"")),
        (b"Lambda-Runtime-Function-Error-Body: aGk=\r\n", ("Runtime.Unknown", b"hi")),
        (b"Lambda-Runtime-Function-Error-Body: not base64\r\n", ("Runtime.Unknown", b"not base64")),
        (b"Other: x\r\n", ("", b"")),
    ],
)
async def test_either_trailer_tells_of_an_error(client, environment, section, error):
    opened = environment.streams()
    await client.send("POST", RESPONSE, **STREAMING)
    client.writer.write(b"0\r\n" + section + b"\r\n")
    await all_of(await opened)
    assert (await client.receive()).status == 202
    assert environment.told[-1] == ("end", *error)


async def test_trailers_that_were_not_announced_say_nothing(client, environment):
    announced = {name: value for name, value in STREAMING.items() if name != "Trailer"}
    await client.send("POST", RESPONSE, **announced)
    client.writer.write(chunk(b"all") + b"0\r\n" + SECTION + b"\r\n")
    assert (await client.receive()).status == 202
    assert environment.told[-1] == ("answer", b"all")


# --- however they arrive ------------------------------------------------------------------


def head(**more):
    lines = [f"POST {RESPONSE} HTTP/1.1", "Host: 127.0.0.1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in {**STREAMING, **more}.items()]
    return "\r\n".join([*lines, "", ""]).encode()


FOLLOWING = f"GET {NEXT} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()


@pytest.mark.parametrize("size", [1, 5, 64, 100_000])
@pytest.mark.parametrize("following", [b"", FOLLOWING], ids=["alone", "followed"])
async def test_a_request_may_be_torn_anywhere(client, connect, environment, size, following):
    environment.deliver()
    bystander = await connect()
    data = head() + chunk(b"half\r\n\r\n") + b"0\r\n" + SECTION + b"\r\n" + following
    for at in range(0, len(data), size):
        client.writer.write(data[at : at + size])
        if size < len(data):
            await bystander.ask("GET", "/2018-06-01/ping")  # The loop has seen it by now.
    assert (await client.receive()).status == 202
    assert environment.told[1] == ("error", "Function.Late", ERROR_BODY)
    if following:
        assert (await client.receive()).status == 200


async def test_an_error_may_be_as_large_as_a_header(client, environment):
    body = b"x" * (limits.MIB * 3 // 4)
    await client.send("POST", RESPONSE, **STREAMING)
    client.writer.write(b"0\r\nLambda-Runtime-Function-Error-Type: E\r\n")
    client.writer.write(b"Lambda-Runtime-Function-Error-Body: " + base64.b64encode(body))
    client.writer.write(b"\r\n\r\n")
    assert (await client.receive()).status == 202
    assert environment.told[-1] == ("error", "Runtime.Unknown", body)


async def test_one_connection_serves_for_many_streams(client, environment):
    for _ in range(3):
        client.writer.write(head() + b"0\r\n" + SECTION + b"\r\n")
        assert (await client.receive()).status == 202
        client.writer.write(head() + chunk(b"1") + b"0\r\n\r\n")
        assert (await client.receive()).status == 202
    told = [what[0] for what in environment.told]
    assert told == ["begin", "error", "begin", "answer"] * 3


@pytest.mark.parametrize(
    "data",
    [
        head() + chunk(b"1") + b"0\r\n" + SECTION.replace(b"\r\n", b"\n") + b"\r\n",
        head() + chunk(b"1") + b"0\r\n" + SECTION + b"\n",
        head() + chunk(b"1") + b"0\r\nno colon\r\n\r\n",
        head() + chunk(b"1") + b"0\r\n folded: x\r\n\r\n",
        head() + chunk(b"1") + b"0\r\nA: " + b"x" * 2_000_000 + b"\r\n\r\n",
        head() + chunk(b"1") + b"0\r\n" + b"A: b\r\n" * 500_000 + b"\r\n",
        head() + b"1;" + b"x" * 100_000 + b"\r\n1\r\n0\r\n\r\n",
        FOLLOWING.replace(NEXT.encode(), b"/2018-06-01/ping") + head() + b"0\r\n\r\n",
    ],
    ids=[
        "LF", "LF at the end", "no colon", "folded", "field", "fields", "extension", "pipelined"
    ],
)  # fmt: skip
async def test_what_is_no_trailer_section_hurts_only_its_sender(connect, environment, data):
    hostile, other = await connect(), await connect()
    hearing = asyncio.ensure_future(hostile.reader.read())
    hostile.writer.write(data)
    with contextlib.suppress(ConnectionError):
        await asyncio.wait_for(hearing, 10)
    assert not any(what[0] == "answer" for what in environment.told)
    assert (await other.ask("GET", "/2018-06-01/ping")).status == 200


# --- errors with their cause --------------------------------------------------------------


@pytest.mark.parametrize(
    ("posted", "told"),
    [
        (
            b'{"errorCause":{"a":1},"errorMessage":"m","errorType":"E","stackTrace":["l"],"x":1}',
            b'{"errorMessage":"m","errorType":"E","stackTrace":["l"]}',
        ),
        (b'{"errorCause":1}', b"{}"),
        (b"nope", b'"Invalid error body"'),
        (b'["errorMessage"]', b'"Invalid error body"'),
        (b"1", b'"Invalid error body"'),
        (b"\xff", b'"Invalid error body"'),
        (b"[" * 100_000, b'"Invalid error body"'),
        (b'{"a":[' + b"[]," * 87_400 + b"0]}", b'"Invalid error body"'),
    ],
)
async def test_the_cause_of_an_error_is_not_the_invokers(ask, environment, posted, told):
    kind = "application/vnd.aws.lambda.error.cause+json"
    answer = await ask("POST", f"{PREFIX}/invocation/r-1/error", posted, Content_Type=kind)
    assert answer.status == 202
    assert environment.told[-1] == ("error", "Runtime.Unknown", told)


# --- snapshots ----------------------------------------------------------------------------


async def test_restore_next_waits_until_it_is_restored(client, environment):
    environment.snap_start = True
    await client.send("GET", f"{PREFIX}/restore/next")
    waiting = asyncio.ensure_future(client.receive())
    await environment.heard()
    assert not waiting.done()
    environment.restored.set_result(None)
    answer = await waiting
    assert (answer.status, answer.body) == (200, b"")


async def test_a_restore_error_is_passed_on(ask, environment):
    environment.snap_start = True
    kind = {"Lambda_Runtime_Function_Error_Type": "Runtime.AfterRestoreError"}
    answer = await ask("POST", f"{PREFIX}/restore/error", b'{"a":1}', **kind)
    assert (answer.status, answer.body) == (202, OK)
    assert environment.told == [
        ("begin restore error",),
        ("restore error", "Runtime.AfterRestoreError", b'{"a":1}'),
    ]


async def test_credentials_are_for_who_knows_the_token(ask, environment):
    environment.snap_start = True
    answer = await ask("GET", "/2021-04-23/credentials", Authorization="secret")
    assert (answer.status, answer.body) == (200, b'{"AccessKeyId": "AKIA"}')
    for headers in ({}, {"Authorization": "guessed"}):
        answer = await ask("GET", "/2021-04-23/credentials", **headers)
        assert (answer.status, answer.body) == (
            404, b"cannot get credentials for the provided token"
        )  # fmt: skip


@pytest.mark.parametrize("path", ["restore/next", "restore/error"])
async def test_without_snapshots_there_is_no_such_path(ask, environment, path):
    assert (await ask("GET", f"{PREFIX}/{path}")).status == 404
    assert (await ask("GET", "/2021-04-23/credentials", Authorization="secret")).status == 404
    assert environment.told == []
