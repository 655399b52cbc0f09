import json

import pytest

pytestmark = pytest.mark.asyncio

PATH = "/2026-01-15/metadata/execution-environment"


async def test_who_has_the_token_is_told_the_zone(environment, ask):
    environment.is_token = "token".__eq__
    answer = await ask("GET", PATH, Authorization="Bearer token")
    assert answer.status == 200
    assert json.loads(answer.body) == {"AvailabilityZoneID": "use1-az1"}


@pytest.mark.parametrize("said", ["", "Bearer", "Bearer other", "Basic token", "token"])
async def test_nobody_else_is(environment, ask, said):
    environment.is_token = "token".__eq__
    answer = await ask("GET", PATH, Authorization=said)
    assert answer.status == 401
    assert json.loads(answer.body)["errorType"] == "Unauthorized"
