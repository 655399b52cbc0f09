import hashlib
import json
import re

import pytest

from lambdad.api.operations import configuration
from lambdad.code import runtimes
from lambdad.invoke.environ import RESERVED
from lambdad.model.errors import ApiError
from lambdad.model.function import State, UpdateStatus

BEGINS = "Lambda was unable to configure your environment variables because the "


@pytest.fixture
def render(new_function):
    def made(qualifier=None, **values):
        return configuration.render(
            new_function(**values), region="eu-west-1", account="123456789012", qualifier=qualifier
        )

    return made


def refusal(**params):
    with pytest.raises(ApiError) as caught:
        configuration.changes(params)
    return caught.value.code, caught.value.message


# --- what is shown ------------------------------------------------------------------------


def test_a_configuration_with_nothing_given_shows_the_defaults(render):
    runtime_version = hashlib.sha256(b"provided.al2023").hexdigest()
    assert render() == {
        "RuntimeVersionConfig": {
            "RuntimeVersionArn": f"arn:aws:lambda:eu-west-1::runtime:{runtime_version}"
        },
        "FunctionName": "fn",
        "FunctionArn": "arn:aws:lambda:eu-west-1:123456789012:function:fn",
        "Runtime": "provided.al2023",
        "Role": "arn:aws:iam::123456789012:role/r",
        "Handler": "app.handler",
        "CodeSize": 3,
        "Description": "",
        "Timeout": 3,
        "MemorySize": 128,
        "LastModified": "2026-11-21T09:30:00.123+0000",
        "CodeSha256": "Zm9v",
        "Version": "$LATEST",
        "TracingConfig": {"Mode": "PassThrough"},
        "RevisionId": "one",
        "PackageType": "Zip",
        "Architectures": ["x86_64"],
        "EphemeralStorage": {"Size": 512},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/fn"},
    }


def test_the_arn_is_qualified_as_asked(render):
    assert render("$LATEST")["FunctionArn"].endswith(":function:fn:$LATEST")


def test_an_environment_is_shown_only_when_given(render):
    assert "Environment" not in render()
    assert render(environment={})["Environment"] == {"Variables": {}}
    assert render(environment={"A": "b"})["Environment"] == {"Variables": {"A": "b"}}


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (
            {"state": State.PENDING, "update_status": None},
            {
                "State": "Pending",
                "StateReason": "The function is being created.",
                "StateReasonCode": "Creating",
            },
        ),
        (
            {"state": State.ACTIVE, "update_status": UpdateStatus.SUCCESSFUL},
            {"State": "Active", "LastUpdateStatus": "Successful"},
        ),
        (
            {"state": State.ACTIVE, "update_status": UpdateStatus.IN_PROGRESS},
            {
                "State": "Active",
                "LastUpdateStatus": "InProgress",
                "LastUpdateStatusReason": "The function is being created.",
                "LastUpdateStatusReasonCode": "Creating",
            },
        ),
        (
            {"state": State.ACTIVE, "update_status": UpdateStatus.FAILED, "reason": "why"},
            {
                "State": "Active",
                "LastUpdateStatus": "Failed",
                "LastUpdateStatusReason": "why",
                "LastUpdateStatusReasonCode": "InternalError",
            },
        ),
        (
            {"state": State.FAILED, "update_status": None, "reason": "why"},
            {"State": "Failed", "StateReason": "why", "StateReasonCode": "InternalError"},
        ),
        (
            {"version": "1", "snap_start": "PublishedVersions", "reason": "why"},
            {"State": "Active", "StateReason": "why", "LastUpdateStatus": "Successful"},
        ),
    ],
)
def test_states_come_with_their_reasons(new_function, values, shown):
    assert configuration.render_state(new_function(**values)) == shown


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ({"version": "1"}, "On"),
        ({"version": "1", "snap_start": "None"}, "Off"),
        ({"version": "$LATEST"}, "Off"),
        ({"version": "1", "state": State.PENDING, "update_status": None}, "Off"),
        ({"version": "1", "state": State.FAILED, "update_status": None}, "Off"),
        ({"version": "1", "reason": "it cannot be restored"}, "Off"),
    ],
)
def test_a_version_that_is_ready_is_optimized_unless_a_reason_says_why_not(
    new_function, values, status
):
    function = new_function(**{"snap_start": "PublishedVersions", **values})
    shown = configuration.render(function, region="eu-west-1", account="1")["SnapStart"]
    assert shown == {"ApplyOn": function.snap_start, "OptimizationStatus": status}


# --- what is asked ------------------------------------------------------------------------


def test_what_is_not_asked_is_not_changed():
    assert configuration.changes({}) == {}
    assert configuration.changes({"Timeout": 5}) == {"timeout_s": 5}


def test_each_member_sets_its_field():
    assert configuration.changes(
        {
            "Runtime": "provided.al2023",
            "Handler": "h",
            "Role": "r",
            "Description": "d",
            "Timeout": 900,
            "MemorySize": 10_240,
            "EphemeralStorage": {"Size": 10_240},
            "TracingConfig": {"Mode": "Active"},
            "SnapStart": {"ApplyOn": "None"},
            "Environment": {"Variables": {"A": "b"}},
        }
    ) == {
        "runtime": "provided.al2023",
        "handler": "h",
        "role": "r",
        "description": "d",
        "timeout_s": 900,
        "memory_mb": 10_240,
        "tmp_mb": 10_240,
        "tracing_mode": "Active",
        "snap_start": "None",
        "environment": {"A": "b"},
    }


@pytest.mark.parametrize("runtime", ["python3.9", "python3.10", "python3.11"])
def test_a_runtime_without_snap_start_is_refused_it_whichever_comes_last(new_function, runtime):
    on = {"SnapStart": {"ApplyOn": "PublishedVersions"}}
    refused = f"{runtime} is not supported for SnapStart enabled functions."
    for params, before in (
        ({"Runtime": runtime, **on}, None),
        (on, new_function(runtime=runtime)),
        ({"Runtime": runtime}, new_function(snap_start="PublishedVersions")),
    ):
        with pytest.raises(ApiError, match=re.escape(refused)) as caught:
            configuration.changes(params, before)
        assert caught.value.code == "InvalidParameterValueException"
    off = {"SnapStart": {"ApplyOn": "None"}}
    configuration.changes(off, new_function(runtime=runtime, snap_start="PublishedVersions"))
    configuration.changes({"Timeout": 5}, new_function(runtime=runtime))


@pytest.mark.parametrize("runtime", ["python3.12", "python3.14", "provided.al2023"])
def test_others_have_snap_start(new_function, runtime):
    on = {"SnapStart": {"ApplyOn": "PublishedVersions"}}
    fields = configuration.changes(on, new_function(runtime=runtime))
    assert fields == {"snap_start": "PublishedVersions"}


def test_an_environment_is_replaced_whole():
    assert configuration.changes({"Environment": {}}) == {"environment": {}}


@pytest.mark.parametrize(
    ("asked", "fields"),
    [
        ({}, {}),
        (
            {"LogFormat": "JSON"},
            {
                "log_format": "JSON",
                "application_log_level": "INFO",
                "system_log_level": "INFO",
            },
        ),
        (
            {"LogFormat": "JSON", "SystemLogLevel": "WARN"},
            {
                "log_format": "JSON",
                "application_log_level": "INFO",
                "system_log_level": "WARN",
            },
        ),
        ({"LogGroup": "/mine"}, {"log_group": "/mine"}),
        (
            {"LogFormat": "Text"},
            {"log_format": "Text", "application_log_level": None, "system_log_level": None},
        ),
    ],
)
def test_json_brings_levels_and_text_takes_them(asked, fields):
    assert configuration.changes({"LoggingConfig": asked}) == fields


@pytest.mark.parametrize(
    ("log_format", "fields"), [("JSON", {"system_log_level": "WARN"}), ("Text", {})]
)
def test_a_level_can_be_changed_alone_where_there_are_levels(new_function, log_format, fields):
    asked = {"LoggingConfig": {"SystemLogLevel": "WARN"}}
    assert configuration.changes(asked, new_function(log_format=log_format)) == fields


def test_levels_are_shown_with_json_only(render):
    shown = render(
        log_format="JSON", application_log_level="DEBUG", system_log_level="INFO", log_group="/g"
    )
    assert shown["LoggingConfig"] == {
        "LogFormat": "JSON",
        "ApplicationLogLevel": "DEBUG",
        "SystemLogLevel": "INFO",
        "LogGroup": "/g",
    }


# --- what is refused ----------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(RESERVED))
def test_a_reserved_variable_is_refused_by_name(name):
    assert refusal(Environment={"Variables": {"MINE": "", name: "x"}}) == (
        "InvalidParameterValueException",
        (
            f"{BEGINS}environment variables you have provided contains reserved keys that are "
            f"currently not supported for modification. Reserved keys used in this request: {name}"
        ),
    )


def test_an_environment_is_measured_as_compact_json_in_bytes():
    frame = len(json.dumps({"A": ""}, separators=(",", ":")))
    fits = {"A": "x" * (4_096 - frame)}
    assert configuration.environment(fits) == fits
    over = {"A": "ü" * ((4_096 - frame) // 2 + 1)}
    assert refusal(Environment={"Variables": over}) == (
        "InvalidParameterValueException",
        (
            f"{BEGINS}environment variables you have provided exceeded the 4KB limit. "
            f'String measured: {{"A":"{over["A"]}"}}'
        ),
    )


@pytest.mark.parametrize(
    ("params", "value", "path", "maximum"),
    [
        ({"Timeout": 901}, 901, "timeout", 900),
        ({"MemorySize": 10_241}, 10_241, "memorySize", 10_240),
        ({"EphemeralStorage": {"Size": 10_241}}, 10_241, "ephemeralStorage.size", 10_240),
    ],
)
def test_what_is_above_an_ordinary_functions_limit_is_refused(params, value, path, maximum):
    assert refusal(**params) == (
        "ValidationException",
        (
            f"1 validation error detected: Value '{value}' at '{path}' failed to satisfy "
            f"constraint: Member must have value less than or equal to {maximum}"
        ),
    )


@pytest.mark.parametrize("runtime", ["python3", "PYTHON3.9", "cobol85"])
def test_an_unknown_runtime_is_refused_with_the_list(runtime):
    code, message = refusal(Runtime=runtime)
    assert code == "InvalidParameterValueException"
    assert message == (
        f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum "
        "value set: [nodejs20.x, python3.14, provided.al2023, python3.12, python3.13, nodejs24.x, "
        "nodejs22.x, java25, python3.10, python3.11, java21, ruby3.3, ruby3.4, ruby3.2, "
        "python3.8, python3.9, java17, nodejs16.x, dotnet10, dotnet8, java11, dotnet6, "
        "nodejs18.x, provided.al2, java8.al2] or be a valid ARN"
    )


@pytest.mark.parametrize("runtime", sorted(runtimes.RETIRED))
def test_a_retired_runtime_is_refused_as_such(runtime):
    code, message = refusal(Runtime=runtime)
    assert code == "InvalidParameterValueException"
    assert message.startswith(f"The runtime parameter of {runtime} is no longer supported for ")


def test_a_runtime_that_this_host_cannot_run_is_refused_by_what_is_missing():
    code, message = refusal(Runtime="nodejs22.x")
    assert code == "InvalidParameterValueException"
    assert message.startswith("The runtime nodejs22.x cannot run on this host: ")


@pytest.mark.parametrize(
    "params",
    [
        {"VpcConfig": {"SubnetIds": ["subnet-1"]}},
        {"DeadLetterConfig": {"TargetArn": "arn"}},
        {"KMSKeyArn": "arn"},
        {"FileSystemConfigs": [{"Arn": "arn", "LocalMountPath": "/mnt/a"}]},
        {"ImageConfig": {"Command": ["a"]}},
    ],
)
def test_what_is_not_offered_is_refused_not_ignored(params):
    [member] = params
    assert refusal(**params) == (
        "InvalidParameterValueException",
        f"{member} is not offered by lambdad yet.",
    )


@pytest.mark.parametrize(
    "params",
    [
        {"VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []}},
        {"DeadLetterConfig": {}},
        {"KMSKeyArn": ""},
        {"FileSystemConfigs": []},
        {"VpcConfig": {"Ipv6AllowedForDualStack": False}},
    ],
)
def test_what_asks_for_nothing_is_no_wish(params):
    assert configuration.changes(params) == {}


# --- functions of a capacity provider -----------------------------------------------------

PROVIDER = "arn:aws:lambda:eu-west-1:123456789012:capacity-provider:p"


def managed(**values):
    values = {"CapacityProviderArn": PROVIDER, **values}
    return {"CapacityProviderConfig": {"LambdaManagedInstancesCapacityProviderConfig": values}}


def test_an_environment_of_a_capacity_provider_takes_as_many_events_as_asked():
    fields = configuration.changes(managed(PerExecutionEnvironmentMaxConcurrency=5))
    assert (fields["capacity_provider"], fields["max_concurrency"]) == (PROVIDER, 5)


@pytest.mark.parametrize(
    ("memory_mb", "gib_per_vcpu", "concurrency"),
    [(128, None, 16), (2_048, None, 16), (4_096, None, 32), (8_192, 8.0, 16), (8_192, 4.0, 32)],
)
def test_unless_asked_it_takes_so_many_for_each_processor(memory_mb, gib_per_vcpu, concurrency):
    ratio = {} if gib_per_vcpu is None else {"ExecutionEnvironmentMemoryGiBPerVCpu": gib_per_vcpu}
    fields = configuration.changes(managed(**ratio) | {"MemorySize": memory_mb})
    assert fields["max_concurrency"] == concurrency


def test_what_an_update_does_not_say_is_as_it_was(new_function):
    fields = configuration.changes(managed(), new_function(memory_mb=4_096))
    assert fields["max_concurrency"] == 32


@pytest.mark.parametrize("asked", [{}, {"LogFormat": "Text"}, {"LogFormat": "JSON"}])
def test_functions_of_a_capacity_provider_log_json(asked):
    fields = configuration.changes(managed() | {"LoggingConfig": asked})
    assert (fields["log_format"], fields["system_log_level"]) == ("JSON", "INFO")


def test_they_do_not_leave_that_off_later(new_function):
    before = new_function(capacity_provider=PROVIDER, log_format="JSON")
    text = configuration.changes({"LoggingConfig": {"LogFormat": "Text"}}, before)
    assert text["log_format"] == "JSON"
    assert configuration.changes({"Timeout": 9}, before) == {"timeout_s": 9}


def test_a_capacity_provider_is_shown_as_it_was_asked_for(render):
    shown = render(capacity_provider=PROVIDER, max_concurrency=5, memory_gib_per_vcpu=4.0)
    assert shown["CapacityProviderConfig"] == {
        "LambdaManagedInstancesCapacityProviderConfig": {
            "CapacityProviderArn": PROVIDER,
            "PerExecutionEnvironmentMaxConcurrency": 5,
            "ExecutionEnvironmentMemoryGiBPerVCpu": 4.0,
        }
    }
