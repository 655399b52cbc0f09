import json
import re

import aiohttp
import pytest

from lambdad import body
from lambdad.api.operations.account import AccountOperations
from lambdad.api.operations.aliases import AliasOperations
from lambdad.api.operations.concurrency import ConcurrencyOperations
from lambdad.api.operations.functions import FunctionOperations, table
from lambdad.api.operations.invoke import InvokeOperations
from lambdad.api.operations.layers import LayerOperations
from lambdad.api.operations.provisioned import ProvisionedOperations
from lambdad.api.operations.versions import VersionOperations
from lambdad.api.wire import model as wire_model
from lambdad.model import limits
from lambdad.model.errors import ApiError, PlatformFault, conflict

FUNCTIONS = "/2015-03-31/functions"
INVOKE = f"{FUNCTIONS}/fn/invocations"
UUID_4 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
SECRET = "where it went wrong"


def error_of(answer):
    status, headers, body = answer
    return status, headers["x-amzn-ErrorType"], json.loads(body)


@pytest.mark.asyncio
async def test_a_call_reaches_its_operation_with_plain_parameters(ask, operations):
    operations.outcomes["GetFunction"] = {"Configuration": {"FunctionName": "fn"}}
    status, _, body = await ask("GET", f"{FUNCTIONS}/fn%3Alive?Qualifier=live")
    assert (status, json.loads(body)) == (200, {"Configuration": {"FunctionName": "fn"}})
    [(name, params, call)] = operations.asked
    assert name == "GetFunction"
    assert params == {"FunctionName": "fn:live", "Qualifier": "live"}
    assert call.endpoint.startswith("http://127.0.0.1:")


@pytest.mark.asyncio
async def test_a_payload_goes_through_byte_for_byte(ask, operations):
    operations.outcomes["Invoke"] = {
        "StatusCode": 200,
        "ExecutedVersion": "$LATEST",
        "FunctionError": "Unhandled",
        "LogResult": "TE9H",
        "Payload": b'{"a":\xc3\xbc}',
    }
    status, headers, body = await ask("POST", INVOKE, b' {"in": 1} ', X_Amz_Log_Type="Tail",
                                      X_Amzn_Trace_Id="Root=1-a-b")  # fmt: skip
    assert (status, body) == (200, b'{"a":\xc3\xbc}')
    assert headers["X-Amz-Function-Error"] == "Unhandled"
    assert headers["X-Amz-Executed-Version"] == "$LATEST"
    assert headers["X-Amz-Log-Result"] == "TE9H"
    [(_, params, call)] = operations.asked
    assert params["Payload"] == b' {"in": 1} '
    assert params["LogType"] == "Tail"
    assert call.trace == "Root=1-a-b"


@pytest.mark.asyncio
async def test_a_deletion_has_no_body(ask, operations):
    operations.outcomes["DeleteFunction"] = {"StatusCode": 204}
    status, _, body = await ask("DELETE", f"{FUNCTIONS}/fn")
    assert (status, body) == (204, b"")


# --- refusals -----------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/2015-03-31"),
        ("GET", "/2015-03-31/nothing"),
        ("PATCH", f"{FUNCTIONS}/fn"),
        ("OPTIONS", FUNCTIONS),
        ("GET", "/lambdad/code/../../etc/passwd"),
        ("POST", f"/lambdad/code/{'a' * 64}.zip"),
    ],
)
async def test_what_is_no_operation_is_denied_as_the_service_does(ask, operations, method, path):
    status, code, body = error_of(await ask(method, path))
    assert (status, code) == (403, "AccessDeniedException")
    assert body == {"Message": "Unable to determine service/operation name to be authorized"}
    assert operations.asked == []


@pytest.mark.asyncio
@pytest.mark.parametrize("body", [b"{", b"nope", b"[]", b"\xff", b'{"a":', b"1"])
async def test_what_is_not_an_object_of_json_is_refused(ask, operations, body):
    status, code, answer = error_of(await ask("POST", FUNCTIONS, body))
    assert status == 400
    assert code in {"InvalidRequestContentException", "SerializationException"}
    assert answer["message"]
    assert operations.asked == []


@pytest.mark.asyncio
async def test_every_violation_is_told_in_one_message(ask, operations):
    status, code, body = error_of(await ask("POST", FUNCTIONS, b'{"Timeout": 0}'))
    assert (status, code) == (400, "ValidationException")
    assert re.match(r"\d validation errors detected: Value '", body["message"])
    assert "Value '0' at 'timeout' failed to satisfy constraint: " in body["message"]
    assert "at 'role' failed to satisfy constraint: Member must not be null" in body["message"]
    assert operations.asked == []


@pytest.mark.asyncio
async def test_an_operations_error_is_told_by_its_shape(ask, operations):
    operations.outcomes["GetFunction"] = conflict("busy")
    status, code, body = error_of(await ask("GET", f"{FUNCTIONS}/fn"))
    assert (status, code) == (409, "ResourceConflictException")
    assert body in ({"Type": "User", "Message": "busy"}, {"Type": "User", "message": "busy"})


@pytest.mark.asyncio
async def test_a_throttle_says_why_and_when_to_come_back(ask, operations):
    operations.outcomes["Invoke"] = ApiError(
        "TooManyRequestsException", "Rate Exceeded.", Reason="ConcurrentInvocationLimitExceeded",
        Type="User", retryAfterSeconds="1",
    )  # fmt: skip
    answer = await ask("POST", INVOKE, b"{}")
    assert error_of(answer) == (
        429,
        "TooManyRequestsException",
        {
            "Reason": "ConcurrentInvocationLimitExceeded",
            "Type": "User",
            "message": "Rate Exceeded.",
        },
    )
    assert answer[1]["Retry-After"] == "1"


@pytest.mark.asyncio
@pytest.mark.parametrize("error", [RuntimeError(SECRET), KeyError(SECRET), AssertionError(SECRET)])
async def test_our_own_mistake_shows_nothing_of_itself(ask, operations, error):
    operations.outcomes["GetFunction"] = error
    status, code, body = error_of(await ask("GET", f"{FUNCTIONS}/fn"))
    assert (status, code) == (500, "ServiceException")
    assert body == {"Type": "Service", "Message": "An internal error has occurred"}
    assert SECRET not in json.dumps(body)


@pytest.mark.asyncio
async def test_the_hosts_fault_is_a_service_exception_too(ask, operations):
    operations.outcomes["Invoke"] = PlatformFault("cannot start the zygote")
    status, code, body = error_of(await ask("POST", INVOKE, b"{}"))
    assert (status, code) == (500, "ServiceException")
    assert body == {"Type": "Service", "Message": "cannot start the zygote"}


@pytest.mark.asyncio
async def test_a_payload_of_six_mebibytes_is_taken_and_not_a_byte_more(ask, operations):
    operations.outcomes["Invoke"] = {"StatusCode": 200, "Payload": b"1"}
    assert (await ask("POST", INVOKE, b"1" * limits.sync_payload_bytes_max))[0] == 200
    answer = await ask("POST", INVOKE, b"1" * (limits.sync_payload_bytes_max + 1))
    assert error_of(answer) == (
        413,
        "RequestTooLargeException",
        {
            "Type": "User",
            "message": "6291457 byte payload is too large for the RequestResponse invocation "
            "type (limit 6291456 bytes)",
        },
    )
    assert len(operations.asked) == 1


@pytest.mark.asyncio
async def test_what_is_far_too_large_is_refused_in_the_words_of_its_kind(ask):
    body = b"1" * (limits.sync_payload_bytes_max + 1)
    _, _, document = error_of(await ask("POST", INVOKE, body, X_Amz_Invocation_Type="Event"))
    assert document["message"] == (
        "6291457 byte payload is too large for the Event invocation type (limit 1048576 bytes)"
    )


@pytest.mark.asyncio
async def test_an_answer_has_what_its_operation_says_of_it(ask, operations):
    operations.outcomes["Invoke"] = {"StatusCode": 200, "Payload": b"1"}
    operations.headers = {"X-Amzn-Trace-Id": "Root=1"}
    status, headers, _ = await ask("POST", INVOKE, b"{}")
    assert (status, headers["X-Amzn-Trace-Id"]) == (200, "Root=1")


@pytest.mark.asyncio
async def test_a_request_that_is_too_large_is_refused_by_operation(ask, operations, monkeypatch):
    monkeypatch.setattr(limits, "create_request_bytes_max", 1_000)
    assert error_of(await ask("POST", FUNCTIONS, b"x" * 1_001)) == (
        413,
        "RequestEntityTooLargeException",
        {"message": "Request must be smaller than 1000 bytes for the CreateFunction operation"},
    )


@pytest.mark.asyncio
async def test_a_body_without_end_is_not_read_to_its_end(ask, monkeypatch):
    monkeypatch.setattr(limits, "create_request_bytes_max", 1_000)
    monkeypatch.setattr(body, "DISCARDED_BYTES_MAX", 100_000)
    given = []

    async def endless():
        for _ in range(2_000):
            given.append(1)
            yield bytes(64 * 1024)

    try:
        status, *_ = await ask("POST", FUNCTIONS, endless())
    except aiohttp.ClientError:
        status = 413
    assert status == 413
    assert len(given) < 2_000


# --- what every answer has ----------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"{FUNCTIONS}/fn", None),
        ("DELETE", f"{FUNCTIONS}/fn", None),
        ("POST", INVOKE, b"{}"),
        ("GET", "/", None),
        ("POST", FUNCTIONS, b"{"),
        ("POST", FUNCTIONS, b"{}"),
        ("GET", "/2016-08-19/account-settings", None),
    ],
)
async def test_every_answer_has_a_request_id_of_its_own(ask, method, path, body):
    answers = [await ask(method, path, body) for _ in range(2)]
    ids = {headers["x-amzn-RequestId"] for _, headers, _ in answers}
    assert len(ids) == 2
    assert all(UUID_4.fullmatch(id_) for id_ in ids)
    assert all(headers["Server"] == "lambdad" for _, headers, _ in answers)


@pytest.mark.asyncio
async def test_the_operation_knows_the_id_of_its_answer(ask, operations):
    _, headers, _ = await ask("GET", f"{FUNCTIONS}/fn")
    assert operations.asked[0][2].request_id == headers["x-amzn-RequestId"]


# --- all operations of the model ------------------------------------------------------------


def test_these_operations_are_offered(offered):
    places = {"region": "eu-west-1", "account": "1"}
    found = {
        **table(FunctionOperations(None, None, None, None, **places)),
        **table(LayerOperations(None, None, None, None, **places)),
        **table(VersionOperations(None, **places)),
        **table(AliasOperations(None, **places)),
        **table(ConcurrencyOperations(None, **places)),
        **table(ProvisionedOperations(None, None, **places)),
        **table(AccountOperations(None, None, None)),
        **table(InvokeOperations(None, None, None, **places)),
    }
    assert set(found) == offered
    assert wire_model.load().operations.keys() >= offered


def path_of(operation):
    """A path that leads to an operation, its labels filled in."""
    return re.sub(r"\{[^}]+\}", "x", operation.uri)


@pytest.mark.asyncio
async def test_every_other_operation_says_that_it_is_not_offered(ask, operations, offered):
    for name, operation in wire_model.load().operations.items():
        if name in offered:
            continue
        answer = await ask(operation.method, path_of(operation))
        status, code, body = error_of(answer)
        assert (status, code) == (400, "InvalidParameterValueException"), name
        assert body["message"] == f"{name} is not offered by lambdad yet."
    assert operations.asked == []
