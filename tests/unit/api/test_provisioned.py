"""Provisioned concurrency: put, shown, deleted, and refused in AWS's words."""

import asyncio

import pytest
import pytest_asyncio

from lambdad.api.operations.aliases import AliasOperations
from lambdad.api.operations.concurrency import ConcurrencyOperations
from lambdad.api.operations.functions import FunctionOperations
from lambdad.api.operations.provisioned import ProvisionedOperations
from lambdad.api.operations.versions import VersionOperations
from lambdad.invoke.account import Allocation
from lambdad.model.errors import ApiError

pytestmark = pytest.mark.asyncio

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:fn"
PLACE = {"region": "eu-west-1", "account": "123456789012"}
INVALID, MISSING = "InvalidParameterValueException", "ResourceNotFoundException"
CONFLICT = "ResourceConflictException"
LEAST = {
    "Runtime": "provided.al2023",
    "Role": "arn:aws:iam::123456789012:role/r",
    "Handler": "app.handler",
    "Code": {"ZipFile": b"zip"},
}
RESERVED, PROVISIONED = "ReservedConcurrentExecutions", "ProvisionedConcurrentExecutions"
UNPUBLISHED = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
NEITHER = "The function resource provided must be an alias or a published version."


def shown(requested, allocated, status, **more):
    return {
        "RequestedProvisionedConcurrentExecutions": requested,
        "AllocatedProvisionedConcurrentExecutions": allocated,
        "AvailableProvisionedConcurrentExecutions": allocated,
        "Status": status,
        "LastModified": "2026-11-21T09:30:00.123+0000",
        **more,
    }


class Pools:
    """Pools of which nothing is made; the test says how far they are."""

    def __init__(self):
        self.counts, self.told = {}, {}

    def pool(self, name, version):
        return self if version in self.told else None

    async def pool_of(self, name, version):
        self.asked = version
        return self

    def provision(self, count, told):
        self.counts[self.asked] = count
        self.told[self.asked] = told

    def tell(self, version, allocated, failed=None):
        allocation = Allocation(self.counts[version], allocated, allocated, failed)
        self.told[version](allocation)


@pytest.fixture
def pools(registry):
    registry.provisioning._pools = Pools()
    return registry.provisioning._pools


@pytest.fixture
def do(registry, layers, packages, clock, call):
    """Calls an operation by its name."""
    operations = (
        FunctionOperations(registry, layers, packages, clock, **PLACE),
        VersionOperations(registry, **PLACE),
        AliasOperations(registry, **PLACE),
        ConcurrencyOperations(registry, **PLACE),
        ProvisionedOperations(registry, clock, **PLACE),
    )

    async def made(operation, name="fn", **params):
        offered = next(one for one in operations if hasattr(one, operation))
        return await getattr(offered, operation)({"FunctionName": name, **params}, call)

    return made


@pytest.fixture
def publish(do, registry):
    """Creates a function with two versions."""

    async def made(name="fn", **more):
        await do("CreateFunction", name, **{**LEAST, **more})
        await registry.settled()
        await do("PublishVersion", name)
        await do("UpdateFunctionConfiguration", name, Timeout=10)
        await registry.settled()
        await do("PublishVersion", name)

    return made


@pytest_asyncio.fixture
async def published(publish, pools, do):
    """The same, and an alias ``live`` of version 1."""
    await publish()
    await do("CreateAlias", Name="live", FunctionVersion="1")


@pytest.fixture
def put(do):
    async def made(qualifier, count=3, name="fn"):
        operation = "PutProvisionedConcurrencyConfig"
        return await do(operation, name, Qualifier=qualifier, **{PROVISIONED: count})

    return made


def slowly(store, monkeypatch, deed):
    """Others go on before this deed of the store is done."""
    do_it = getattr(store, deed)

    async def later(*values):
        for _ in range(3):
            await asyncio.sleep(0)
        return await do_it(*values)

    monkeypatch.setattr(store, deed, later)


@pytest.fixture
def get(do):
    async def made(qualifier):
        return await do("GetProvisionedConcurrencyConfig", Qualifier=qualifier)

    return made


# --- put and shown ------------------------------------------------------------------------


@pytest.mark.parametrize("qualifier", ["1", "live"])
async def test_it_is_put_and_shown(published, put, get, *, pools, registry, qualifier):
    assert await put(qualifier) == shown(3, 0, "IN_PROGRESS")
    await registry.settled()
    assert await get(qualifier) == shown(3, 0, "IN_PROGRESS")
    assert pools.counts == {"1": 3}
    pools.tell("1", 3)
    assert await get(qualifier) == shown(3, 3, "READY")


async def test_a_failure_comes_with_its_reason(published, put, get, pools, registry):
    await put("1")
    await registry.settled()
    pools.tell("1", 0, "FUNCTION_ERROR_INIT_FAILURE")
    assert await get("1") == shown(3, 0, "FAILED", StatusReason="FUNCTION_ERROR_INIT_FAILURE")


async def test_all_of_a_function_are_listed_with_their_arns_and_in_pages(published, put, do):
    listing = "ListProvisionedConcurrencyConfigs"
    assert await do(listing) == {"ProvisionedConcurrencyConfigs": []}
    await put("live")
    await put("2", 1)
    first = await do(listing, MaxItems=1)
    assert first["ProvisionedConcurrencyConfigs"] == [
        shown(1, 0, "IN_PROGRESS", FunctionArn=f"{ARN}:2")
    ]
    rest = await do(listing, Marker=first["NextMarker"])
    assert rest == {
        "ProvisionedConcurrencyConfigs": [shown(3, 0, "IN_PROGRESS", FunctionArn=f"{ARN}:live")]
    }


async def test_it_is_deleted_be_there_any_or_not(
    published, put, get, *, do, refused, registry, pools
):
    await put("1")
    await registry.settled()
    for _ in range(2):
        assert await do("DeleteProvisionedConcurrencyConfig", Qualifier="1") == {}
    assert pools.counts == {"1": 0}
    assert await refused(get("1")) == (
        "ProvisionedConcurrencyConfigNotFoundException",
        "No Provisioned Concurrency Config found for this function",
    )


async def test_it_moves_with_its_alias(published, put, get, *, do, registry, pools):
    await put("live")
    await registry.settled()
    pools.tell("1", 3)
    await do("UpdateAlias", Name="live", FunctionVersion="2")
    await registry.settled()
    assert await get("live") == shown(3, 3, "IN_PROGRESS")
    pools.tell("2", 3)
    assert await get("live") == shown(3, 3, "READY")


async def test_it_goes_with_its_alias(published, put, get, do, refused):
    await put("live")
    await do("DeleteAlias", Name="live")
    await do("CreateAlias", Name="live", FunctionVersion="1")
    code, _ = await refused(get("live"))
    assert code == "ProvisionedConcurrencyConfigNotFoundException"
    await put("1")


async def test_it_goes_with_its_version(published, put, do):
    await put("2")
    await do("DeleteFunction", Qualifier="2")
    listed = await do("ListProvisionedConcurrencyConfigs")
    assert listed == {"ProvisionedConcurrencyConfigs": []}


async def test_it_goes_with_its_function(published, put, do, registry):
    await put("1", 900)
    await do("DeleteFunction")
    assert registry.unreserved_without("") == 1_000


# --- refused: what is named ---------------------------------------------------------------


async def test_latest_has_none(published, put, get, do, refused):
    assert await refused(put("$LATEST")) == (INVALID, UNPUBLISHED)
    assert await refused(get("$LATEST")) == (INVALID, NEITHER)
    deleting = do("DeleteProvisionedConcurrencyConfig", Qualifier="$LATEST")
    assert await refused(deleting) == (INVALID, NEITHER)
    await do("CreateAlias", Name="newest", FunctionVersion="$LATEST")
    assert await refused(put("newest")) == (INVALID, UNPUBLISHED)


@pytest.mark.parametrize("name", ["fn", "nobody"])
async def test_what_is_missing_is_named(published, put, refused, name):
    arn = ARN.replace(":fn", f":{name}")
    assert await refused(put("gone", name=name)) == (MISSING, f"Cannot find alias arn: {arn}:gone")
    assert await refused(put("10", name=name)) == (MISSING, f"Function not found: {arn}:10")


async def test_of_a_missing_function_nothing_is_listed(do, refused):
    assert await refused(do("ListProvisionedConcurrencyConfigs")) == (
        MISSING, f"Function not found: {ARN}"
    )  # fmt: skip


async def test_a_version_has_it_once(published, put, do, refused):
    by_alias = "Version is pointed by a Provisioned Concurrency alias"
    already = (
        "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned "
        "version"
    )
    await put("live")
    assert await refused(put("1")) == (CONFLICT, by_alias)
    await do("CreateAlias", Name="other", FunctionVersion="1")
    assert await refused(put("other")) == (CONFLICT, already)
    await put("live", 5)
    await put("2")
    assert await refused(do("UpdateAlias", Name="live", FunctionVersion="2")) == (CONFLICT, already)
    await do("UpdateAlias", Name="live", Description="moved nowhere")


async def test_of_two_who_ask_at_once_one_has_it(published, store, put, do, monkeypatch):
    await do("CreateAlias", Name="other", FunctionVersion="1")
    slowly(store, monkeypatch, "provision_concurrency")
    answers = await asyncio.gather(put("live"), put("other"), put("1"), return_exceptions=True)
    refusals = [answer.code for answer in answers if isinstance(answer, ApiError)]
    assert refusals == [CONFLICT, CONFLICT]


async def test_what_is_deleted_while_it_is_put_leaves_nothing(
    published, store, put, do, monkeypatch
):
    slowly(store, monkeypatch, "provision_concurrency")
    slowly(store, monkeypatch, "delete_alias")
    await asyncio.gather(do("DeleteAlias", Name="live"), put("live"), return_exceptions=True)
    assert store.provisioned == {}
    listed = await do("ListProvisionedConcurrencyConfigs")
    assert listed == {"ProvisionedConcurrencyConfigs": []}


async def test_an_alias_that_has_it_does_not_move_to_latest(published, put, do, refused):
    await put("live")
    moving = do("UpdateAlias", Name="live", FunctionVersion="$LATEST")
    assert await refused(moving) == (INVALID, UNPUBLISHED)


async def test_an_alias_that_is_shared_out_has_none(published, put, do, refused):
    routing = {"AdditionalVersionWeights": {"2": 0.5}}
    await do("UpdateAlias", Name="live", RoutingConfig=routing)
    assert await refused(put("live")) == (
        INVALID, "Alias with weights can not be used with Provisioned Concurrency"
    )  # fmt: skip


async def test_a_version_that_is_not_active_has_none(published, put, do, refused, registry):
    await do("UpdateFunctionCode", ZipFile=b"other", Publish=True)
    code, message = await refused(put("3"))
    assert (code, message.rpartition(" ")[2]) == (CONFLICT, "Pending")
    await registry.settled()
    await put("3")


async def test_what_excludes_it_is_said(publish, pools, put, refused):
    await publish("snap", SnapStart={"ApplyOn": "PublishedVersions"})
    arn = "arn:aws:lambda:eu-west-1:123456789012:capacity-provider:p"
    capacity = {"LambdaManagedInstancesCapacityProviderConfig": {"CapacityProviderArn": arn}}
    await publish("managed", CapacityProviderConfig=capacity)
    for name, why in (("snap", "SnapStart"), ("managed", "a capacity provider")):
        code, message = await refused(put("1", name=name))
        assert (code, message.endswith(why)) == (INVALID, True)


# --- refused: how many --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (
            1_001,
            (
                "Specified ConcurrentExecutions for function is greater than account's unreserved "
                "concurrency [1000]."
            ),
        ),
        (
            901,
            (
                "Specified ConcurrentExecutions for function decreases account's "
                "UnreservedConcurrentExecution below its minimum value of [100]."
            ),
        ),
    ],
)
async def test_the_account_has_so_many(published, put, count, message):
    with pytest.raises(ApiError) as caught:
        await put("1", count)
    assert (caught.value.code, caught.value.message) == (INVALID, message)
    assert "Type" not in caught.value.members
    await put("1", 900)
    await put("1", 900)  # What it has itself is not counted twice.


async def test_what_others_have_is_theirs(published, publish, put, refused):
    await publish("other")
    await put("1", 400, "other")
    await put("1", 300)
    code, message = await refused(put("2", 201))
    assert (code, message.partition(" function ")[2][:9]) == (INVALID, "decreases")
    await put("2", 200)


async def test_a_function_has_no_more_than_it_has_reserved(published, put, do, refused):
    await do("PutFunctionConcurrency", **{RESERVED: 5})
    await put("1", 3)
    too_much = (
        "Requested Provisioned Concurrency should not be greater than the "
        "reservedConcurrentExecution for function"
    )
    assert await refused(put("2", 3)) == (INVALID, too_much)
    await put("2", 2)


async def test_no_less_is_reserved_than_is_provisioned(published, put, do):
    await put("1", 2)
    with pytest.raises(ApiError) as caught:
        await do("PutFunctionConcurrency", **{RESERVED: 1})
    assert (caught.value.code, caught.value.message) == (
        INVALID,
        (
            " ReservedConcurrentExecutions  1 should not be lower than function's total "
            "provisioned concurrency [2]."
        ),
    )
    assert "Type" not in caught.value.members
    await do("PutFunctionConcurrency", **{RESERVED: 2})


async def test_what_is_reserved_leaves_what_others_have_provisioned(
    published, publish, put, do, refused
):
    await publish("other")
    await put("1", 800, "other")
    code, message = await refused(do("PutFunctionConcurrency", **{RESERVED: 101}))
    assert (code, message.partition(" function ")[2][:9]) == (INVALID, "decreases")
    await do("PutFunctionConcurrency", **{RESERVED: 100})
