"""The logs behind the same door as functions: who may ask, and how errors look there."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import aiohttp
import pytest
import pytest_asyncio
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lambdad.api.logs.door import LogsApi, refusal
from lambdad.api.server import ApiServer
from lambdad.api.sigv4 import Key
from lambdad.model.clock import SystemClock
from lambdad.model.errors import ApiError
from lambdad.observe.log_store import LogStore

REGION = "eu-west-1"


@pytest_asyncio.fixture
async def ask_logs(tmp_path, keys):
    """One request; gives status, the error's header and the body as JSON."""
    with ThreadPoolExecutor(1) as reader:
        store = LogStore(tmp_path, SystemClock(), reader)
        store.write("/g", "s", 1_795_253_400_000, [b"said\n"])
        logs = LogsApi(store, reader, region=REGION, account="123456789012")
        place = {"host": "127.0.0.1", "region": REGION}
        api = ApiServer({}, mock.Mock(), SystemClock(), **place, keys=keys, logs=logs)
        door = api.protocol_factory()
        listening = await asyncio.get_running_loop().create_server(door, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"

        async def made(operation, params, headers=(), service=None):
            headers = {"X-Amz-Target": f"Logs_20140328.{operation}", **dict(headers)}
            data = json.dumps(params).encode()
            if service is not None:
                signed = AWSRequest("POST", url, headers=headers, data=data)
                SigV4Auth(Credentials("AKIAONE", "one"), service, REGION).add_auth(signed)
                headers = dict(signed.headers)
            async with session.post(url, data=data, headers=headers) as answer:
                assert answer.headers["x-amzn-RequestId"]
                return (
                    answer.status,
                    answer.headers.get("x-amzn-ErrorType"),
                    await answer.json(content_type=None),
                )

        async with aiohttp.ClientSession() as session:
            yield made
        listening.close()
        await door.shutdown(0.01)
        store.close_all()


@pytest.mark.asyncio
async def test_a_target_leads_to_the_logs(ask_logs):
    status, error, answer = await ask_logs("FilterLogEvents", {"logGroupName": "/g"})
    assert (status, error) == (200, None)
    assert [event["message"] for event in answer["events"]] == ["said\n"]


@pytest.mark.asyncio
async def test_an_error_has_the_form_of_the_protocol(ask_logs):
    assert await ask_logs("FilterLogEvents", {"logGroupName": "/none"}) == (
        400,
        "ResourceNotFoundException",
        {
            "__type": "ResourceNotFoundException",
            "message": "The specified log group does not exist.",
        },
    )


@pytest.mark.asyncio
async def test_a_page_of_another_origin_may_not_ask(ask_logs):
    headers = {"Origin": "https://example.org"}
    status, error, _ = await ask_logs("DescribeLogGroups", {}, headers)
    assert (status, error) == (403, "AccessDeniedException")


@pytest.mark.asyncio
@pytest.mark.parametrize("keys", [{"AKIAONE": Key("one")}])
@pytest.mark.parametrize(
    ("service", "expected"),
    [
        ("logs", (200, None)),
        ("lambda", (400, "InvalidSignatureException")),
        (None, (400, "MissingAuthenticationTokenException")),
    ],
)
async def test_who_asks_has_signed_for_the_logs(ask_logs, service, expected):
    status, error, answer = await ask_logs("DescribeLogGroups", {}, service=service)
    assert (status, error) == expected
    assert ("logGroups" in answer) == (status == 200)


def test_what_is_none_of_the_callers_has_a_status_that_says_so():
    assert refusal(ApiError("ServiceUnavailableException", "full")).status == 500
    assert refusal(ApiError("InvalidParameterException", "wrong")).status == 400
