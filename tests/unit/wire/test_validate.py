import pytest

from lambdad.api.wire import validate
from lambdad.code.runtimes import CURRENT

NAME = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?"
    r"(\d{12}:)?(function:)?"
)
ROLE = "arn:aws:iam::123456789012:role/r"
GOOD = {"FunctionName": "fn", "Role": ROLE, "Code": {}}


def detected(*violations):
    count = "1 validation error" if len(violations) == 1 else f"{len(violations)} validation errors"
    return f"{count} detected: {'; '.join(violations)}"


def bad(value, path, constraint):
    return f"Value {value} at '{path}' failed to satisfy constraint: {constraint}"


def test_good_parameters_break_nothing(model):
    assert validate.violations(model.operations["CreateFunction"], GOOD) == []


def test_a_required_member_is_missed(complaint):
    assert complaint(
        "UntagResource", Resource="arn:aws:lambda:eu-west-1:123456789012:function:fn"
    ) == (detected(bad("null", "tagKeys", "Member must not be null")))


def test_a_required_member_of_a_nested_structure_is_missed(complaint):
    configs = [
        {"Arn": "arn:aws:elasticfilesystem:eu-west-1:123456789012:access-point/fsap-" + "a" * 17}
    ]
    assert complaint("CreateFunction", **GOOD, FileSystemConfigs=configs) == detected(
        bad("null", "fileSystemConfigs.1.member.localMountPath", "Member must not be null")
    )


@pytest.mark.parametrize(
    ("timeout", "bound"), [(0, "greater than or equal to 1"), (5401, "less than or equal to 5400")]
)
def test_a_number_has_its_range(complaint, timeout, bound):
    assert complaint("CreateFunction", **GOOD, Timeout=timeout) == detected(
        bad(f"'{timeout}'", "timeout", f"Member must have value {bound}")
    )


def test_length_comes_before_pattern(complaint):
    name = "a@" * 71
    assert complaint(
        "CreateAlias", FunctionName="fn", Name="x" * 129, FunctionVersion="1"
    ) == detected(
        bad(f"'{'x' * 129}'", "name", "Member must have length less than or equal to 128")
    )
    both = complaint("CreateFunction", **{**GOOD, "FunctionName": name}).split("; ")
    assert "length less than or equal to 140" in both[0]
    assert "regular expression pattern" in both[1]


def test_the_qualifier_comes_before_the_name(complaint):
    text = complaint("Invoke", FunctionName="*", Qualifier="!")
    assert text.startswith("2 validation errors detected: Value '!' at 'qualifier' ")
    assert "; Value '*' at 'functionName' " in text


def test_what_layers_may_be_compatible_with_is_said_plainly(complaint, model):
    text = complaint(
        "PublishLayerVersion", LayerName="l", Content={}, CompatibleRuntimes=["python3.12", "x"]
    )
    assert text == detected(
        bad(
            "'[python3.12, x]'",
            "compatibleRuntimes",
            f"Member must satisfy enum value set: [{', '.join(CURRENT)}]",
        )
    )
    good = {"LayerName": "l", "Content": {}, "CompatibleRuntimes": ["python3.12"]}
    assert validate.violations(model.operations["PublishLayerVersion"], good) == []


def test_a_list_of_layers_may_be_of_any_runtime_that_there_ever_was(complaint, model):
    text = complaint("ListLayers", CompatibleRuntime="x")
    assert text.startswith("1 validation error detected: Value 'x' at 'compatibleRuntime' ")
    assert "enum value set: [ruby3.5, ruby2.6, dotnetcore1.0, python3.7, nodejs8.10, nasa," in text
    assert text.endswith("ruby2.5, python3.6, python2.7]")
    good = {"CompatibleRuntime": "nasa"}
    assert validate.violations(model.operations["ListLayers"], good) == []


def test_compatible_runtimes_come_before_architectures(complaint):
    text = complaint(
        "PublishLayerVersion",
        LayerName="l",
        Content={},
        CompatibleRuntimes=["invalidruntime"],
        CompatibleArchitectures=["invalidarch"],
    )
    assert text.startswith("2 validation errors detected: Value '[invalidruntime]'")
    assert text.endswith(
        bad(
            "'[invalidarch]'",
            "compatibleArchitectures",
            "Member must satisfy constraint: [Member must satisfy enum value set: [x86_64, arm64], "
            "Member must not be null]",
        )
    )


@pytest.mark.parametrize(
    ("operation", "params", "path", "enum"),
    [
        (
            "CreateFunction",
            {**GOOD, "SnapStart": {"ApplyOn": "x"}},
            "snapStart.applyOn",
            "[PublishedVersions, None]",
        ),
        (
            "CreateFunctionUrlConfig",
            {"FunctionName": "fn", "AuthType": "NONE", "InvokeMode": "x"},
            "invokeMode",
            "[RESPONSE_STREAM, BUFFERED]",
        ),
        (
            "CreateEventSourceMapping",
            {"FunctionName": "fn", "StartingPosition": "x"},
            "startingPosition",
            "[LATEST, AT_TIMESTAMP, TRIM_HORIZON]",
        ),
        (
            "PutFunctionRecursionConfig",
            {"FunctionName": "fn", "RecursiveLoop": "x"},
            "recursiveLoop",
            "[Terminate, Allow]",
        ),
        ("ListFunctions", {"FunctionVersion": "x"}, "functionVersion", "[ALL]"),
    ],
)
def test_an_enum_is_listed_in_the_order_of_the_service(complaint, operation, params, path, enum):
    assert complaint(operation, **params) == detected(
        bad("'x'", path, f"Member must satisfy enum value set: {enum}")
    )


def test_constraints_of_list_members_are_wrapped(complaint):
    vpc = {"SubnetIds": ["x"], "SecurityGroupIds": ["y"]}
    assert complaint("CreateFunction", **GOOD, VpcConfig=vpc) == detected(
        bad(
            "'[y]'",
            "vpcConfig.securityGroupIds",
            "Member must satisfy constraint: [Member must have length less than or equal to 1024, "
            "Member must have length greater than or equal to 0, "
            "Member must satisfy regular expression pattern: sg-[0-9a-zA-Z]*]",
        ),
        bad(
            "'[x]'",
            "vpcConfig.subnetIds",
            "Member must satisfy constraint: [Member must have length less than or equal to 1024, "
            "Member must have length greater than or equal to 0, "
            "Member must satisfy regular expression pattern: subnet-[0-9a-z]*]",
        ),
    )


def test_a_layer_needs_its_version(complaint):
    layer = "arn:aws:lambda:eu-west-1:123456789012:layer:l"
    pattern = (
        r"(arn:(aws[a-zA-Z-]*)?:lambda:(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:\d{12}"
        r":layer:[a-zA-Z0-9-_]+:[0-9]+)|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"
    )
    assert complaint("CreateFunction", **GOOD, Layers=[f"{layer}:1", layer]) == detected(
        bad(
            f"'[{layer}:1, {layer}]'",
            "layers",
            "Member must satisfy constraint: [Member must have length less than or equal to 2048, "
            "Member must have length greater than or equal to 1, Member must satisfy regular "
            f"expression pattern: {pattern}, Member must not be null]",
        )
    )


@pytest.mark.parametrize(("weight", "shown"), [(2.0, "2.0"), (-1.0, "-1.0"), (None, "null")])
def test_constraints_of_map_values_are_wrapped(complaint, weight, shown):
    routing = {"AdditionalVersionWeights": {"2": weight}}
    assert complaint(
        "UpdateAlias", FunctionName="fn", Name="live", RoutingConfig=routing
    ) == detected(
        bad(
            f"'{{2={shown}}}'",
            "routingConfig.additionalVersionWeights",
            "Map value must satisfy constraint: [Member must have value less than or equal to 1.0, "
            "Member must have value greater than or equal to 0.0, Member must not be null]",
        )
    )


def test_constraints_of_map_keys_are_wrapped(complaint):
    routing = {"AdditionalVersionWeights": {"$LATEST": 0.5}}
    assert complaint(
        "UpdateAlias", FunctionName="fn", Name="live", RoutingConfig=routing
    ) == detected(
        bad(
            "'{$LATEST=0.5}'",
            "routingConfig.additionalVersionWeights",
            "Map keys must satisfy constraint: ["
            "Member must have length less than or equal to 1024, "
            "Member must have length greater than or equal to 1, "
            "Member must satisfy regular expression pattern: [0-9]+]",
        )
    )


def test_lists_within_maps_are_checked(complaint):
    source = {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": []}}
    assert complaint(
        "CreateEventSourceMapping", FunctionName="fn", SelfManagedEventSource=source
    ) == (
        detected(
            bad(
                "'[]'",
                "selfManagedEventSource.endpoints.KAFKA_BOOTSTRAP_SERVERS.member",
                "Member must have length greater than or equal to 1",
            )
        )
    )


def test_null_among_structures_is_missed(complaint):
    assert complaint("CreateFunction", **GOOD, FileSystemConfigs=[None]) == detected(
        bad("null", "fileSystemConfigs.1.member", "Member must not be null")
    )


def test_structures_are_printed_with_their_members(complaint):
    config = {
        "Arn": "arn:aws:elasticfilesystem:eu-west-1:123456789012:access-point/fsap-" + "a" * 17,
        "LocalMountPath": "/mnt/a",
    }
    shown = f"FileSystemConfig(arn={config['Arn']}, localMountPath=/mnt/a, s3FilesConfig=null)"
    assert complaint("CreateFunction", **GOOD, FileSystemConfigs=[config] * 2) == detected(
        bad(
            f"'[{shown}, {shown}]'",
            "fileSystemConfigs",
            "Member must have length less than or equal to 1",
        )
    )


def test_secrets_are_not_shown(complaint):
    text = complaint("CreateFunction", **GOOD, Environment={"Variables": {"A": "secret"}})
    assert text == (
        "1 validation error detected: Value at 'environment.variables' failed to satisfy "
        "constraint: Map keys must satisfy constraint: "
        "[Member must satisfy regular expression pattern: [a-zA-Z]([a-zA-Z0-9_])+]"
    )


def test_the_runtime_is_checked_elsewhere(model):
    params = {**GOOD, "Runtime": "PYTHON3.9"}
    assert validate.violations(model.operations["CreateFunction"], params) == []


@pytest.mark.parametrize("key", ["team", "größe", "a b", "名前", "x_.:/=+-@9"])
def test_tags_may_be_in_any_script(model, key):
    params = {"Resource": "arn:aws:lambda:eu-west-1:123456789012:function:fn", "Tags": {key: "v"}}
    assert validate.violations(model.operations["TagResource"], params) == []


@pytest.mark.parametrize("key", ["a!", "a\n", "a\u200b"])
def test_tags_may_not_hold_other_signs(complaint, key):
    text = complaint(
        "TagResource", Resource="arn:aws:lambda:eu-west-1:123456789012:function:fn", Tags={key: "v"}
    )
    assert r"Map keys must satisfy constraint: [" in text
    assert r"pattern: ([\p{L}\p{Z}\p{N}_.:/=+\-@]*)]" in text


@pytest.mark.parametrize("account", ["١٢٣٤٥٦٧٨٩٠١٢", "123456789012\n"])
def test_digits_are_ascii(complaint, account):
    role = f"arn:aws:iam::{account}:role/r"
    assert "at 'role'" in complaint("CreateFunction", **{**GOOD, "Role": role})


def test_a_pattern_must_match_the_whole_value(complaint):
    assert "at 'functionName'" in complaint("GetFunction", FunctionName="fn\n")


def test_one_and_more_errors_are_counted():
    assert validate.message(["a"]) == "1 validation error detected: a"
    assert validate.message(["a", "b"]) == "2 validation errors detected: a; b"
