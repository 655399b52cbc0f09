"""Reserved concurrency: put, shown, taken back, and kept."""

import pytest

from lambdad.api.operations.concurrency import ConcurrencyOperations
from lambdad.api.operations.functions import FunctionOperations
from lambdad.invoke.account import Account
from lambdad.invoke.registry import Registry
from lambdad.model.errors import ApiError

pytestmark = pytest.mark.asyncio

ARN = "arn:aws:lambda:eu-west-1:123456789012:function"
PLACE = {"region": "eu-west-1", "account": "123456789012"}
NUMBER = "ReservedConcurrentExecutions"
TOO_MUCH = (
    "Specified ReservedConcurrentExecutions for function decreases account's "
    "UnreservedConcurrentExecution below its minimum value of [100]."
)
QUALIFIED = (
    "This operation is permitted on Lambda functions only. Aliases and versions do not support "
    "this operation. Please specify either a function name or an unqualified function ARN."
)


@pytest.fixture
def do(registry, layers, packages, clock, call):
    """Calls an operation by its name."""
    operations = (
        FunctionOperations(registry, layers, packages, clock, **PLACE),
        ConcurrencyOperations(registry, **PLACE),
    )

    async def made(operation, name="fn", **params):
        offered = next(one for one in operations if hasattr(one, operation))
        return await getattr(offered, operation)({"FunctionName": name, **params}, call)

    return made


@pytest.fixture
def put(do):
    async def made(count, name="fn"):
        return await do("PutFunctionConcurrency", name, **{NUMBER: count})

    return made


@pytest.fixture
def create(do, registry):
    async def made(name="fn", **params):
        role = "arn:aws:iam::123456789012:role/r"
        least = {"Runtime": "provided.al2023", "Role": role, "Handler": "app.handler"}
        await do("CreateFunction", name, Code={"ZipFile": b"zip"}, **least, **params)
        await registry.settled()

    return made


async def test_without_a_number_nothing_is_shown(create, do):
    await create()
    assert await do("GetFunctionConcurrency") == {}
    assert "Concurrency" not in await do("GetFunction")


@pytest.mark.parametrize("count", [0, 1, 900])
async def test_a_number_is_put_and_shown(create, do, put, count):
    await create()
    assert await put(count) == {NUMBER: count}
    assert await do("GetFunctionConcurrency") == {NUMBER: count}
    assert (await do("GetFunction"))["Concurrency"] == {NUMBER: count}


async def test_a_number_is_taken_back_be_there_one_or_not(create, do, put):
    await create()
    await put(5)
    for _ in range(2):
        assert await do("DeleteFunctionConcurrency") == {}
        assert await do("GetFunctionConcurrency") == {}


async def test_an_update_leaves_it_alone(create, do, put, registry):
    await create()
    await do("UpdateFunctionConfiguration", Timeout=9)
    await put(5)
    await registry.settled()
    assert await do("GetFunctionConcurrency") == {NUMBER: 5}
    assert (await do("GetFunctionConfiguration"))["LastUpdateStatus"] == "Successful"


async def test_enough_is_left_for_the_others(create, put, refused):
    await create()
    await create("other")
    await put(500, "other")
    with pytest.raises(ApiError) as caught:
        await put(401)
    assert (caught.value.code, caught.value.message) == ("InvalidParameterValueException", TOO_MUCH)
    assert "Type" not in caught.value.members
    await put(400)
    await put(400)  # What it has itself is not counted twice.


async def test_a_missing_function_comes_before_the_number(put, do, refused):
    assert await refused(put(5_000)) == (
        "ResourceNotFoundException", f"Function not found: {ARN}:fn:$LATEST"
    )  # fmt: skip
    for operation in ("GetFunctionConcurrency", "DeleteFunctionConcurrency"):
        assert await refused(do(operation)) == (
            "ResourceNotFoundException", f"Function not found: {ARN}:fn"
        )  # fmt: skip


@pytest.mark.parametrize("name", ["fn:1", "fn:$LATEST", f"{ARN}:fn:live"])
async def test_versions_have_none_of_their_own(create, put, refused, name):
    await create(Publish=True)
    assert await refused(put(1, name)) == ("InvalidParameterValueException", QUALIFIED)


async def test_it_goes_with_its_function(create, do, put, registry):
    await create()
    await put(5)
    await do("DeleteFunction")
    assert registry.unreserved_without("") == 1_000
    await create()
    assert await do("GetFunctionConcurrency") == {}


async def test_it_is_there_after_a_restart(create, put, store, host):
    await create()
    await put(5)
    again = Registry(store, host, Account(1_000), 60.0)
    await again.start()
    assert again.reserved("fn") == 5
