"""What the account may have, and what it has."""

import pytest

from lambdad.api.operations.account import AccountOperations
from lambdad.api.operations.functions import FunctionOperations
from lambdad.api.operations.layers import LayerOperations
from lambdad.api.operations.versions import VersionOperations

pytestmark = pytest.mark.asyncio

PLACE = {"region": "eu-west-1", "account": "123456789012"}
LEAST = {
    "Runtime": "provided.al2023",
    "Role": "arn:aws:iam::123456789012:role/r",
    "Handler": "app.handler",
}


@pytest.fixture
def do(registry, layers, packages, clock, call):
    """Calls an operation by its name."""
    operations = (
        FunctionOperations(registry, layers, packages, clock, **PLACE),
        VersionOperations(registry, **PLACE),
        LayerOperations(layers, packages, registry.forget_code, clock, **PLACE),
        AccountOperations(registry, layers, registry._account),
    )

    async def made(operation, **params):
        offered = next(one for one in operations if hasattr(one, operation))
        return await getattr(offered, operation)(params, call)

    return made


@pytest.fixture
def used(do):
    async def made():
        usage = (await do("GetAccountSettings"))["AccountUsage"]
        return usage["FunctionCount"], usage["TotalCodeSize"]

    return made


async def test_an_account_begins_with_nothing_and_may_have_this(do):
    assert await do("GetAccountSettings") == {
        "AccountLimit": {
            "TotalCodeSize": 80_530_636_800,
            "CodeSizeUnzipped": 262_144_000,
            "CodeSizeZipped": 52_428_800,
            "ConcurrentExecutions": 1_000,
            "UnreservedConcurrentExecutions": 1_000,
        },
        "AccountUsage": {"TotalCodeSize": 0, "FunctionCount": 0},
    }


async def test_what_is_reserved_is_not_left(do, registry):
    await do("CreateFunction", FunctionName="fn", Code={"ZipFile": b"zip"}, **LEAST)
    await registry.reserve("fn", 300)
    limit = (await do("GetAccountSettings"))["AccountLimit"]
    assert limit["ConcurrentExecutions"] == 1_000
    assert limit["UnreservedConcurrentExecutions"] == 700


async def test_every_version_and_layer_counts_equal_ones_too(do, used, registry):
    await do("CreateFunction", FunctionName="fn", Code={"ZipFile": b"four"}, **LEAST)
    await registry.settled()
    assert await used() == (1, 4)
    await do("PublishVersion", FunctionName="fn")
    assert await used() == (1, 8)
    await do("UpdateFunctionConfiguration", FunctionName="fn", Timeout=9)
    await registry.settled()
    assert await used() == (1, 8)
    await do("PublishVersion", FunctionName="fn")
    assert await used() == (1, 12)
    for _ in range(2):
        await do("PublishLayerVersion", LayerName="l", Content={"ZipFile": b"seven.."})
    assert await used() == (1, 26)
    await do("DeleteFunction", FunctionName="fn")
    assert await used() == (0, 14)
