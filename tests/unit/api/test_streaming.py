"""InvokeWithResponseStream, over a real socket and read by botocore's own parser."""

import asyncio
import base64
import contextlib

import boto3
import pytest
import pytest_asyncio
from botocore.config import Config
from botocore.exceptions import ClientError

from lambdad.api.operations.invoke import InvokeOperations, content_type
from lambdad.api.server import ApiServer
from lambdad.invoke.invocation import Run
from lambdad.model.clock import SystemClock
from lambdad.model.errors import FunctionError, PlatformFault

PATH = "/2021-11-15/functions/fn/response-streaming-invocations"
WAIT_S = 20


class FakeRegistry:
    """Knows one function; the test plays its runtime."""

    def __init__(self, function):
        self.function, self.invoked = function, []
        self.play = self.answer_null

    def drawn(self, name, qualifier):
        return self.function if name == "fn" else None

    async def invoke(self, name, invocation, version):
        self.invoked.append(invocation)
        self.run = run = Run(invocation, asyncio.get_running_loop(), SystemClock())
        self.playing = asyncio.ensure_future(self.play(run))
        return run

    async def answer_null(self, run):
        run.answer(b"null")


@pytest.fixture
def registry(new_function):
    return FakeRegistry(new_function())


@pytest_asyncio.fixture
async def address(registry, clock):
    place = {"region": "eu-west-1"}
    operations = InvokeOperations(registry, None, clock, account="123456789012", **place)
    names = ("Invoke", "InvokeWithResponseStream")
    table = {name: getattr(operations, name) for name in names}
    door = ApiServer(table, None, clock, host="127.0.0.1", **place).protocol_factory()
    listening = await asyncio.get_running_loop().create_server(door, "127.0.0.1", 0)
    yield listening.sockets[0].getsockname()
    listening.close()
    await door.shutdown(0.01)


@pytest.fixture
def invoke(address):
    """One call by boto3; gives its answer and all events."""
    client = boto3.client(
        "lambda", "eu-west-1", endpoint_url="http://{}:{}".format(*address),
        aws_access_key_id="a", aws_secret_access_key="b",
        config=Config(retries={"max_attempts": 0}, read_timeout=WAIT_S),
    )  # fmt: skip

    def call(params):
        answer = client.invoke_with_response_stream(FunctionName="fn", **params)
        return answer, list(answer["EventStream"])

    async def made(**params):
        return await asyncio.to_thread(call, params)

    yield made
    client.close()


def payload_of(events):
    return b"".join(event["PayloadChunk"]["Payload"] for event in events[:-1])


@pytest.mark.asyncio
async def test_a_stream_is_chunks_and_how_it_ended(invoke, registry):
    async def play(run):
        stream = run.open_stream("text/html")
        for piece in (b'{"statusCode":200}', b"\x00" * 8, b"body"):
            await stream.write(piece)
        run.end_stream()

    registry.play = play
    answer, events = await invoke(Payload=b'{"a": 1}', TenantId="blue")
    assert answer["StatusCode"] == 200
    assert answer["ExecutedVersion"] == "$LATEST"
    assert answer["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    assert answer["ResponseMetadata"]["RequestId"] == registry.run.invocation.request_id
    assert payload_of(events) == b'{"statusCode":200}' + b"\x00" * 8 + b"body"
    assert len(events) == 4
    assert events[-1] == {"InvokeComplete": {}}
    [invocation] = registry.invoked
    assert invocation.streams
    assert (invocation.payload, invocation.tenant_id) == (b'{"a": 1}', "blue")


@pytest.mark.asyncio
async def test_who_does_not_stream_is_one_chunk(invoke, registry):
    _, events = await invoke()
    assert events == [{"PayloadChunk": {"Payload": b"null"}}, {"InvokeComplete": {}}]


@pytest.mark.asyncio
async def test_a_large_payload_is_one_chunk_too(invoke, registry):
    async def play(run):
        run.answer(b"x" * 6_291_556)

    registry.play = play
    _, events = await invoke()
    assert payload_of(events) == b"x" * 6_291_556


@pytest.mark.asyncio
async def test_an_error_in_the_middle_is_told_at_the_end(invoke, registry):
    async def play(run):
        await run.open_stream("text/html").write(b"half")
        run.end_stream("Function.Late", b'{"errorMessage":"\xc3\xbc"}')

    registry.play = play
    _, events = await invoke()
    assert payload_of(events) == b"half"
    assert events[-1] == {
        "InvokeComplete": {
            "ErrorCode": "Function.Late", "ErrorDetails": '{"errorMessage":"ü"}'
        }
    }  # fmt: skip


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FunctionError("Runtime.Unknown", b'{"a":1}', status=None), "Unhandled"),
        (FunctionError("Sandbox.Timedout", b'{"a":1}', status="timeout"), "Sandbox.Timedout"),
        (FunctionError("Runtime.ExitError", b'{"a":1}'), "Runtime.ExitError"),
    ],
)
async def test_an_error_before_the_first_byte_is_told_at_the_end(invoke, registry, error, code):
    async def play(run):
        run.fail(error)

    registry.play = play
    answer, events = await invoke()
    assert answer["StatusCode"] == 200
    assert events == [{"InvokeComplete": {"ErrorCode": code, "ErrorDetails": '{"a":1}'}}]


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [FunctionError("Sandbox.Timedout", b"{}"), PlatformFault("no")])
async def test_a_run_that_fails_in_the_middle_ends_its_stream(invoke, registry, error):
    async def play(run):
        await run.open_stream("text/html").write(b"half")
        run.fail(error)

    registry.play = play
    _, events = await invoke()
    assert payload_of(events) == b"half"
    assert events[-1]["InvokeComplete"]["ErrorCode"] in {"Sandbox.Timedout", "Sandbox.Failure"}


@pytest.mark.asyncio
async def test_the_platforms_fault_before_the_first_byte_is_an_error(invoke, registry):
    async def play(run):
        run.fail(PlatformFault("cannot run it"))

    registry.play = play
    with pytest.raises(ClientError, match="ServiceException"):
        await invoke()


@pytest.mark.asyncio
async def test_the_tail_comes_with_the_end_when_asked_for(invoke, registry):
    async def play(run):
        run.answer(b"1")
        run.finished.set_result(b"START\nREPORT\n")

    registry.play = play
    _, events = await invoke(LogType="Tail")
    assert base64.b64decode(events[-1]["InvokeComplete"]["LogResult"]) == b"START\nREPORT\n"


@pytest.mark.asyncio
async def test_a_dry_run_runs_nothing(invoke, registry):
    answer, _ = await invoke(InvocationType="DryRun")
    assert answer["StatusCode"] == 204
    assert registry.invoked == []


# --- as it comes, and when nobody listens ----------------------------------------------------


async def until(reader, mark):
    async with asyncio.timeout(WAIT_S):
        said = b""
        while mark not in said:
            said += await reader.read(65_536)
        return said


@pytest.mark.asyncio
async def test_each_chunk_arrives_before_the_next_is_written(address, registry):
    heard = asyncio.Event()

    async def play(run):
        stream = run.open_stream("text/html")
        await stream.write(b"first")
        await heard.wait()
        await stream.write(b"second")
        run.end_stream()

    registry.play = play
    reader, writer = await asyncio.open_connection(*address)
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    said = await until(reader, b"first")
    assert b"HTTP/1.1 200 OK" in said
    assert b"Server: lambdad" in said
    assert b"second" not in said
    heard.set()
    await until(reader, b"InvokeComplete")
    writer.close()
    await writer.wait_closed()


@pytest.mark.asyncio
async def test_the_head_comes_before_the_first_byte(address, registry):
    async def play(run):
        run.open_stream("text/html")

    registry.play = play
    reader, writer = await asyncio.open_connection(*address)
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    assert b"200 OK" in await until(reader, b"\r\n\r\n")
    writer.close()
    await writer.wait_closed()
    registry.run.end_stream()


@pytest.mark.asyncio
@pytest.mark.parametrize("when", ["before", "amid"])
async def test_a_runtime_writes_on_when_the_client_has_gone(address, registry, when):
    gone, done = asyncio.Event(), asyncio.Event()

    async def play(run):
        if when == "before":
            await gone.wait()
        stream = run.open_stream("text/html")
        await stream.write(b"first")
        await gone.wait()
        for _ in range(100):
            await stream.write(b"x" * 100_000)
        run.end_stream()
        done.set()

    registry.play = play
    reader, writer = await asyncio.open_connection(*address)
    writer.write(f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    if when == "amid":
        await until(reader, b"first")
    else:
        async with asyncio.timeout(WAIT_S):
            while not registry.invoked:  # noqa: ASYNC110  a registry tells nobody
                await asyncio.sleep(0)
    writer.transport.abort()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()
    gone.set()
    async with asyncio.timeout(WAIT_S):
        await done.wait()


# --- what the payload is called --------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ("", "application/json"),
        ("application/json; charset=utf-8", "application/json"),
        ("Application/JSON", "application/json"),
        ("application/octet-stream", "application/json"),
        ("application/x-www-form-urlencoded", "application/json"),
        ("application/cloudevents+json", "application/cloudevents+json"),
        ("text/plain;charset=UTF-8", "text/plain;charset=UTF-8"),
        ("text/\udcff", "application/json"),
        ("text/ü", "application/json"),
        ("text/\tplain", "application/json"),
    ],
)
def test_a_payload_is_json_unless_the_client_knows_better(named, told):
    assert content_type(named) == told
