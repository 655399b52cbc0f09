"""The census behind the same door as functions: what it says, and who may ask for it."""

import asyncio
import json
import math
from types import SimpleNamespace
from unittest import mock

import aiohttp
import pytest
import pytest_asyncio
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from lambdad.api.admin import CENSUS_PATH, Admin
from lambdad.api.server import ApiServer
from lambdad.api.sigv4 import Key
from lambdad.api.wire import model, route
from lambdad.invoke.account import Account
from lambdad.invoke.census import EnvironmentCensus, PoolCensus
from lambdad.invoke.lifecycle import State
from lambdad.model.clock import SystemClock

REGION = "eu-west-1"
DENIED = (403, "AccessDeniedException")
ENVIRONMENT = EnvironmentCensus(
    id="8f507cfc", state=State.IDLE, init_type="on-demand", provisioned=False, age_s=12.5,
    idle_s=1.5, uses=3, memory_bytes=10_000_000,
)  # fmt: skip
POOL = PoolCensus(
    function="fn", version="$LATEST", memory_mb=128, environments=(ENVIRONMENT,), invocations=3,
    cold=1, restored=0, throttled=2, running=0, waiting=0, provisioned_requested=0,
)  # fmt: skip


class Clock:
    def __init__(self):
        self.up_s = 0.0

    def now(self):
        return 1_795_253_400.123 + self.up_s

    def monotonic(self):
        return 77.0 + self.up_s


@pytest.fixture
def own_clock():
    return Clock()


@pytest.fixture
def budget():
    return SimpleNamespace(charged_bytes=12_000_000, limit_bytes=4 << 30)


@pytest.fixture
def admin(own_clock, budget):
    account = Account(1_000)
    account.reserve("fn", 5)
    account.begin("fn", "$LATEST")
    registry = SimpleNamespace(census=lambda: (POOL,), budget=budget)
    spares = SimpleNamespace(counts=lambda: {"python3.12": 1})
    return Admin(registry, account, spares, own_clock)


@pytest_asyncio.fixture
async def ask_admin(admin, keys):
    """One request; gives status, headers and body."""
    place = {"host": "127.0.0.1", "region": REGION}
    operations = {"ListFunctions": mock.Mock()}
    api = ApiServer(operations, mock.Mock(), SystemClock(), **place, keys=keys, admin=admin)
    door = api.protocol_factory()
    listening = await asyncio.get_running_loop().create_server(door, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"

    async def made(method="GET", path=CENSUS_PATH, headers=(), service=None):
        headers = dict(headers)
        if service is not None:
            signed = AWSRequest(method, base + path, headers=headers)
            SigV4Auth(Credentials("AKIAONE", "one"), service, REGION).add_auth(signed)
            headers = dict(signed.headers)
        async with session.request(method, base + path, headers=headers) as answer:
            return answer.status, answer.headers, await answer.read()

    async with aiohttp.ClientSession() as session:
        yield made
    listening.close()
    await door.shutdown(0.01)


@pytest.mark.asyncio
async def test_the_census_says_what_stands_and_what_was_done(ask_admin, own_clock):
    own_clock.up_s = 2.5
    status, headers, body = await ask_admin()
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert headers["x-amzn-RequestId"]
    assert json.loads(body) == {
        "started": "2026-11-21T09:30:00.123Z",
        "up_s": 2.5,
        "concurrency": {"limit": 1_000, "running": 1, "unreserved": 995, "reserved": {"fn": 5}},
        "memory": {"charged_bytes": 12_000_000, "budget_bytes": 4 << 30},
        "spares": {"python3.12": 1},
        "functions": [
            {
                "function": "fn",
                "version": "$LATEST",
                "memory_mb": 128,
                "environments": [
                    {
                        "id": "8f507cfc",
                        "state": "idle",
                        "init_type": "on-demand",
                        "provisioned": False,
                        "age_s": 12.5,
                        "idle_s": 1.5,
                        "uses": 3,
                        "memory_bytes": 10_000_000,
                    }
                ],
                "invocations": 3,
                "cold": 1,
                "restored": 0,
                "throttled": 2,
                "running": 0,
                "waiting": 0,
                "provisioned_requested": 0,
            }
        ],
    }


def test_a_budget_without_bounds_is_told_as_none(admin, budget):
    budget.limit_bytes = math.inf
    assert json.loads(admin.census().body)["memory"]["budget_bytes"] is None


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", CENSUS_PATH),
        ("DELETE", CENSUS_PATH),
        ("GET", CENSUS_PATH + "/"),
        ("GET", CENSUS_PATH + "/fn"),
        ("GET", "/lambdad"),
        ("GET", "/2015-03-31" + CENSUS_PATH),
    ],
)
async def test_what_is_not_the_census_is_no_operation(ask_admin, method, path):
    status, headers, _ = await ask_admin(method, path)
    assert (status, headers["x-amzn-ErrorType"]) == DENIED


def test_no_operation_of_the_api_is_shadowed():
    with pytest.raises((route.UnknownOperation, route.MethodNotAllowed)):
        route.Router(model.load()).match("GET", CENSUS_PATH, [])


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://example.org"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Host": "rebound.example.org"},
    ],
    ids=str,
)
async def test_a_page_of_another_origin_may_not_ask(ask_admin, headers):
    status, answered, body = await ask_admin(headers=headers)
    assert (status, answered["x-amzn-ErrorType"]) == DENIED
    assert b"fn" not in body


@pytest.mark.asyncio
@pytest.mark.parametrize("keys", [{"AKIAONE": Key("one")}, {"AKIAONE": Key("another")}])
@pytest.mark.parametrize("service", ["lambda", "logs", None])
async def test_who_asks_has_signed_where_callers_do(ask_admin, keys, service):
    status, _, body = await ask_admin(service=service)
    may = service == "lambda" and keys["AKIAONE"].secret == "one"
    assert (status == 200, b"functions" in body) == (may, may)
