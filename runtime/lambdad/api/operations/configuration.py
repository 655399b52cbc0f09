"""Between the model's FunctionConfiguration and ours: both ways, pure.

Members that change how a function runs and that lambdad does not offer yet are refused, never
ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from lambdad.code import runtimes
from lambdad.invoke.environ import RESERVED
from lambdad.model import arn, limits
from lambdad.model.clock import last_modified
from lambdad.model.errors import ApiError, invalid_parameter
from lambdad.model.function import LATEST, Function, State, UpdateStatus

_NOT_OFFERED = (
    "VpcConfig", "DeadLetterConfig", "KMSKeyArn", "FileSystemConfigs", "ImageConfig",
    "CodeSigningConfigArn", "DurableConfig", "TenancyConfig",
)  # fmt: skip

# Which member of a request sets which field; the same for create and update.
_FIELDS = {
    "Runtime": "runtime",
    "Handler": "handler",
    "Role": "role",
    "Description": "description",
    "Timeout": "timeout_s",
    "MemorySize": "memory_mb",
}


def changes(params: Mapping[str, Any], before: Function | None = None) -> dict[str, Any]:
    """What a request asks to be set, as fields of ``Function``.

    Args:
        params: of the request.
        before: the function as it is, if there is one.

    Raises:
        ApiError: something that AWS refuses, or that lambdad does not offer.
    """
    for member in _NOT_OFFERED:
        if _wanted(params.get(member)):
            raise invalid_parameter(f"{member} is not offered by lambdad yet.")
    fields = {ours: params[theirs] for theirs, ours in _FIELDS.items() if theirs in params}
    if "runtime" in fields:
        runtimes.check(fields["runtime"])
    _check_range("timeout", fields.get("timeout_s"), limits.timeout_s_max)
    _check_range("memorySize", fields.get("memory_mb"), limits.memory_mb_max)
    if "Environment" in params:
        fields["environment"] = environment(params["Environment"].get("Variables", {}))
    if "EphemeralStorage" in params:
        fields["tmp_mb"] = params["EphemeralStorage"]["Size"]
        _check_range("ephemeralStorage.size", fields["tmp_mb"], limits.tmp_mb_max)
    if "TracingConfig" in params:
        fields["tracing_mode"] = params["TracingConfig"].get("Mode", "PassThrough")
    if "SnapStart" in params:
        fields["snap_start"] = params["SnapStart"].get("ApplyOn", "None")
    _check_snap_start(fields, before)
    fields |= _capacity(params.get("CapacityProviderConfig") or {}, fields, before)
    fields |= _logging(params.get("LoggingConfig") or {}, before)
    if fields.get("capacity_provider") or (before is not None and before.capacity_provider):
        fields |= _json_logging(fields, before)
    return fields


def _wanted(value: Any) -> bool:
    """Whether a member asks for anything: Terraform sends many of them empty."""
    if isinstance(value, Mapping):
        return any(_wanted(inner) for inner in value.values())
    return bool(value)


def _check_range(path: str, value: int | None, maximum: int) -> None:
    """The model's maximum is that of managed instances; ordinary functions have less."""
    if value is not None and value > maximum:
        raise ApiError(
            "ValidationException",
            f"1 validation error detected: Value '{value}' at '{path}' failed to satisfy "
            f"constraint: Member must have value less than or equal to {maximum}",
        )


def _check_snap_start(fields: Mapping[str, Any], before: Function | None) -> None:
    """Refuse it to a runtime that has none: either of them may be what changes.

    Raises:
        ApiError: InvalidParameterValueException.
    """
    apply_on = fields.get("snap_start", "None" if before is None else before.snap_start)
    runtime = fields.get("runtime", "" if before is None else before.runtime)
    if apply_on != "None" and not runtimes.has_snap_start(runtime):
        raise invalid_parameter(f"{runtime} is not supported for SnapStart enabled functions.")


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """The customer's variables.

    Raises:
        ApiError: reserved names, or more than 4 KB.
    """
    reserved = [name for name in variables if name in RESERVED]
    begins = "Lambda was unable to configure your environment variables because the "
    if reserved:
        raise invalid_parameter(
            f"{begins}environment variables you have provided contains reserved keys that are "
            "currently not supported for modification. Reserved keys used in this request: "
            + ", ".join(reserved)
        )
    measured = json.dumps(dict(variables), separators=(",", ":"), ensure_ascii=False)
    if len(measured.encode()) > limits.environment_bytes_max:
        raise invalid_parameter(
            f"{begins}environment variables you have provided exceeded the 4KB limit. "
            f"String measured: {measured}"
        )
    return dict(variables)


def _logging(asked: Mapping[str, Any], before: Function | None = None) -> dict[str, Any]:
    """JSON brings levels, INFO where none is named; Text has none (lambda-api 3.3)."""
    levels = {
        "ApplicationLogLevel": "application_log_level",
        "SystemLogLevel": "system_log_level",
    }
    fields: dict[str, Any] = {}
    if "LogGroup" in asked:
        fields["log_group"] = asked["LogGroup"]
    if "LogFormat" in asked:
        json_format = asked["LogFormat"] == "JSON"
        fields["log_format"] = asked["LogFormat"]
        for member, field in levels.items():
            fields[field] = asked.get(member, "INFO") if json_format else None
    elif before is not None and before.log_format == "JSON":
        fields |= {field: asked[member] for member, field in levels.items() if member in asked}
    return fields


def _json_logging(fields: Mapping[str, Any], before: Function | None) -> dict[str, Any]:
    """Functions of a capacity provider log JSON only: events run beside each other there."""
    default = "Text" if before is None else before.log_format
    is_text = fields.get("log_format", default) == "Text"
    return _logging({"LogFormat": "JSON"}) if is_text else {}


def _capacity(
    asked: Mapping[str, Any], fields: Mapping[str, Any], before: Function | None
) -> dict[str, Any]:
    """How many events an environment takes at a time; what else there is to say is kept.

    Source: https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances.html
    """
    wanted = asked.get("LambdaManagedInstancesCapacityProviderConfig") or {}
    if not wanted:
        return {}
    memory_mb = before.memory_mb if before is not None else limits.memory_mb_default
    gib_per_vcpu = wanted.get("ExecutionEnvironmentMemoryGiBPerVCpu")
    memory_gib = fields.get("memory_mb", memory_mb) / 1024
    vcpus = memory_gib / (gib_per_vcpu or limits.managed_gib_per_vcpu)
    return {
        "capacity_provider": wanted["CapacityProviderArn"],
        "memory_gib_per_vcpu": gib_per_vcpu,
        "max_concurrency": wanted.get(
            "PerExecutionEnvironmentMaxConcurrency",
            limits.managed_concurrency_per_vcpu * max(int(vcpus), 1),
        ),
    }


def render(
    function: Function, *, region: str, account: str, qualifier: str | None = None
) -> dict[str, Any]:
    """FunctionConfiguration, as the service answers it; states stand in ``render_state``."""
    logging = {
        "LogFormat": function.log_format,
        "ApplicationLogLevel": function.application_log_level,
        "SystemLogLevel": function.system_log_level,
        "LogGroup": function.log_group or f"/aws/lambda/{function.name}",
    }
    shown: dict[str, Any] = {
        "FunctionName": function.name,
        "FunctionArn": arn.function_arn(region, account, function.name, qualifier),
        "Runtime": function.runtime,
        "Role": function.role,
        "Handler": function.handler,
        "CodeSize": function.code_bytes,
        "Description": function.description,
        "Timeout": function.timeout_s,
        "MemorySize": function.memory_mb,
        "LastModified": last_modified(function.last_modified),
        "CodeSha256": function.code_sha256,
        "Version": function.version,
        "TracingConfig": {"Mode": function.tracing_mode},
        "RevisionId": function.revision_id,
        "PackageType": "Zip",
        "Architectures": [function.architecture],
        "EphemeralStorage": {"Size": function.tmp_mb},
        "SnapStart": {
            "ApplyOn": function.snap_start,
            "OptimizationStatus": "On" if _is_optimized(function) else "Off",
        },
        "RuntimeVersionConfig": {
            "RuntimeVersionArn": runtimes.runtime_version_arn(region, function.runtime)
        },
        "LoggingConfig": {name: value for name, value in logging.items() if value},
    }
    if function.environment is not None:
        shown["Environment"] = {"Variables": dict(function.environment)}
    if function.layers:
        shown["Layers"] = [
            {"Arn": layer.arn, "CodeSize": layer.code_bytes} for layer in function.layers
        ]
    if function.capacity_provider is not None:
        shown["CapacityProviderConfig"] = _render_capacity(function)
    return shown


def _is_optimized(function: Function) -> bool:
    """Whether its environments come of a snapshot: versions only, and a reason says why not."""
    return (
        function.snap_start == "PublishedVersions"
        and function.version != LATEST
        and function.state is State.ACTIVE
        and function.reason is None
    )


def _render_capacity(function: Function) -> dict[str, Any]:
    config: dict[str, Any] = {
        "CapacityProviderArn": function.capacity_provider,
        "PerExecutionEnvironmentMaxConcurrency": function.max_concurrency,
    }
    if function.memory_gib_per_vcpu is not None:
        config["ExecutionEnvironmentMemoryGiBPerVCpu"] = function.memory_gib_per_vcpu
    return {"LambdaManagedInstancesCapacityProviderConfig": config}


def render_state(function: Function) -> dict[str, Any]:
    """State and LastUpdateStatus with their reasons (lambda-api 3.2)."""
    shown: dict[str, Any] = {"State": str(function.state)}
    if function.state is State.PENDING:
        shown |= {"StateReason": "The function is being created.", "StateReasonCode": "Creating"}
    elif function.state is State.FAILED:
        shown |= {"StateReason": function.reason, "StateReasonCode": "InternalError"}
    elif function.reason and function.update_status is UpdateStatus.SUCCESSFUL:
        shown["StateReason"] = function.reason  # It runs, and not quite as was asked for.
    if function.update_status is not None and function.state is not State.PENDING:
        shown["LastUpdateStatus"] = str(function.update_status)
        if function.update_status is UpdateStatus.IN_PROGRESS:
            shown["LastUpdateStatusReason"] = "The function is being created."
            shown["LastUpdateStatusReasonCode"] = "Creating"
        elif function.update_status is UpdateStatus.FAILED:
            shown["LastUpdateStatusReason"] = function.reason
            shown["LastUpdateStatusReasonCode"] = "InternalError"
    return shown
