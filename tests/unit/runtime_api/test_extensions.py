import asyncio
import json
import uuid
from types import SimpleNamespace

import pytest
import pytest_asyncio

from lambdad.invoke.extensions import Extensions, InvokeEvent, ShutdownEvent
from lambdad.invoke.shutdown import ShutdownReason
from lambdad.model import limits

pytestmark = pytest.mark.asyncio

PREFIX = "/2020-01-01/extension"
REGISTER = f"{PREFIX}/register"
NEXT = f"{PREFIX}/event/next"
INIT_ERROR = f"{PREFIX}/init/error"
EXIT_ERROR = f"{PREFIX}/exit/error"
ARN = "arn:aws:lambda:eu-west-1:123456789012:function:fn"
TRACE = "Root=1-0-0;Parent=0;Sampled=0"
EVENT = InvokeEvent(1_795_253_403_123, "r-1", ARN, TRACE)
NOBODY = "6e4a3ae5-6a6f-4f7c-9f0d-5a9a0c0b1d2e"
OK = b'{"status":"OK"}\n'


class FakeEnvironment:
    """What the handlers ask of an environment; its extensions are real."""

    def __init__(self):
        self.changed = asyncio.Event()
        self.extensions = Extensions(self.changed.set)
        self.function = SimpleNamespace(name="fn", handler="app.handler", max_concurrency=None)
        self.version, self.account, self.snap_start = "$LATEST", "123456789012", False

    async def change(self):
        """Wait for the next change."""
        await self.changed.wait()
        self.changed.clear()


@pytest_asyncio.fixture
async def environment():
    environment = FakeEnvironment()
    environment.extensions.launched("ext.sh")
    return environment


@pytest_asyncio.fixture
async def identifier(ask, environment):
    """One external extension that has registered for both events."""
    body = b'{"events":["INVOKE","SHUTDOWN"]}'
    answer = await ask("POST", REGISTER, body, Lambda_Extension_Name="ext.sh")
    environment.changed.clear()
    return answer.headers["Lambda-Extension-Identifier"]


def refusal(answer):
    assert answer.headers["Content-Type"] == "application/json"
    told = json.loads(answer.body)
    assert list(told) == ["errorMessage", "errorType"]
    return answer.status, told["errorType"], told["errorMessage"]


def malformed(message):
    return 403, "InvalidRequestFormat", message


# --- register ---------------------------------------------------------------------------------


async def test_who_registers_hears_its_identifier_and_of_the_function(ask, environment):
    body = b'{"events":["SHUTDOWN","INVOKE"]}'
    answer = await ask("POST", REGISTER, body, Lambda_Extension_Name="ext.sh")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    identifier = answer.headers["Lambda-Extension-Identifier"]
    assert str(uuid.UUID(identifier)) == identifier
    assert json.loads(answer.body) == {
        "functionName": "fn",
        "functionVersion": "$LATEST",
        "handler": "app.handler",
    }
    extension = environment.extensions.find(identifier)
    assert (extension.external, extension.events) == (True, ("SHUTDOWN", "INVOKE"))


@pytest.mark.parametrize("features", ["accountId", "later, accountId ,x"])
async def test_the_account_is_told_to_who_asks(ask, features):
    answer = await ask(
        "POST",
        REGISTER,
        b"{}",
        Lambda_Extension_Name="own",
        Lambda_Extension_Accept_Feature=features,
    )
    assert json.loads(answer.body)["accountId"] == "123456789012"


async def test_features_that_nobody_knows_are_passed_over(ask):
    features = {"Lambda_Extension_Accept_Feature": "AccountId,,x"}
    answer = await ask("POST", REGISTER, b"{}", Lambda_Extension_Name="own", **features)
    assert (answer.status, "accountId" in json.loads(answer.body)) == (200, False)


async def test_a_function_without_a_handler_has_an_empty_one(ask, environment):
    environment.function.handler = None
    answer = await ask("POST", REGISTER, b"{}", Lambda_Extension_Name="own")
    assert json.loads(answer.body)["handler"] == ""


@pytest.mark.parametrize("headers", [{}, {"Lambda_Extension_Name": ""}])
async def test_a_name_is_asked_for_before_anything_else(ask, headers):
    answer = await ask("POST", REGISTER, b"", **headers)
    told = 403, "Extension.InvalidExtensionName", "Empty extension name"
    assert refusal(answer) == told


@pytest.mark.parametrize("body", [b"{}", b'{"events":[]}', b'{"events":null,"more":1}', b"null"])
async def test_events_may_be_missing(ask, body):
    assert (await ask("POST", REGISTER, body, Lambda_Extension_Name="own")).status == 200


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "cannot read the body: it is not JSON"),
        (b"{", "cannot read the body: it is not JSON"),
        (b"\xff\xff", "cannot read the body: it is not JSON"),
        (b"[" * 60_000, "cannot read the body: it is not JSON"),
        (b'{"a":' * 12_000, "cannot read the body: it is not JSON"),
        (b'{"events":' + b"9" * 10_000 + b"}", "cannot read the body: it is not JSON"),
        (b"[]", "cannot read the body: it is not an object"),
        (b'"INVOKE"', "cannot read the body: it is not an object"),
        (b'{"events":"INVOKE"}', "cannot read the body: events is not a list of strings"),
        (b'{"events":{}}', "cannot read the body: events is not a list of strings"),
        (b'{"events":[1,[]]}', "cannot read the body: events is not a list of strings"),
        (b'{"events":[null]}', "cannot read the body: events is not a list of strings"),
        (
            b'{"events":[],"configurationKeys":["A"]}',
            "configurationKeys are deprecated; use environment variables instead",
        ),
    ],
)
async def test_a_body_that_makes_no_sense_is_refused(ask, environment, body, message):
    answer = await ask("POST", REGISTER, body, Lambda_Extension_Name="own")
    assert refusal(answer) == malformed(message)
    assert not environment.extensions.any_internal


@pytest.mark.parametrize("event", ["FOO", "\ud800", "<&>", "x" * 10_000])
async def test_an_event_that_there_is_not_is_refused_with_its_name(ask, event):
    body = json.dumps({"events": [event]}).encode()
    answer = await ask("POST", REGISTER, body, Lambda_Extension_Name="ext.sh")
    told = 403, "Extension.InvalidEventType", f"{event}: ErrorInvalidEventType"
    assert refusal(answer) == told


@pytest.mark.parametrize(
    ("path", "size_max"),
    [(REGISTER, 64 * 1024), (INIT_ERROR, limits.MIB), (EXIT_ERROR, limits.MIB)],
)
async def test_a_body_has_a_bound(ask, identifier, environment, path, size_max):
    headers = {
        "Lambda_Extension_Name": "own",
        "Lambda_Extension_Identifier": identifier,
        "Lambda_Extension_Function_Error_Type": "X",
    }
    body = b'"' + b"x" * size_max + b'"'
    assert refusal(await ask("POST", path, body, **headers)) == (
        413,
        "RequestEntityTooLarge",
        f"Exceeded maximum allowed payload size ({size_max} bytes).",
    )
    assert environment.extensions.fatal_type is None
    assert not environment.extensions.any_internal


async def test_a_name_of_any_bytes_registers_and_is_refused_the_second_time(client):
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nLambda-Extension-Name: \xff\xfe\xe9\r\n"
    request = head % REGISTER.encode() + b"Content-Length: 2\r\n\r\n{}"
    client.writer.write(request)
    assert (await client.receive()).status == 200
    client.writer.write(request)
    told = 403, "Extension.InvalidExtensionState", "Extension with this name already registered"
    assert refusal(await client.receive()) == told


# --- next -------------------------------------------------------------------------------------


async def test_an_event_comes_as_the_service_writes_it(client, environment, identifier):
    await client.send("GET", NEXT, Lambda_Extension_Identifier=identifier)
    await environment.change()
    environment.extensions.invoke(EVENT)
    answer = await client.receive()
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Lambda-Extension-Identifier"] == identifier
    assert uuid.UUID(answer.headers["Lambda-Extension-Event-Identifier"]).version == 4
    assert json.loads(answer.body) == {
        "eventType": "INVOKE",
        "deadlineMs": 1_795_253_403_123,
        "requestId": "r-1",
        "invokedFunctionArn": ARN,
        "tracing": {"type": "X-Amzn-Trace-Id", "value": TRACE},
    }


async def test_the_shutdown_comes_as_the_service_writes_it(client, environment, identifier):
    await client.send("GET", NEXT, Lambda_Extension_Identifier=identifier.upper())
    await environment.change()
    environment.extensions.shutdown(ShutdownEvent(1_795_253_405_123, ShutdownReason.TIMEOUT))
    answer = await client.receive()
    assert answer.headers["Content-Type"] == "application/json"
    assert "Lambda-Extension-Event-Identifier" in answer.headers
    assert json.loads(answer.body) == {
        "eventType": "SHUTDOWN",
        "deadlineMs": 1_795_253_405_123,
        "shutdownReason": "timeout",
    }


async def test_each_event_has_an_identifier_of_its_own(client, environment, identifier):
    seen = set()
    for _ in range(2):
        await client.send("GET", NEXT, Lambda_Extension_Identifier=identifier)
        await environment.change()
        environment.extensions.invoke(EVENT)
        seen.add((await client.receive()).headers["Lambda-Extension-Event-Identifier"])
    assert len(seen) == 2


async def test_a_second_poll_is_refused_while_the_first_waits(
    client, connect, environment, identifier
):
    await client.send("GET", NEXT, Lambda_Extension_Identifier=identifier)
    await environment.change()
    second = await connect()
    answer = await second.ask("GET", NEXT, Lambda_Extension_Identifier=identifier)
    assert refusal(answer) == (
        403,
        "Extension.InvalidExtensionState",
        (
            f"State transition from Ready to Ready failed for extension {identifier}. "
            "Error: State transition is not allowed"
        ),
    )
    environment.extensions.invoke(EVENT)
    assert (await client.receive()).status == 200


async def test_who_lost_its_connection_may_poll_again(connect, environment, ask, identifier):
    first, bystander, second = await connect(), await connect(), await connect()
    await first.send("GET", NEXT, Lambda_Extension_Identifier=identifier)
    await environment.change()
    first.writer.close()
    await first.writer.wait_closed()
    await bystander.ask("GET", "/2018-06-01/ping")  # By now the door has noticed.
    environment.extensions.invoke(EVENT)
    answer = await second.ask("GET", NEXT, Lambda_Extension_Identifier=identifier)
    assert json.loads(answer.body)["requestId"] == "r-1"


async def test_who_waits_is_hung_up_on_when_nothing_will_come(client, environment, identifier):
    await client.send("GET", NEXT, Lambda_Extension_Identifier=identifier)
    await environment.change()
    environment.extensions.hang_up()
    assert await client.reader.read() == b""


# --- identifiers and errors ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "unknown"),
    [
        ("GET", NEXT, f"Unknown extension {NOBODY}"),
        ("POST", INIT_ERROR, "Unknown Lambda-Extension-Identifier"),
        ("POST", EXIT_ERROR, "Unknown Lambda-Extension-Identifier"),
    ],
)
async def test_three_wrong_identifiers_have_three_answers(ask, method, path, unknown):
    assert refusal(await ask(method, path)) == (
        403,
        "Extension.MissingExtensionIdentifier",
        "Missing Lambda-Extension-Identifier header",
    )
    assert refusal(await ask(method, path, Lambda_Extension_Identifier="me")) == (
        403,
        "Extension.InvalidExtensionIdentifier",
        "Invalid Lambda-Extension-Identifier",
    )
    answer = await ask(method, path, Lambda_Extension_Identifier=NOBODY)
    assert refusal(answer) == (403, "Extension.UnknownExtensionIdentifier", unknown)


@pytest.mark.parametrize(
    ("path", "fatal_type"),
    [(INIT_ERROR, "Extension.InitError"), (EXIT_ERROR, "Extension.ExitError")],
)
async def test_an_error_is_accepted_and_after_it_nothing(
    ask, environment, identifier, path, fatal_type
):
    headers = {
        "Lambda_Extension_Identifier": identifier,
        "Lambda_Extension_Function_Error_Type": "Extension.NoKey",
    }
    for body in (b'{"errorMessage":"no"}', b"", b"not JSON"):
        answer = await ask("POST", path, body, **headers)
        assert (answer.status, answer.body) == (202, OK)
    assert environment.extensions.fatal_type == fatal_type
    assert environment.extensions.find(identifier).error_type == "Extension.NoKey"
    assert refusal(await ask("GET", NEXT, **headers))[1] == "Extension.InvalidExtensionState"


@pytest.mark.parametrize("path", [INIT_ERROR, EXIT_ERROR])
async def test_an_error_needs_a_type(ask, environment, identifier, path):
    answer = await ask("POST", path, b"{}", Lambda_Extension_Identifier=identifier)
    assert refusal(answer) == (
        403,
        "Extension.MissingHeader",
        "Lambda-Extension-Function-Error-Type not found",
    )
    assert environment.extensions.fatal_type is None


async def test_an_error_type_of_any_bytes_becomes_text(client, environment, identifier):
    head = f"POST {EXIT_ERROR} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n"
    head += f"Lambda-Extension-Identifier: {identifier}\r\nLambda-Extension-Function-Error-Type: "
    client.writer.write(head.encode() + b"\xff\xe9" + b"x" * 5_000 + b"\r\n\r\n")
    assert (await client.receive()).status == 202
    kept = environment.extensions.find(identifier).error_type
    assert len(kept.encode()) < 1_000


# --- what there is not ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", REGISTER), ("GET", NEXT), ("POST", INIT_ERROR), ("POST", EXIT_ERROR)],
)
async def test_where_extensions_are_disabled_there_is_no_path(ask, environment, method, path):
    environment.extensions = None
    answer = await ask(method, path)
    assert (answer.status, answer.body) == (404, b"404 page not found\n")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", REGISTER), ("POST", NEXT), ("GET", INIT_ERROR), ("PUT", EXIT_ERROR)],
)
async def test_another_method_is_not_allowed(ask, method, path):
    answer = await ask(method, path)
    assert (answer.status, answer.body) == (405, b"")


@pytest.mark.parametrize("path", [PREFIX, f"{PREFIX}/", f"{PREFIX}/event", f"{REGISTER}/"])
async def test_an_unknown_path_is_not_found(ask, path):
    assert (await ask("GET", path)).status == 404
