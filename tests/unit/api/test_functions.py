import pytest

from lambdad.api.operations import functions
from lambdad.api.operations.functions import FunctionOperations, table
from lambdad.code.archive import ArchiveTooLarge, BadArchive
from lambdad.invoke.account import Account
from lambdad.invoke.registry import Registry
from lambdad.model.errors import PlatformFault

pytestmark = pytest.mark.asyncio

ARN = "arn:aws:lambda:eu-west-1:123456789012:function"
LEAST = {
    "Runtime": "provided.al2023",
    "Role": "arn:aws:iam::123456789012:role/r",
    "Handler": "app.handler",
    "Code": {"ZipFile": b"zip"},
}
IN_PROGRESS = (
    "ResourceConflictException",
    (
        "The operation cannot be performed at this time. "
        f"An update is in progress for resource: {ARN}:fn"
    ),
)
INVALID = "InvalidParameterValueException"


@pytest.fixture
def operations(registry, layers, packages, clock):
    return FunctionOperations(
        registry, layers, packages, clock, region="eu-west-1", account="123456789012"
    )


@pytest.fixture
def do(operations, call):
    """Calls an operation by its name."""

    async def made(operation, name="fn", **params):
        return await getattr(operations, operation)({"FunctionName": name, **params}, call)

    return made


@pytest.fixture
def create(do, registry):
    async def made(name="fn", **params):
        answer = await do("CreateFunction", name, **{**LEAST, **params})
        await registry.settled()
        return answer

    return made


async def test_a_created_function_is_pending_and_then_active(do, registry):
    answer = await do("CreateFunction", **LEAST)
    assert (answer["State"], "LastUpdateStatus" in answer) == ("Pending", False)
    await registry.settled()
    shown = await do("GetFunctionConfiguration")
    assert (shown["State"], shown["LastUpdateStatus"]) == ("Active", "Successful")
    assert shown["RevisionId"] != answer["RevisionId"]


async def test_created_with_the_least_it_has_the_defaults(create):
    answer = await create()
    assert (answer["Timeout"], answer["MemorySize"]) == (3, 128)
    assert answer["EphemeralStorage"] == {"Size": 512}
    assert answer["Description"] == ""
    assert answer["CodeSize"] == 3
    assert "Environment" not in answer


@pytest.mark.parametrize("spelling", ["fn", "function:fn", f"{ARN}:fn", "123456789012:function:fn"])
async def test_only_the_name_of_a_spelling_is_kept(create, do, spelling):
    assert (await create(spelling))["FunctionName"] == "fn"
    assert (await do("GetFunction", spelling))["Configuration"]["FunctionArn"] == f"{ARN}:fn"


async def test_a_name_is_taken_once(create, do, refused):
    await create()
    assert await refused(create()) == (
        "ResourceConflictException", "Function already exist: fn"
    )  # fmt: skip
    await do("DeleteFunction")
    await create()


@pytest.mark.parametrize(
    ("params", "code", "message"),
    [
        (
            {"name": "x" * 65}, INVALID,
            (f"1 validation error detected: Value '{'x' * 65}' at 'functionName' failed to "
            "satisfy constraint: Member must have length less than or equal to 64"),
        ),
        ({"Tags": {str(n): "" for n in range(51)}}, INVALID,
         "Number of tags exceeds resource tag limit."),
        ({"PublishTo": "LATEST_PUBLISHED"}, INVALID, "PublishTo is not offered by lambdad yet."),
        ({"PackageType": "Image"}, INVALID, "PackageType Image is not offered by lambdad yet."),
        ({"Code": {"ImageUri": "a"}}, INVALID, "PackageType Image is not offered by lambdad yet."),
        ({"Code": {"S3Bucket": "b", "S3Key": "k"}}, INVALID,
         "Code from S3 is not offered by lambdad yet. Please provide ZipFile."),
        ({"Architectures": ["vax"]}, INVALID,
         (f"The architecture vax cannot run on this host, which is "
         f"{functions._OWN_ARCHITECTURE}.")),
    ],
)  # fmt: skip
async def test_a_bad_creation_is_refused_and_leaves_nothing(
    create, registry, refused, *, params, code, message
):
    assert await refused(create(**params)) == (code, message)
    assert registry.all() == []


@pytest.mark.parametrize("missing", ["Runtime", "Handler"])
async def test_runtime_and_handler_must_be_given(do, refused, missing):
    params = {name: value for name, value in LEAST.items() if name != missing}
    assert await refused(do("CreateFunction", **params)) == (
        INVALID,
        (
            "Runtime and Handler are mandatory parameters for functions created with "
            "deployment packages."
        ),
    )


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (
            BadArchive("cannot"),
            "Could not unzip uploaded file. Please check your file, then try to upload again.",
        ),
        (ArchiveTooLarge(2, 1), "Unzipped size must be smaller than 262144000 bytes"),
    ],
)
async def test_code_that_will_not_do_is_refused(
    create, blobs, registry, refused, *, refusal, message
):
    blobs.refusal = refusal
    assert await refused(create()) == (INVALID, message)
    assert registry.all() == []


async def test_a_zip_that_is_too_large_is_refused(create, refused):
    assert await refused(create(Code={"ZipFile": bytes(52_428_801)})) == (
        "RequestEntityTooLargeException", "Zipped size must be smaller than 52428800 bytes"
    )  # fmt: skip


async def test_a_function_that_cannot_run_here_fails_with_the_reason(create, do, host):
    host.refusal = PlatformFault("cannot start the zygote")
    await create()
    shown = await do("GetFunctionConfiguration")
    assert (shown["State"], shown["StateReason"]) == ("Failed", "cannot start the zygote")


async def test_getting_a_function_links_to_its_code(create, do):
    await create(Tags={"a": "b"})
    answer = await do("GetFunction")
    assert answer["Code"]["RepositoryType"] == "S3"
    assert answer["Code"]["Location"].startswith("http://127.0.0.1:3001/lambdad/code/")
    assert answer["Tags"] == {"a": "b"}


async def test_tags_are_shown_only_if_there_are_any(create, do):
    await create()
    assert "Tags" not in await do("GetFunction")


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("GetFunction", {}),
        ("GetFunctionConfiguration", {}),
        ("UpdateFunctionCode", {"ZipFile": b"zip"}),
        ("UpdateFunctionConfiguration", {"Timeout": 5}),
        ("DeleteFunction", {}),
        ("DeleteFunction", {"Qualifier": "7"}),
    ],
)
async def test_what_is_not_there_is_not_found(do, refused, operation, params):
    assert await refused(do(operation, "none", **params)) == (
        "ResourceNotFoundException", f"Function not found: {ARN}:none"
    )  # fmt: skip


@pytest.mark.parametrize("qualifier", ["7", "live", "$latest"])
async def test_a_qualifier_that_names_nothing_is_not_found(create, do, refused, qualifier):
    await create()
    assert await refused(do("GetFunction", Qualifier=qualifier)) == (
        "ResourceNotFoundException", f"Function not found: {ARN}:fn:{qualifier}"
    )  # fmt: skip


async def test_latest_is_shown_with_the_qualifier_as_given(create, do):
    await create()
    shown = await do("GetFunctionConfiguration", Qualifier="$LATEST")
    assert shown["FunctionArn"] == f"{ARN}:fn:$LATEST"


# --- updates ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("UpdateFunctionCode", {"ZipFile": b"other"}),
        ("UpdateFunctionConfiguration", {"Timeout": 5}),
        ("UpdateFunctionConfiguration", {}),
    ],
)
async def test_an_update_is_in_progress_and_then_successful(
    create, do, registry, operation, params
):
    before = await create()
    answer = await do(operation, **params)
    assert (answer["State"], answer["LastUpdateStatus"]) == ("Active", "InProgress")
    assert answer["FunctionArn"] == f"{ARN}:fn"
    await registry.settled()
    after = await do("GetFunctionConfiguration")
    assert after["LastUpdateStatus"] == "Successful"
    assert len({shown["RevisionId"] for shown in (before, answer, after)}) == 3


async def test_what_an_update_does_not_name_stays(create, do):
    await create(Description="d", Environment={"Variables": {"A": "b"}}, MemorySize=256)
    answer = await do("UpdateFunctionConfiguration", Timeout=9)
    assert (answer["Timeout"], answer["MemorySize"], answer["Description"]) == (9, 256, "d")
    assert answer["Environment"] == {"Variables": {"A": "b"}}


async def test_new_code_has_a_new_digest(create, do):
    before = await create()
    answer = await do("UpdateFunctionCode", ZipFile=b"other")
    assert answer["CodeSha256"] != before["CodeSha256"]
    assert answer["CodeSize"] == 5


async def test_a_dry_run_shows_but_changes_nothing(create, do):
    await create()
    answer = await do("UpdateFunctionCode", ZipFile=b"other", DryRun=True)
    assert answer["CodeSize"] == 5
    assert (await do("GetFunctionConfiguration"))["CodeSize"] == 3


@pytest.mark.parametrize("operation", ["UpdateFunctionCode", "UpdateFunctionConfiguration"])
async def test_while_an_update_runs_there_is_no_other(create, do, refused, operation):
    await create()
    await do("UpdateFunctionConfiguration", Timeout=5)
    assert await refused(do(operation, ZipFile=b"other")) == IN_PROGRESS


async def test_while_it_is_created_it_is_not_updated(do, refused):
    await do("CreateFunction", **LEAST)
    assert await refused(do("UpdateFunctionConfiguration", Timeout=5)) == IN_PROGRESS


async def test_an_update_of_another_revision_is_refused(create, do, refused):
    await create()
    revision = (await do("GetFunctionConfiguration"))["RevisionId"]
    assert await refused(do("UpdateFunctionConfiguration", RevisionId="other")) == (
        "PreconditionFailedException",
        (
            "The Revision Id provided does not match the latest Revision Id. Call the "
            "GetFunction/GetAlias API to retrieve the latest Revision Id"
        ),
    )
    await do("UpdateFunctionConfiguration", RevisionId=revision)


async def test_an_update_that_cannot_run_here_fails_and_the_old_stays_active(
    create, do, host, registry
):
    await create()
    host.refusal = PlatformFault("cannot start the zygote")
    await do("UpdateFunctionConfiguration", Timeout=5)
    await registry.settled()
    shown = await do("GetFunctionConfiguration")
    assert (shown["State"], shown["LastUpdateStatus"]) == ("Active", "Failed")
    assert shown["LastUpdateStatusReason"] == "cannot start the zygote"


async def test_an_image_for_a_zip_is_refused(create, do, refused):
    await create()
    assert await refused(do("UpdateFunctionCode", ImageUri="a")) == (
        INVALID, "Please don't provide ImageUri when updating a function with packageType Zip."
    )  # fmt: skip


# --- deletion and lists -------------------------------------------------------------------


async def test_a_deleted_function_is_gone(create, do, refused):
    await create()
    assert await do("DeleteFunction") == {"StatusCode": 204}
    assert (await refused(do("GetFunction")))[0] == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("qualifier", "code", "message"),
    [
        ("$LATEST", INVALID, "$LATEST version cannot be deleted without deleting the function."),
        ("7", "ResourceNotFoundException", f"Function not found: {ARN}:fn:7"),
        ("live", INVALID, "Deletion of aliases is not currently supported."),
    ],
)
async def test_a_qualifier_deletes_nothing_else(create, do, refused, *, qualifier, code, message):
    await create()
    assert await refused(do("DeleteFunction", Qualifier=qualifier)) == (code, message)
    await do("GetFunction")


async def test_a_function_that_was_deleted_while_it_was_deployed_stays_deleted(do, registry, store):
    await do("CreateFunction", **LEAST)
    await do("DeleteFunction")
    await registry.settled()
    assert store.kept == {}
    assert registry.all() == []


async def list_pages(operations, call, **params):
    pages, marker = [], {}
    while True:
        answer = await operations.ListFunctions({**params, **marker}, call)
        pages.append([function["FunctionName"] for function in answer["Functions"]])
        if "NextMarker" not in answer:
            return pages
        marker = {"Marker": answer["NextMarker"]}


async def test_lists_are_in_order_and_whole_whatever_the_size_of_a_page(create, operations, call):
    names = ["b", "B", "a", "a-1", "z_"]
    for name in names:
        await create(name)
    for items in (1, 2, 5, 50, 10_000):
        pages = await list_pages(operations, call, MaxItems=items)
        assert [name for page in pages for name in page] == sorted(names)
        assert all(0 < len(page) <= items for page in pages)


async def test_a_page_holds_fifty_at_most(create, operations, call):
    for number in range(51):
        await create(f"f{number}")
    assert [len(page) for page in await list_pages(operations, call)] == [50, 1]


async def test_an_empty_list_is_one_empty_page(operations, call):
    assert await list_pages(operations, call) == [[]]


async def test_a_list_shows_no_states(create, operations, call):
    await create()
    [shown] = (await operations.ListFunctions({}, call))["Functions"]
    assert not {"State", "LastUpdateStatus"} & shown.keys()
    assert shown["FunctionArn"] == f"{ARN}:fn"


async def test_a_list_of_all_versions_has_qualified_arns(create, operations, call):
    await create()
    [shown] = (await operations.ListFunctions({"FunctionVersion": "ALL"}, call))["Functions"]
    assert shown["FunctionArn"] == f"{ARN}:fn:$LATEST"


@pytest.mark.parametrize("marker", ["a", "_w=="])
async def test_a_marker_that_was_never_given_is_refused(operations, call, refused, marker):
    code, _ = await refused(operations.ListFunctions({"Marker": marker}, call))
    assert code == INVALID


async def test_what_is_recorded_is_served_after_a_restart(create, store, host):
    await create()
    again = Registry(store, host, Account(10), 60.0)
    await again.start()
    await again.settled()
    assert [function.name for function in again.all()] == ["fn"]
    assert again.trees() == {again.find("fn").tree}


async def test_operations_bear_the_models_names(operations):
    assert set(table(operations)) == {
        "CreateFunction",
        "DeleteFunction",
        "GetFunction",
        "GetFunctionConfiguration",
        "ListFunctions",
        "UpdateFunctionCode",
        "UpdateFunctionConfiguration",
    }
