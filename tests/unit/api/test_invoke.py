import asyncio
import base64
import json
import re

import pytest
import pytest_asyncio

from lambdad.api.operations.invoke import InvokeOperations, check_payload, trace_header
from lambdad.invoke.invocation import Run
from lambdad.model.clock import SystemClock
from lambdad.model.errors import ApiError, FunctionError, PlatformFault

SOURCE = "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled)"
PREFIX = "Could not parse request body into json: Could not parse payload into json: "
VALID = "expected a valid value (JSON String, Number, Array, Object or token 'null', 'true' or "
ARN = "arn:aws:lambda:eu-west-1:123456789012:function:fn"


class FakeRegistry:
    """Knows one function, whose runs end as the test says."""

    def __init__(self, function):
        self.function, self.invoked = function, []
        self.outcome, self.tail = b"null", b"START\nREPORT\n"
        self.start_error = None

    def drawn(self, name, qualifier):
        known = {None, self.function.version, "an-alias"}
        return self.function if name == "fn" and qualifier in known else None

    async def invoke(self, name, invocation, version):
        self.invoked.append(invocation)
        if self.start_error is not None:
            raise self.start_error
        run = Run(invocation, asyncio.get_running_loop(), SystemClock())
        if isinstance(self.outcome, bytes):
            run.answer(self.outcome)
        else:
            run.fail(self.outcome)
        run.finished.set_result(self.tail)
        return run


@pytest.fixture
def registry(new_function):
    return FakeRegistry(new_function())


class FakeEvents:
    """Accepts events and runs none."""

    def __init__(self):
        self.accepted = []

    async def accept(self, function, version, invocation):
        self.accepted.append((function, version, invocation))


@pytest.fixture
def events():
    return FakeEvents()


@pytest_asyncio.fixture
async def invoking(registry, events, clock):
    place = {"region": "eu-west-1", "account": "123456789012"}
    return InvokeOperations(registry, events, clock, **place)


@pytest.fixture
def invoke(invoking, call):
    async def made(name="fn", **params):
        return await invoking.Invoke({"FunctionName": name, **params}, call)

    return made


# --- answers ------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_run_is_answered_with_its_payload(invoke, registry, call):
    answer = await invoke(Payload=b' {"a": 1} ')
    assert answer == {"StatusCode": 200, "ExecutedVersion": "$LATEST", "Payload": b"null"}
    [invocation] = registry.invoked
    assert invocation.payload == b' {"a": 1} '
    assert invocation.request_id == call.request_id
    assert invocation.function_arn == ARN


@pytest.mark.asyncio
@pytest.mark.parametrize("params", [{}, {"Payload": b""}])
async def test_no_payload_is_the_empty_event(invoke, registry, params):
    await invoke(**params)
    assert registry.invoked[0].payload == b"{}"


@pytest.mark.asyncio
async def test_a_failed_run_is_a_success_with_an_error_in_it(invoke, registry):
    registry.outcome = FunctionError("Runtime.ExitError", b'{"errorType":"E"}')
    assert await invoke() == {
        "StatusCode": 200,
        "ExecutedVersion": "$LATEST",
        "FunctionError": "Unhandled",
        "Payload": b'{"errorType":"E"}',
    }


@pytest.mark.asyncio
async def test_an_init_that_failed_for_good_is_an_error_without_a_run(invoke, registry):
    registry.start_error = FunctionError("Runtime.ExitError", b'{"errorType":"E"}')
    assert await invoke(LogType="Tail") == {
        "StatusCode": 200,
        "ExecutedVersion": "$LATEST",
        "FunctionError": "Unhandled",
        "Payload": b'{"errorType":"E"}',
    }


@pytest.mark.asyncio
async def test_a_stream_of_what_could_not_be_run_ends_with_the_error(invoking, registry, call):
    registry.start_error = FunctionError("Runtime.ExitError", b'{"errorType":"E"}')
    answer = await invoking.InvokeWithResponseStream({"FunctionName": "fn"}, call)
    assert [event async for event in answer["EventStream"]] == [
        (
            "InvokeComplete",
            {"ErrorCode": "Runtime.ExitError", "ErrorDetails": '{"errorType":"E"}'},
        )
    ]


@pytest.mark.asyncio
async def test_the_platforms_fault_is_not_the_functions(invoke, registry):
    registry.outcome = PlatformFault("cannot")
    with pytest.raises(PlatformFault):
        await invoke()


@pytest.mark.asyncio
async def test_the_tail_comes_when_asked_for(invoke):
    answer = await invoke(LogType="Tail")
    assert base64.b64decode(answer["LogResult"]) == b"START\nREPORT\n"
    assert "LogResult" not in await invoke(LogType="None")


@pytest.mark.asyncio
async def test_a_dry_run_runs_nothing(invoke, registry):
    assert await invoke(InvocationType="DryRun") == {"StatusCode": 204}
    assert registry.invoked == []


@pytest.mark.asyncio
async def test_an_event_is_accepted_and_not_waited_for(invoke, registry, events, call):
    assert await invoke(InvocationType="Event", Payload=b"[1]") == {"StatusCode": 202}
    assert registry.invoked == []
    [(function, version, invocation)] = events.accepted
    assert (function, version) == ("fn", "$LATEST")
    assert (invocation.payload, invocation.request_id) == (b"[1]", call.request_id)


@pytest.mark.asyncio
async def test_an_event_by_an_alias_is_accepted_for_what_that_will_mean(invoke, events):
    await invoke("fn:an-alias", InvocationType="Event")
    [(function, version, invocation)] = events.accepted
    assert (function, version) == ("fn", "an-alias")
    assert invocation.function_arn == f"{ARN}:an-alias"


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["RequestResponse", "Event"])
async def test_who_invokes_is_told_the_trace(invoke, registry, events, call, kind):
    await invoke(InvocationType=kind)
    (invocation,) = registry.invoked or [accepted[2] for accepted in events.accepted]
    assert call.headers == {"X-Amzn-Trace-Id": invocation.trace}


@pytest.mark.asyncio
async def test_an_event_may_be_so_large(invoke, events):
    with pytest.raises(ApiError) as caught:
        await invoke(InvocationType="Event", Payload=b" " * 1_048_576 + b"1")
    assert caught.value.code == "RequestTooLargeException"
    assert caught.value.message == (
        "1048577 byte payload is too large for the Event invocation type (limit 1048576 bytes)"
    )
    assert events.accepted == []
    await invoke(InvocationType="Event", Payload=b" " * 1_048_575 + b"1")


@pytest.mark.asyncio
async def test_a_version_runs_when_it_is_asked_for(invoke, registry, new_function):
    registry.function = new_function(version="3")
    assert (await invoke(Qualifier="3"))["ExecutedVersion"] == "3"
    assert registry.invoked[0].function_arn == f"{ARN}:3"


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "params", "arn"),
    [
        ("fn", {}, ARN),
        ("fn", {"Qualifier": "$LATEST"}, f"{ARN}:$LATEST"),
        ("fn:$LATEST", {}, f"{ARN}:$LATEST"),
        ("fn:$LATEST", {"Qualifier": "$LATEST"}, f"{ARN}:$LATEST"),
        (ARN, {}, ARN),
        ("123456789012:function:fn", {}, ARN),
    ],
)
async def test_the_function_sees_the_arn_qualified_as_asked(invoke, registry, name, params, arn):
    await invoke(name, **params)
    assert registry.invoked[0].function_arn == arn


# --- refusals -----------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("name", "params", "code", "message"),
    [
        (
            "none", {}, "ResourceNotFoundException",
            "Function not found: arn:aws:lambda:eu-west-1:123456789012:function:none:$LATEST",
        ),
        ("fn", {"Qualifier": "7"}, "ResourceNotFoundException", f"Function not found: {ARN}:7"),
        ("fn:live", {}, "ResourceNotFoundException", f"Function not found: {ARN}:live"),
        (
            "fn:1", {"Qualifier": "2"}, "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.",
        ),
        (
            "arn:aws:lambda:us-east-1:123456789012:function:fn", {}, "ResourceNotFoundException",
            "Functions from 'us-east-1' are not reachable in this region ('eu-west-1')",
        ),
    ],
)  # fmt: skip
async def test_what_is_not_there_is_named_in_full(invoke, refused, *, name, params, code, message):
    assert await refused(invoke(name, **params)) == (code, message)


def refusal_of(payload):
    with pytest.raises(ApiError) as caught:
        check_payload(payload)
    assert caught.value.members == {"Type": "User"}
    return caught.value.code, caught.value.message


@pytest.mark.parametrize(
    ("payload", "what", "line", "column"),
    [
        (b'"a\x87"', "Invalid UTF-8 start byte 0x87", 1, 3),
        (b"nope", f"Unexpected character ('n' (code 110)): {VALID}'false')", 1, 1),
        (b"{\n  x}", None, 2, 3),
        (b"\x01", f"Unexpected character ((CTRL-CHAR, code 1)): {VALID}'false')", 1, 1),
        (b"[1,", "Unexpected end-of-input", 1, 4),
        (b"NaN", "Non-standard token 'NaN'", 1, 1),
        ("\x99".encode(), f"Unexpected character ((CTRL-CHAR, code 153)): {VALID}'false')", 1, 1),
    ],
)  # fmt: skip
def test_what_is_not_json_is_refused_with_the_place(payload, what, line, column):
    code, message = refusal_of(payload)
    assert code == "InvalidRequestContentException"
    assert message.startswith(PREFIX)
    assert message.endswith(f"\n at {SOURCE}; line: {line}, column: {column}]")
    if what is not None:
        assert message == f"{PREFIX}{what}\n at {SOURCE}; line: {line}, column: {column}]"


def test_nesting_without_end_is_refused():
    code, _ = refusal_of(b"[" * 200_000)
    assert code == "InvalidRequestContentException"


@pytest.mark.parametrize(
    "payload",
    [b"null", b"0", b'""', b"[]", b"1e999", b"9" * 10_000, b' {"a": 1}\n', '"ü"'.encode()],
)
def test_any_json_is_an_event(payload):
    check_payload(payload)


def test_six_mebibytes_are_taken_and_not_a_byte_more():
    largest = b'"' + b"x" * (6 * 1024 * 1024 - 2) + b'"'
    check_payload(largest)
    assert refusal_of(largest + b" ") == (
        "RequestTooLargeException",
        (
            "6291457 byte payload is too large for the RequestResponse invocation type "
            "(limit 6291456 bytes)"
        ),
    )


# --- client context -----------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_client_context_arrives_as_json_on_one_line(invoke, registry):
    given = {"custom": {"a": "b\n"}, "ü": 1}
    encoded = base64.b64encode(json.dumps(given, indent=2).encode()).decode()
    await invoke(ClientContext=encoded)
    arrived = registry.invoked[0].client_context
    assert json.loads(arrived) == given
    assert "\n" not in arrived
    assert arrived.isascii()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "encoded",
    [
        "",
        "not base64!",
        base64.b64encode(b"not JSON").decode(),
        base64.b64encode(b"[1]").decode(),
        base64.b64encode(b"null").decode(),
        base64.b64encode(b"\xff").decode(),
        base64.b64encode(b"[" * 2_600).decode(),
        base64.b64encode(json.dumps({"a": "x" * 3_000}).encode()).decode(),
    ],
)
async def test_a_bad_client_context_is_refused(invoke, refused, encoded):
    assert await refused(invoke(ClientContext=encoded)) == (
        "InvalidRequestContentException",
        "Client context must be a valid Base64-encoded JSON object.",
    )


# --- traces -------------------------------------------------------------------------------


def test_without_a_trace_one_is_made():
    made = trace_header("", 1_795_253_400.0)
    assert re.fullmatch(
        r"Root=1-6b016498-[0-9a-f]{24};Parent=[0-9a-f]{16};Sampled=0", made
    ), made  # fmt: skip


@pytest.mark.parametrize(
    ("incoming", "begins"),
    [
        ("Root=1-a-b;Parent=c;Sampled=1", "Root=1-a-b;Parent=c;Sampled=1"),
        ("Sampled=1;Root=1-a-b;Parent=c", "Root=1-a-b;Parent=c;Sampled=1"),
        ("Root=1-a-b;Parent=c;Lineage=x:1", "Root=1-a-b;Parent=c;Sampled=0;Lineage=x:1"),
        ("Root=1-a-b", "Root=1-a-b;Parent="),
        ("Root=1-a-b;Junk;Self=z;Parent=c", "Root=1-a-b;Parent=c;Sampled=0"),
    ],
)
def test_the_callers_trace_goes_on(incoming, begins):
    assert trace_header(incoming, 0).startswith(begins)


@pytest.mark.parametrize("incoming", [";;;", "====", "Root=", "x" * 10_000, "Root=\udcff"])
def test_a_trace_that_says_nothing_is_none(incoming):
    assert re.match(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};Parent=", trace_header(incoming, 0))


@pytest.mark.parametrize(
    ("incoming", "sampled"),
    [("", "1"), ("Root=1-0-0;Parent=p", "1"), ("Root=1-0-0;Parent=p;Sampled=0;Lineage=l", "0")],
)
def test_a_function_that_is_traced_has_a_segment_of_its_own(incoming, sampled):
    made = dict(part.split("=") for part in trace_header(incoming, 0, active=True).split(";"))
    assert made["Sampled"] == sampled
    assert re.fullmatch("[0-9a-f]{16}", made["Parent"])
    assert made.get("Lineage") == ("l" if "Lineage" in incoming else None)
