"""Who may call: not a page in a browser, and where callers sign only those who have a key."""

import asyncio
import datetime as dt
import json
from unittest import mock

import pytest
import pytest_asyncio
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lambdad.api import sigv4

FUNCTIONS = "/2015-03-31/functions"
INVOKE = f"{FUNCTIONS}/fn/invocations"
NOW = 1_795_253_400.123

pytestmark = pytest.mark.asyncio


def error_of(answer):
    status, headers, body = answer
    return status, headers["x-amzn-ErrorType"], json.loads(body)


DENIED = (403, "AccessDeniedException")


async def test_an_absolute_target_is_its_path(ask, operations):
    reader, writer = await asyncio.open_connection(*ask.address)
    where = b"http://elsewhere.example/2015-03-31/functions/fn?Qualifier=1"
    writer.write(b"GET " + where + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
    writer.close()
    await writer.wait_closed()
    assert operations.asked[0][:2] == ("GetFunction", {"FunctionName": "fn", "Qualifier": "1"})


async def test_what_would_override_the_method_is_no_matter(ask, operations):
    await ask("GET", f"{FUNCTIONS}/fn", X_HTTP_Method_Override="DELETE", X_Method_Override="PUT")
    assert operations.asked[0][0] == "GetFunction"


async def test_a_body_may_be_asked_for_before_it_is_sent(ask, operations):
    reader, writer = await asyncio.open_connection(*ask.address)
    head = f"POST {INVOKE} HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
    writer.write(head.encode() + b"Content-Length: 2\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"{}")
    assert await reader.readuntil(b"\r\n") == b"HTTP/1.1 200 OK\r\n"
    writer.close()
    await writer.wait_closed()
    assert operations.asked[0][1]["Payload"] == b"{}"


# --- links to code ---------------------------------------------------------------------------


@pytest_asyncio.fixture
async def link(ask, operations):
    """The path that an operation gives for a zip."""

    async def made(tree):
        await ask("GET", f"{FUNCTIONS}/fn")
        return operations.asked[-1][2].code_path(tree)

    return made


async def test_the_zip_of_a_function_can_be_had_by_its_link(ask, link):
    status, headers, body = await ask("GET", await link("a" * 64))
    assert (status, headers["Content-Type"], body) == (200, "application/zip", b"PK")
    assert headers["Server"] == "lambdad"
    assert (await ask("GET", await link("b" * 64)))[0] == 404


async def test_a_link_is_good_for_ten_minutes(ask, link, clock):
    path = await link("a" * 64)
    clock.now = lambda: NOW + 599
    assert (await ask("GET", path))[0] == 200
    clock.now = lambda: NOW + 601
    assert error_of(await ask("GET", path))[:2] == DENIED


async def test_nobody_makes_or_changes_a_link(ask, link):
    path = await link("a" * 64)
    bare, _, query = path.partition("?")
    later = query.replace("Expires=1", "Expires=2")
    other = path.replace("a" * 64, "b" * 64)
    for forged in (bare, f"{bare}?{later}", other, f"{path}0", f"{path}&x=1"):
        assert error_of(await ask("GET", forged))[:2] == DENIED


# --- pages in browsers -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8080"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Host": "rebound.example"},
        {"Host": "localhost.elsewhere.example:3001"},
        {"Host": "127.0.0.1.elsewhere.example"},
        {"Host": "192.0.2.1:3001"},
    ],
)
async def test_a_page_in_a_browser_cannot_call(ask, operations, headers):
    for method, path in (("POST", INVOKE), ("GET", f"{FUNCTIONS}/fn"), ("OPTIONS", INVOKE)):
        answer = await ask(method, path, **headers)
        assert error_of(answer)[:2] == DENIED
        assert not any(name.lower().startswith("access-control") for name in answer[1])
    assert operations.asked == []


@pytest.mark.parametrize(
    "host",
    ["localhost:3001", "127.0.0.1", "127.1.2.3:1", "[::1]:3001", "lambda.localhost", "LOCALHOST"],
)
async def test_every_name_of_this_host_is_its_own(ask, operations, host):
    form = {"Content-Type": "application/x-www-form-urlencoded"}  # as curl -d sends
    assert (await ask("POST", INVOKE, b"{}", Host=host, **form))[0] == 200
    assert len(operations.asked) == 1


async def test_a_page_of_our_own_origin_may_call(ask, operations):
    headers = {"Origin": "http://localhost:3001", "Sec-Fetch-Site": "same-origin"}
    assert (await ask("GET", f"{FUNCTIONS}/fn", Host="localhost:3001", **headers))[0] == 200


# --- signatures ------------------------------------------------------------------------------


def signed(method, path, body=b"", access_key_id="AKIAKNOWN", secret="secret"):
    request = AWSRequest(method, f"http://127.0.0.1:1{path}", data=body)
    request.headers["Host"] = "lambda.example:1"  # any will do, since it is signed
    moment = dt.datetime.fromtimestamp(NOW, dt.UTC).replace(tzinfo=None)
    with mock.patch("botocore.auth.get_current_datetime", return_value=moment):
        SigV4Auth(Credentials(access_key_id, secret), "lambda", "eu-west-1").add_auth(request)
    return dict(request.headers)


class TestWhereCallersSign:
    @pytest.fixture
    def keys(self):
        return {"AKIAKNOWN": sigv4.Key("secret")}

    async def test_who_signs_is_served(self, ask, operations):
        headers = signed("POST", INVOKE, b"{}")
        assert (await ask("POST", INVOKE, b"{}", **headers))[0] == 200
        assert operations.asked[0][1]["Payload"] == b"{}"

    async def test_who_does_not_is_not(self, ask, operations):
        assert error_of(await ask("POST", INVOKE, b"{}")) == (
            403,
            "MissingAuthenticationTokenException",
            {"message": "Missing Authentication Token"},
        )
        assert operations.asked == []

    async def test_another_body_is_not_what_was_signed(self, ask, operations):
        answer = error_of(await ask("POST", INVOKE, b"[]", **signed("POST", INVOKE, b"{}")))
        assert answer[:2] == (403, "InvalidSignatureException")
        assert operations.asked == []

    async def test_a_stranger_learns_no_more_than_who_has_a_wrong_secret(self, ask, operations):
        stranger = signed("POST", INVOKE, b"{}", access_key_id="AKIASTRANGER")
        mistaken = signed("POST", INVOKE, b"{}", secret="wrong")
        answers = [error_of(await ask("POST", INVOKE, b"{}", **h)) for h in (stranger, mistaken)]
        assert answers[0] == answers[1]
        assert answers[0][:2] == (403, "InvalidSignatureException")
        assert operations.asked == []

    async def test_a_link_to_code_needs_no_signature(self, ask, operations):
        path = f"{FUNCTIONS}/fn"
        await ask("GET", path, **signed("GET", path))
        assert (await ask("GET", operations.asked[0][2].code_path("a" * 64)))[0] == 200
