"""Layers: published, shown, asked for by functions, and deleted."""

import pytest

from lambdad.api.operations.functions import FunctionOperations
from lambdad.api.operations.layers import LayerOperations
from lambdad.code.archive import ArchiveTooLarge, BadArchive
from lambdad.code.layers import Layers
from lambdad.model import limits
from lambdad.model.layer import LayerVersion

pytestmark = pytest.mark.asyncio

ARN = "arn:aws:lambda:eu-west-1:123456789012:layer"
PLACE = {"region": "eu-west-1", "account": "123456789012"}
INVALID = "InvalidParameterValueException"
NO_RESOURCE = ("ResourceNotFoundException", "The resource you requested does not exist.")
LEAST = {
    "FunctionName": "fn",
    "Runtime": "provided.al2023",
    "Role": "arn:aws:iam::123456789012:role/r",
    "Handler": "app.handler",
    "Code": {"ZipFile": b"zip"},
}


@pytest.fixture
def operations(layers, packages, registry, clock):
    return LayerOperations(layers, packages, registry.forget_code, clock, **PLACE)


@pytest.fixture
def functions(registry, layers, packages, clock):
    return FunctionOperations(registry, layers, packages, clock, **PLACE)


@pytest.fixture
def do(operations, functions, call):
    """Calls an operation by its name."""

    async def made(operation, **params):
        for offered in (operations, functions):
            if hasattr(offered, operation):
                return await getattr(offered, operation)(params, call)
        raise AssertionError(operation)

    return made


@pytest.fixture
def publish(do):
    async def made(name="base", zip_file=b"layer", **params):
        content = {"ZipFile": zip_file}
        return await do("PublishLayerVersion", LayerName=name, Content=content, **params)

    return made


@pytest.fixture
def create(do, registry):
    """A function with layers by name and number."""

    async def made(*names, **params):
        asked = [f"{ARN}:{name}" for name in names]
        answer = await do("CreateFunction", **LEAST, Layers=asked, **params)
        await registry.settled()
        return answer

    return made


# --- publishing and reading ---------------------------------------------------------------


async def test_a_published_layer_shows_what_it_is(publish, blobs):
    answer = await publish(
        Description="d", LicenseInfo="MIT", CompatibleRuntimes=["python3.12"],
        CompatibleArchitectures=[],
    )  # fmt: skip
    (tree,) = blobs.held
    assert answer == {
        "LayerArn": f"{ARN}:base",
        "LayerVersionArn": f"{ARN}:base:1",
        "Version": 1,
        "Description": "d",
        "CreatedDate": "2026-11-21T09:30:00.123+0000",
        "LicenseInfo": "MIT",
        "CompatibleRuntimes": ["python3.12"],
        "CompatibleArchitectures": [],
        "Content": {
            "CodeSha256": f"base64-{tree[:4]}",
            "CodeSize": 5,
            "Location": f"http://127.0.0.1:3001/lambdad/code/{tree}.zip",
        },
    }


async def test_what_was_not_given_is_not_shown(publish):
    answer = await publish()
    assert answer["Description"] == ""
    assert not {"LicenseInfo", "CompatibleRuntimes", "CompatibleArchitectures"} & answer.keys()


@pytest.mark.parametrize("spelling", ["base", f"{ARN}:base"])
async def test_a_version_is_read_as_it_was_published(publish, do, spelling):
    published = await publish(spelling)
    assert await do("GetLayerVersion", LayerName=spelling, VersionNumber=1) == published
    assert await do("GetLayerVersionByArn", Arn=f"{ARN}:base:1") == published


async def test_numbers_are_never_given_twice(publish, do, store, blobs):
    for number in (1, 2):
        assert (await publish())["Version"] == number
        await do("DeleteLayerVersion", LayerName="base", VersionNumber=number)
    again = Layers(store, blobs)
    await again.start()
    assert (await again.publish(LayerVersion("base", 0, "", 1, "0" * 64, 1, 1.5))).version == 3


@pytest.mark.parametrize(
    ("refusal", "message"),
    [
        (BadArchive("x"),
         "Could not unzip uploaded file. Please check your file, then try to upload again."),
        (ArchiveTooLarge(2, 1), "Unzipped size must be smaller than 262144000 bytes"),
    ],
)  # fmt: skip
async def test_a_bad_zip_is_no_layer(publish, do, blobs, refused, *, refusal, message):
    blobs.refusal = refusal
    assert await refused(publish()) == (INVALID, message)
    assert await do("ListLayers") == {"Layers": []}


@pytest.mark.parametrize(
    "arn",
    [
        f"{ARN}:base:2",
        f"{ARN}:other:1",
        "arn:aws:lambda:us-east-1:123456789012:layer:base:1",
        "arn:aws:lambda:eu-west-1:210987654321:layer:base:1",
        "arn:aws:lambda:::awslayer:base",
    ],
)
async def test_a_version_that_there_is_not_is_not_found(publish, do, refused, arn):
    await publish()
    assert await refused(do("GetLayerVersionByArn", Arn=arn)) == NO_RESOURCE


async def test_of_another_region_there_is_no_layer(publish, do, refused):
    name = "arn:aws:lambda:us-east-1:123456789012:layer:base"
    assert await refused(do("GetLayerVersion", LayerName=name, VersionNumber=1)) == NO_RESOURCE
    assert await refused(publish(name)) == NO_RESOURCE


@pytest.mark.parametrize("operation", ["GetLayerVersion", "DeleteLayerVersion"])
@pytest.mark.parametrize("number", [0, -1])
async def test_numbers_begin_with_one(do, refused, operation, number):
    assert await refused(do(operation, LayerName="base", VersionNumber=number)) == (
        INVALID, "Layer Version Cannot be less than 1"
    )  # fmt: skip


# --- lists --------------------------------------------------------------------------------


async def test_versions_are_listed_the_newest_first(publish, do):
    for _ in range(11):
        await publish()
    listed = (await do("ListLayerVersions", LayerName="base"))["LayerVersions"]
    assert [layer["Version"] for layer in listed] == list(range(11, 0, -1))
    assert not {"Content", "LayerArn"} & listed[0].keys()


async def test_an_unknown_layer_has_no_versions(do):
    assert await do("ListLayerVersions", LayerName="base") == {"LayerVersions": []}


async def test_versions_come_in_pages(publish, do):
    for _ in range(5):
        await publish()
    seen, marker = [], {}
    for _ in range(3):
        answer = await do("ListLayerVersions", LayerName="base", MaxItems=2, **marker)
        seen += [layer["Version"] for layer in answer["LayerVersions"]]
        marker = {"Marker": answer.get("NextMarker")}
    assert seen == [5, 4, 3, 2, 1]
    assert marker == {"Marker": None}


async def test_layers_are_listed_by_name_with_their_newest_version(publish, do):
    for name in ("b", "a", "b"):
        await publish(name)
    listed = (await do("ListLayers"))["Layers"]
    assert [layer["LayerName"] for layer in listed] == ["a", "b"]
    assert listed[1]["LayerArn"] == f"{ARN}:b"
    assert listed[1]["LatestMatchingVersion"]["Version"] == 2


async def test_lists_show_what_is_compatible(publish, do):
    await publish("a", CompatibleRuntimes=["python3.12"], CompatibleArchitectures=["x86_64"])
    await publish("a", CompatibleRuntimes=["ruby3.3"])
    await publish("b")
    listed = (await do("ListLayers", CompatibleRuntime="python3.12"))["Layers"]
    assert [layer["LatestMatchingVersion"]["Version"] for layer in listed] == [1]
    versions = await do("ListLayerVersions", LayerName="a", CompatibleArchitecture="x86_64")
    assert [layer["Version"] for layer in versions["LayerVersions"]] == [1]
    assert (await do("ListLayers", CompatibleArchitecture="arm64"))["Layers"] == []


# --- functions with layers ----------------------------------------------------------------


async def test_a_function_shows_its_layers_in_its_order(publish, create, do, registry):
    await publish("a", b"1")
    await publish("b", b"22")
    answer = await create("b:1", "a:1")
    expected = [{"Arn": f"{ARN}:b:1", "CodeSize": 2}, {"Arn": f"{ARN}:a:1", "CodeSize": 1}]
    assert answer["Layers"] == expected
    function = registry.find("fn")
    assert len(function.layers_tree.split("+")) == 2
    assert registry.trees() == {function.tree, function.layers_tree}
    shown = await do("UpdateFunctionConfiguration", FunctionName="fn", Timeout=9)
    assert shown["Layers"] == expected


async def test_layers_are_replaced_as_a_whole_and_removed(publish, create, do, registry, host):
    await publish("a", b"1")
    await publish("b", b"22")
    await create("a:1", "b:1")
    merged = registry.find("fn").layers_tree
    answer = await do("UpdateFunctionConfiguration", FunctionName="fn", Layers=[])
    assert "Layers" not in answer
    assert registry.find("fn").layers_tree is None
    await registry.settled()
    assert merged in host.forgotten


async def test_code_that_is_replaced_meanwhile_is_there_to_be_measured(
    publish, create, do, registry, blobs
):
    await publish()
    await create()
    code, measured = registry.find("fn").tree, []

    def measure(tree):
        measured.append((tree, tree in blobs.held))
        return 1

    blobs.unzipped_bytes = measure
    await do("UpdateFunctionConfiguration", FunctionName="fn", Layers=[f"{ARN}:base:1"])
    assert measured == [(code, True)]


async def test_nothing_is_held_but_by_layers(publish, create, blobs, layers):
    await publish("a", b"1")
    await publish("b", b"22")
    await create("a:1", "b:1")
    assert set(blobs.held) == layers.trees()


async def test_a_deleted_layer_stays_with_its_functions(
    publish, create, do, refused, *, blobs, host
):
    published = await publish()
    await create("base:1")
    host.forgotten.clear()
    assert await do("DeleteLayerVersion", LayerName="base", VersionNumber=1) == {}
    assert blobs.held == []
    assert host.forgotten == []  # The function has it still.
    shown = await do("GetFunctionConfiguration", FunctionName="fn")
    assert shown["Layers"] == [{"Arn": published["LayerVersionArn"], "CodeSize": 5}]
    update = do("UpdateFunctionConfiguration", FunctionName="fn", Layers=[f"{ARN}:base:1"])
    assert await refused(update) == (INVALID, f"Layer version {ARN}:base:1 does not exist.")


async def test_what_nobody_has_any_more_is_forgotten(publish, do, host):
    await publish()
    host.forgotten.clear()
    assert await do("DeleteLayerVersion", LayerName="base", VersionNumber=1) == {}
    assert len(host.forgotten) == 1


async def test_to_delete_what_is_not_there_is_no_error(do):
    assert await do("DeleteLayerVersion", LayerName="base", VersionNumber=7) == {}


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ([f"{ARN}:l{n}:1" for n in range(6)], "Cannot reference more than 5 layers."),
        ([f"{ARN}:base:9"], f"Layer version {ARN}:base:9 does not exist."),
        (["arn:aws:lambda:::awslayer:x"],
         "Layer version arn:aws:lambda:::awslayer:x does not exist."),
        (["arn:aws:lambda:eu-west-1:210987654321:layer:base:1"],
         ("Layer version arn:aws:lambda:eu-west-1:210987654321:layer:base:1 does not exist.")),
        (["arn:aws:lambda:us-east-1:123456789012:layer:base:1"],
         ("Layers are not in the same region as the function. "
          "Layers are expected to be in region eu-west-1.")),
        ([f"{ARN}:base:1", f"{ARN}:base:1"],
         ("Two different versions of the same layer are not allowed to be referenced in the same "
          f"function. {ARN}:base:1 and {ARN}:base:1 are versions of the same layer.")),
        ([f"{ARN}:base:2", f"{ARN}:base:1"],
         ("Two different versions of the same layer are not allowed to be referenced in the same "
          f"function. {ARN}:base:2 and {ARN}:base:1 are versions of the same layer.")),
    ],
)  # fmt: skip
async def test_layers_that_will_not_do_are_refused(
    publish, do, registry, refused, *, asked, message
):
    await publish()
    assert await refused(do("CreateFunction", **LEAST, Layers=asked)) == (INVALID, message)
    assert registry.all() == []


TOO_LARGE = (
    "Function code combined with layers exceeds the maximum allowed size of 262144000 bytes. "
    "The actual size is {} bytes."
)


async def test_too_large_together_is_refused(publish, create, refused, monkeypatch):
    await publish("a", b"1")
    monkeypatch.setattr(limits, "unzipped_bytes_max", 39)
    code, message = await refused(create("a:1"))
    assert code == INVALID
    assert message == TOO_LARGE.format(40).replace("262144000", "39")
    monkeypatch.setattr(limits, "unzipped_bytes_max", 40)
    assert (await create("a:1"))["Layers"]


async def test_new_code_is_measured_with_the_layers(publish, create, do, refused, monkeypatch):
    await publish("a", b"1")
    await create("a:1")
    monkeypatch.setattr(limits, "unzipped_bytes_max", 49)
    code, message = await refused(
        do("UpdateFunctionCode", FunctionName="fn", ZipFile=b"four")
    )  # fmt: skip
    assert (code, message.endswith("The actual size is 50 bytes.")) == (INVALID, True)
