"""Between the model's FunctionConfiguration and ours: both ways, pure.

Members that change how a function runs and that lambdad does not offer yet are refused, never
ignored.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from lambdad.code import runtimes
from lambdad.invoke.environ import RESERVED
from lambdad.model import arn, limits
from lambdad.model.clock import last_modified
from lambdad.model.errors import ApiError, invalid_parameter
from lambdad.model.function import Function, State, UpdateStatus

_NOT_OFFERED = (
    "VpcConfig", "DeadLetterConfig", "KMSKeyArn", "FileSystemConfigs", "ImageConfig", "Layers",
    "CodeSigningConfigArn", "DurableConfig", "TenancyConfig", "CapacityProviderConfig",
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


def changes(params: Mapping[str, Any]) -> dict[str, Any]:
    """What a request asks to be set, as fields of ``Function``.

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
    return fields | _logging(params.get("LoggingConfig") or {})


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


def _logging(asked: Mapping[str, Any]) -> dict[str, Any]:
    """JSON brings levels, INFO where none is named; Text has none (lambda-api 3.3)."""
    fields: dict[str, Any] = {}
    if "LogGroup" in asked:
        fields["log_group"] = asked["LogGroup"]
    if "LogFormat" in asked:
        json_format = asked["LogFormat"] == "JSON"
        fields["log_format"] = asked["LogFormat"]
        for member, field in (
            ("ApplicationLogLevel", "application_log_level"),
            ("SystemLogLevel", "system_log_level"),
        ):
            fields[field] = asked.get(member, "INFO") if json_format else None
    return fields


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
        "Version": "$LATEST",
        "TracingConfig": {"Mode": function.tracing_mode},
        "RevisionId": function.revision_id,
        "PackageType": "Zip",
        "Architectures": [function.architecture],
        "EphemeralStorage": {"Size": function.tmp_mb},
        "SnapStart": {"ApplyOn": function.snap_start, "OptimizationStatus": "Off"},
        "RuntimeVersionConfig": {
            "RuntimeVersionArn": runtime_version_arn(region, function.runtime)
        },
        "LoggingConfig": {name: value for name, value in logging.items() if value},
    }
    if function.environment is not None:
        shown["Environment"] = {"Variables": dict(function.environment)}
    return shown


def runtime_version_arn(region: str, runtime: str) -> str:
    """An ARN that stays the same for as long as the runtime does: here, its name's digest."""
    return f"arn:aws:lambda:{region}::runtime:{hashlib.sha256(runtime.encode()).hexdigest()}"


def render_state(function: Function) -> dict[str, Any]:
    """State and LastUpdateStatus with their reasons (lambda-api 3.2)."""
    shown: dict[str, Any] = {"State": str(function.state)}
    if function.state is State.PENDING:
        shown |= {"StateReason": "The function is being created.", "StateReasonCode": "Creating"}
    elif function.state is State.FAILED:
        shown |= {"StateReason": function.reason, "StateReasonCode": "InternalError"}
    if function.update_status is not None and function.state is not State.PENDING:
        shown["LastUpdateStatus"] = str(function.update_status)
        if function.update_status is UpdateStatus.IN_PROGRESS:
            shown["LastUpdateStatusReason"] = "The function is being created."
            shown["LastUpdateStatusReasonCode"] = "Creating"
        elif function.update_status is UpdateStatus.FAILED:
            shown["LastUpdateStatusReason"] = function.reason
            shown["LastUpdateStatusReasonCode"] = "InternalError"
    return shown
