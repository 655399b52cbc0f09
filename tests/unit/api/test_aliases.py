"""Aliases: created, shown, moved, shared out, deleted, and refused in AWS's words."""

import pytest

from lambdad.api.operations.aliases import AliasOperations
from lambdad.api.operations.functions import FunctionOperations
from lambdad.api.operations.versions import VersionOperations
from lambdad.invoke.account import Account
from lambdad.invoke.registry import Registry
from lambdad.model.errors import ApiError

pytestmark = pytest.mark.asyncio

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:fn"
PLACE = {"region": "eu-west-1", "account": "123456789012"}
INVALID, MISSING = "InvalidParameterValueException", "ResourceNotFoundException"
LEAST = {
    "Runtime": "provided.al2023",
    "Role": "arn:aws:iam::123456789012:role/r",
    "Handler": "app.handler",
    "Code": {"ZipFile": b"zip"},
}
HALF = {"AdditionalVersionWeights": {"2": 0.5}}


@pytest.fixture
def do(registry, layers, packages, clock, call):
    """Calls an operation by its name."""
    operations = (
        FunctionOperations(registry, layers, packages, clock, **PLACE),
        VersionOperations(registry, **PLACE),
        AliasOperations(registry, **PLACE),
    )

    async def made(operation, name="fn", **params):
        offered = next(one for one in operations if hasattr(one, operation))
        return await getattr(offered, operation)({"FunctionName": name, **params}, call)

    return made


@pytest.fixture
def published(do, registry):
    """A function with so many versions."""

    async def made(versions=2, name="fn"):
        await do("CreateFunction", name, **LEAST)
        await registry.settled()
        for number in range(versions):
            await do("UpdateFunctionConfiguration", name, Timeout=10 + number)
            await registry.settled()
            await do("PublishVersion", name)

    return made


@pytest.fixture
def create(do):
    async def made(name="live", version="1", function="fn", **params):
        return await do("CreateAlias", function, Name=name, FunctionVersion=version, **params)

    return made


@pytest.fixture
def update(do):
    async def made(name="live", **params):
        return await do("UpdateAlias", Name=name, **params)

    return made


# --- created and shown --------------------------------------------------------------------


async def test_an_alias_is_created_and_shown(published, create, do):
    await published()
    created = await create()
    assert created == {
        "AliasArn": f"{ARN}:live",
        "Name": "live",
        "FunctionVersion": "1",
        "Description": "",
        "RevisionId": created["RevisionId"],
    }
    assert await do("GetAlias", Name="live") == created
    full = await create("next", "2", Description="d", RoutingConfig={
        "AdditionalVersionWeights": {"1": 0.25}
    })  # fmt: skip
    assert (full["Description"], full["FunctionVersion"]) == ("d", "2")
    assert full["RoutingConfig"] == {"AdditionalVersionWeights": {"1": 0.25}}
    assert full["RevisionId"] != created["RevisionId"]


@pytest.mark.parametrize("routing", [{}, {"AdditionalVersionWeights": {}}])
async def test_a_routing_that_is_empty_is_none(published, create, routing):
    await published()
    assert "RoutingConfig" not in await create(RoutingConfig=routing)


async def test_an_alias_may_point_to_latest(published, create):
    await published()
    assert (await create(version="$LATEST"))["FunctionVersion"] == "$LATEST"


async def test_aliases_leave_functions_and_versions_as_they_are(published, create, do):
    await published()
    before = [await do("GetFunctionConfiguration", Qualifier=one) for one in ("1", "$LATEST")]
    await create()
    after = [await do("GetFunctionConfiguration", Qualifier=one) for one in ("1", "$LATEST")]
    assert after == before


async def test_a_function_is_shown_by_its_alias(published, create, do):
    await published()
    await create()
    shown = await do("GetFunctionConfiguration", Qualifier="live")
    assert (shown["FunctionArn"], shown["Version"], shown["Timeout"]) == (f"{ARN}:live", "1", 10)
    configuration = (await do("GetFunction", "fn:live"))["Configuration"]
    assert configuration == shown


async def test_aliases_are_listed_by_name_and_in_pages(published, create, do):
    await published()
    for name in ("b", "a", "c"):
        await create(name)
    first = await do("ListAliases", MaxItems=2)
    assert [one["Name"] for one in first["Aliases"]] == ["a", "b"]
    rest = await do("ListAliases", Marker=first["NextMarker"])
    assert [one["Name"] for one in rest["Aliases"]] == ["c"]
    assert "NextMarker" not in rest


async def test_of_a_version_those_are_listed_that_invoke_it(published, create, do):
    await published()
    await create("both", "1", RoutingConfig=HALF)
    await create("second", "2")
    names = {}
    for version in ("1", "2", "$LATEST"):
        listed = await do("ListAliases", FunctionVersion=version)
        names[version] = [one["Name"] for one in listed["Aliases"]]
    assert names == {"1": ["both"], "2": ["both", "second"], "$LATEST": []}


# --- changed ------------------------------------------------------------------------------


async def test_what_an_update_does_not_name_stays(published, create, update):
    await published()
    created = await create(Description="d", RoutingConfig=HALF)
    moved = await update(Description="e")
    assert moved == {**created, "Description": "e", "RevisionId": moved["RevisionId"]}
    same = await update()
    assert same["RevisionId"] not in (moved["RevisionId"], created["RevisionId"])


async def test_an_update_moves_it_and_an_empty_routing_removes_what_there_was(
    published, create, update, registry
):
    await published(3)
    await create(RoutingConfig=HALF)
    moved = await update(FunctionVersion="3", RoutingConfig={})
    assert (moved["FunctionVersion"], "RoutingConfig" in moved) == ("3", False)
    assert registry.drawn("fn", "live").version == "3"


async def test_an_update_is_of_what_was_read(published, create, update, refused):
    await published()
    created = await create()
    assert await refused(update(RevisionId="another")) == (
        "PreconditionFailedException",
        (
            "The Revision Id provided does not match the latest Revision Id. Call the "
            "GetFunction/GetAlias API to retrieve the latest Revision Id"
        ),
    )
    await update(RevisionId=created["RevisionId"])


async def test_invocations_are_shared_out(published, create, registry):
    await published()
    await create(RoutingConfig={"AdditionalVersionWeights": {"2": 0.25}})
    lots = [0.0, 0.24, 0.25, 0.99]
    registry.aliases._lot = lambda: lots.pop(0)
    drawn = [registry.drawn("fn", "live").version for _ in range(4)]
    assert drawn == ["2", "2", "1", "1"]
    assert registry.qualified("fn", "live").version == "1"


# --- deleted ------------------------------------------------------------------------------


async def test_an_alias_is_deleted_be_there_one_or_not(published, create, do, refused):
    await published()
    await create()
    for _ in range(2):
        assert await do("DeleteAlias", Name="live") == {}
    assert await refused(do("GetAlias", Name="live")) == (
        MISSING, f"Cannot find alias arn: {ARN}:live"
    )  # fmt: skip


async def test_a_version_that_an_alias_invokes_is_not_deleted(published, create, do, refused):
    await published(3)
    await create("b", "1", RoutingConfig=HALF)
    await create("a", "1")
    begins = "Unable to delete version because the following aliases reference it: "
    for version, aliases in (("1", "[a, b]"), ("2", "[b]")):
        assert await refused(do("DeleteFunction", Qualifier=version)) == (
            "ResourceConflictException", begins + aliases
        )  # fmt: skip
    await do("DeleteFunction", Qualifier="3")
    await do("DeleteAlias", Name="b")
    await do("DeleteFunction", Qualifier="2")


async def test_an_alias_is_not_deleted_as_a_function(published, create, do, refused):
    await published()
    await create()
    assert await refused(do("DeleteFunction", Qualifier="live")) == (
        INVALID, "Deletion of aliases is not currently supported."
    )  # fmt: skip


async def test_aliases_go_with_their_function(published, create, do, registry):
    await published()
    await create()
    await do("DeleteFunction")
    await published()
    assert (await do("ListAliases"))["Aliases"] == []
    assert registry.drawn("fn", "live") is None


async def test_aliases_are_there_after_a_restart(published, create, store, host):
    await published()
    await create(RoutingConfig={"AdditionalVersionWeights": {"2": 1.0}})
    again = Registry(store, host, Account(10), 60.0)
    await again.start()
    assert again.qualified("fn", "live").version == "1"
    assert again.drawn("fn", "live").version == "2"


# --- refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "weights", "message"),
    [
        (
            "1", {"2": 0.1, "3": 0.1},
            "Number of items in AdditionalVersionWeights cannot be greater than 1",
        ),
        (
            "1", {"1": 0.5},
            ("Invalid function version 1. Function version 1 is already included in routing "
            "configuration."),
        ),
        (
            "$LATEST", {"1": 0.5},
            "$LATEST is not supported for an alias pointing to more than 1 version",
        ),
    ],
)  # fmt: skip
async def test_what_cannot_be_pointed_to(published, create, *, version, weights, message):
    await published(3)
    with pytest.raises(ApiError) as caught:
        await create(version=version, RoutingConfig={"AdditionalVersionWeights": weights})
    assert (caught.value.code, caught.value.message) == (INVALID, message)
    assert ("Type" in caught.value.members) == (version != "$LATEST")


@pytest.mark.parametrize("params", [
    {"FunctionVersion": "10"}, {"RoutingConfig": {"AdditionalVersionWeights": {"10": 0.1}}}
])  # fmt: skip
async def test_what_is_missing_is_named(published, create, update, *, do, refused, params):
    await published()
    missing = (MISSING, f"Function not found: {ARN}:10")
    least = {"Name": "live", "FunctionVersion": "1"}
    assert await refused(do("CreateAlias", **{**least, **params})) == missing
    await create()
    assert await refused(update(**params)) == missing


async def test_a_missing_function_is_named_with_the_version(create, do, refused):
    assert await refused(create()) == (MISSING, f"Function not found: {ARN}:1")
    assert await refused(do("ListAliases")) == (MISSING, f"Function not found: {ARN}")
    assert await do("DeleteAlias", Name="live") == {}


async def test_a_missing_alias_is_not_updated(published, update, refused):
    await published()
    assert await refused(update()) == (MISSING, f"Alias not found: {ARN}:live")


async def test_a_name_is_taken_once(published, create, refused):
    await published()
    await create()
    taken = ("ResourceConflictException", f"Alias already exists: {ARN}:live")
    assert await refused(create(version="2")) == taken


async def test_of_two_at_once_one_is_told_why_not(published, create, do, store, refused):
    await published()
    store.named["fn", "live"] = "somebody else's"
    assert await refused(create()) == (MISSING, f"Function not found: {ARN}:1")


async def test_what_changed_meanwhile_is_not_overwritten(published, create, update, store, refused):
    await published()
    await create()
    del store.named["fn", "live"]
    code, message = await refused(update())
    assert code == "ResourceConflictException"
    assert message.endswith(f"An update is in progress for resource: {ARN}:live")


@pytest.mark.parametrize("operation", ["UpdateFunctionConfiguration", "PublishVersion"])
async def test_a_function_is_not_updated_by_an_alias(published, create, do, refused, operation):
    await published()
    await create()
    assert await refused(do(operation, "fn:live")) == (
        MISSING, f"Function not found: {ARN}:live"
    )  # fmt: skip


async def test_an_invocation_by_an_alias_goes_where_that_points(
    published, create, registry, monkeypatch
):
    async def run(pool, invocation):
        return pool.function.version, invocation

    monkeypatch.setattr("lambdad.invoke.pool.Pool.invoke", run)
    await published()
    await create(RoutingConfig={"AdditionalVersionWeights": {"2": 0.25}})
    lots = [0.1, 0.9]
    registry.aliases._lot = lambda: lots.pop(0)
    ran = [await registry.invoke("fn", number, "live") for number in range(2)]
    assert ran == [("2", 0), ("1", 1)]
    with pytest.raises(ApiError, match=f"Function not found: {ARN}:gone"):
        await registry.invoke("fn", 2, "gone")
