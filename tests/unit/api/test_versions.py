"""Published versions: numbered, frozen, named by qualifiers, and deleted."""

import pytest

from lambdad.api.operations.functions import FunctionOperations
from lambdad.api.operations.versions import VersionOperations
from lambdad.invoke.account import Account
from lambdad.invoke.registry import Registry

pytestmark = pytest.mark.asyncio

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:fn"
PLACE = {"region": "eu-west-1", "account": "123456789012"}
INVALID = "InvalidParameterValueException"
LEAST = {
    "Runtime": "provided.al2023",
    "Role": "arn:aws:iam::123456789012:role/r",
    "Handler": "app.handler",
    "Code": {"ZipFile": b"zip"},
}
STATES = {"State", "StateReason", "StateReasonCode", "LastUpdateStatus"}


@pytest.fixture
def do(registry, layers, packages, clock, call):
    """Calls an operation by its name."""
    operations = (
        FunctionOperations(registry, layers, packages, clock, **PLACE),
        VersionOperations(registry, **PLACE),
    )

    async def made(operation, name="fn", **params):
        offered = next(one for one in operations if hasattr(one, operation))
        return await getattr(offered, operation)({"FunctionName": name, **params}, call)

    return made


@pytest.fixture
def create(do, registry):
    async def made(name="fn", **params):
        answer = await do("CreateFunction", name, **{**LEAST, **params})
        await registry.settled()
        return answer

    return made


@pytest.fixture
def update(do, registry):
    """A change of code or configuration, waited for."""

    async def made(**params):
        operation = "UpdateFunctionCode" if "ZipFile" in params else "UpdateFunctionConfiguration"
        answer = await do(operation, **params)
        await registry.settled()
        return answer

    return made


async def versions_of(do, **params):
    return [one["Version"] for one in (await do("ListVersionsByFunction", **params))["Versions"]]


# --- publishing ---------------------------------------------------------------------------


async def test_a_published_version_is_numbered_qualified_and_active(create, do):
    await create(Description="mine", Tags={"a": "b"})
    answer = await do("PublishVersion")
    assert (answer["Version"], answer["FunctionArn"]) == ("1", f"{ARN}:1")
    assert (answer["State"], answer["LastUpdateStatus"]) == ("Active", "Successful")
    assert answer["Description"] == "mine"
    assert "StateReason" not in answer


async def test_a_version_may_have_a_description_of_its_own(create, do):
    await create(Description="mine")
    assert (await do("PublishVersion", Description="first"))["Description"] == "first"
    assert (await do("GetFunctionConfiguration"))["Description"] == "mine"


async def test_nothing_new_makes_no_new_version(create, do):
    await create()
    first = await do("PublishVersion", Description="first")
    before = await do("GetFunctionConfiguration")
    assert await do("PublishVersion", Description="ignored") == first
    assert await do("GetFunctionConfiguration") == before


@pytest.mark.parametrize("change", [{"ZipFile": b"other"}, {"Timeout": 9}, {"MemorySize": 256}])
async def test_what_has_changed_makes_a_new_version(create, update, do, change):
    await create()
    await do("PublishVersion")
    await update(**change)
    assert (await do("PublishVersion"))["Version"] == "2"


async def test_what_was_changed_back_is_nothing_new(create, update, do):
    await create()
    await do("PublishVersion")
    await update(Timeout=9)
    await update(Timeout=3)
    assert (await do("PublishVersion"))["Version"] == "1"


async def test_revisions_are_the_versions_own_and_latest_gets_a_new_one(create, do):
    await create()
    before = (await do("GetFunctionConfiguration"))["RevisionId"]
    version = await do("PublishVersion")
    after = (await do("GetFunctionConfiguration"))["RevisionId"]
    assert len({before, after, version["RevisionId"]}) == 3
    shown = await do("GetFunctionConfiguration", Qualifier="1")
    assert shown["RevisionId"] == version["RevisionId"]


async def test_a_version_is_frozen(create, update, do):
    await create(Environment={"Variables": {"A": "1"}})
    published = await do("PublishVersion")
    await update(Environment={"Variables": {"A": "2"}}, Description="new")
    await update(ZipFile=b"other")
    assert await do("GetFunctionConfiguration", Qualifier="1") == published
    assert (await do("GetFunction", "fn:1"))["Configuration"] == published


async def test_only_the_code_that_was_seen_is_published(create, do, refused):
    shown = await create()
    current = shown["CodeSha256"]
    assert await refused(do("PublishVersion", CodeSha256="other")) == (
        INVALID,
        (
            f"CodeSHA256 (other) is different from current CodeSHA256 in $LATEST ({current}). "
            "Please try again with the CodeSHA256 in $LATEST."
        ),
    )
    assert (await do("PublishVersion", CodeSha256=current))["Version"] == "1"


async def test_only_the_revision_that_was_seen_is_published(create, do, refused):
    await create()
    code, _ = await refused(do("PublishVersion", RevisionId="other"))
    assert code == "PreconditionFailedException"
    revision = (await do("GetFunctionConfiguration"))["RevisionId"]
    assert (await do("PublishVersion", RevisionId=revision))["Version"] == "1"


async def test_during_an_update_nothing_is_published(create, do, refused):
    await create()
    await do("UpdateFunctionConfiguration", Timeout=9)
    code, message = await refused(do("PublishVersion"))
    assert code == "ResourceConflictException"
    assert message.endswith(f"An update is in progress for resource: {ARN}")


async def test_of_a_function_that_there_is_not_nothing_is_published(do, refused):
    for operation in ("PublishVersion", "ListVersionsByFunction"):
        assert await refused(do(operation)) == (
            "ResourceNotFoundException", f"Function not found: {ARN}"
        )  # fmt: skip


async def test_a_function_may_be_created_with_a_version(do, registry):
    answer = await do("CreateFunction", **LEAST, Publish=True)
    assert (answer["Version"], answer["FunctionArn"], answer["State"]) == ("1", ARN, "Pending")
    await registry.settled()
    first = await do("GetFunctionConfiguration", Qualifier="1")
    latest = await do("GetFunctionConfiguration")
    assert (first["State"], latest["State"]) == ("Active", "Active")
    assert first["RevisionId"] == answer["RevisionId"] != latest["RevisionId"]


async def test_an_update_may_publish(create, do, registry):
    await create()
    answer = await do("UpdateFunctionCode", ZipFile=b"other", Publish=True)
    assert (answer["Version"], answer["FunctionArn"]) == ("1", f"{ARN}:1")
    assert (answer["State"], "LastUpdateStatus" in answer) == ("Pending", False)
    shown = await do("GetFunctionConfiguration")
    assert (shown["State"], shown["LastUpdateStatus"]) == ("Active", "InProgress")
    await registry.settled()
    assert (await do("GetFunctionConfiguration", Qualifier="1"))["State"] == "Active"


async def test_a_dry_run_publishes_nothing(create, do):
    await create()
    await do("UpdateFunctionCode", ZipFile=b"other", Publish=True, DryRun=True)
    assert await versions_of(do) == ["$LATEST"]


# --- reading ------------------------------------------------------------------------------


async def test_versions_are_listed_after_latest_in_order(create, update, do):
    await create()
    for number in range(11):
        await update(Timeout=10 + number)
        await do("PublishVersion")
    expected = ["$LATEST", *map(str, range(1, 12))]
    assert await versions_of(do) == expected
    listed = (await do("ListVersionsByFunction"))["Versions"]
    assert [one["FunctionArn"] for one in listed] == [f"{ARN}:{number}" for number in expected]
    assert not STATES & listed[1].keys()


async def test_versions_come_in_pages(create, do):
    await create(Publish=True)
    first = await do("ListVersionsByFunction", MaxItems=1)
    assert [one["Version"] for one in first["Versions"]] == ["$LATEST"]
    rest = await do("ListVersionsByFunction", MaxItems=1, Marker=first["NextMarker"])
    assert [one["Version"] for one in rest["Versions"]] == ["1"]
    assert "NextMarker" not in rest


async def test_a_list_of_functions_may_show_all_versions(create, do):
    await create("b", Publish=True)
    await create("a-1")
    await create("a", Publish=True)
    listed = (await do("ListFunctions", FunctionVersion="ALL"))["Functions"]
    assert [one["FunctionArn"].rpartition("function:")[2] for one in listed] == [
        "a:$LATEST", "a:1", "a-1:$LATEST", "b:$LATEST", "b:1"
    ]  # fmt: skip
    plain = (await do("ListFunctions"))["Functions"]
    assert [one["FunctionName"] for one in plain] == ["a", "a-1", "b"]
    assert {one["Version"] for one in plain} == {"$LATEST"}


@pytest.mark.parametrize("qualifier", ["2", "live", "$latest", "$LATEST.PUBLISHED", "01"])
@pytest.mark.parametrize("operation", ["GetFunction", "GetFunctionConfiguration"])
async def test_what_a_qualifier_does_not_name_is_not_found(
    create, do, refused, operation, *, qualifier
):
    await create(Publish=True)
    assert await refused(do(operation, Qualifier=qualifier)) == (
        "ResourceNotFoundException", f"Function not found: {ARN}:{qualifier}"
    )  # fmt: skip


@pytest.mark.parametrize("operation", ["UpdateFunctionConfiguration", "PublishVersion"])
async def test_a_version_is_never_changed(create, do, refused, operation):
    await create(Publish=True)
    assert await refused(do(operation, "fn:1")) == (
        "ResourceNotFoundException", f"Function not found: {ARN}:1"
    )  # fmt: skip


async def test_a_version_shows_the_tags_of_its_function(create, do):
    await create(Publish=True, Tags={"a": "b"})
    assert (await do("GetFunction", Qualifier="1"))["Tags"] == {"a": "b"}


# --- deleting -----------------------------------------------------------------------------


async def test_only_the_version_is_deleted_and_its_number_never_given_again(create, do):
    await create(Publish=True)
    assert await do("DeleteFunction", Qualifier="1") == {"StatusCode": 204}
    assert await versions_of(do) == ["$LATEST"]
    assert (await do("PublishVersion"))["Version"] == "2"


async def test_all_versions_go_with_the_function_which_then_starts_anew(create, do):
    await create(Publish=True)
    await do("DeleteFunction")
    answer = await create(Publish=True)
    assert answer["Version"] == "1"
    assert await versions_of(do) == ["$LATEST", "1"]


async def test_code_stays_as_long_as_a_version_has_it(create, update, do, registry, host):
    await create(Publish=True)
    old = registry.find("fn").tree
    await update(ZipFile=b"other")
    assert old not in host.forgotten
    await do("DeleteFunction", Qualifier="1")
    assert old in host.forgotten


async def test_versions_are_there_after_a_restart(create, do, store, host):
    await create(Publish=True)
    await do("DeleteFunction", Qualifier="1")
    await do("PublishVersion")
    again = Registry(store, host, Account(10), 60.0)
    await again.start()
    await again.settled()
    assert [one.version for one in again.versions("fn")] == ["$LATEST", "2"]
    latest = again.find("fn")
    assert (await again.publish(latest)).version == "3"
