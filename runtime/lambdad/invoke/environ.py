"""The variables that a function's processes see. Pure.

Order of precedence, the later wins: defaults that a customer may replace, the customer's own,
what is reserved (runtime-protocol 5.1).
"""

from __future__ import annotations

from collections.abc import Mapping

from lambdad.model.function import Function
from lambdad_sandbox.plan import LD_LIBRARY_PATH

_XRAY_HOST, _XRAY_PORT = "169.254.100.1", "2000"
_DEFAULTS = {
    "LANG": "en_US.UTF-8",
    "TZ": ":UTC",
    "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
    "LD_LIBRARY_PATH": LD_LIBRARY_PATH,
    "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
    "AWS_XRAY_DAEMON_ADDRESS": f"{_XRAY_HOST}:{_XRAY_PORT}",
}
# The older of the two OS-only runtimes knows no /var/lang.
_OS_ONLY_DEFAULTS = {
    "provided.al2": {
        name: ":".join(part for part in _DEFAULTS[name].split(":") if "/var/lang" not in part)
        for name in ("PATH", "LD_LIBRARY_PATH")
    }
}
_PYTHON_DEFAULTS = {"PYTHONPATH": "/var/runtime", "LC_CTYPE": "C.UTF-8", "PWD": "/var/task"}

RESERVED = frozenset(
    [
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_FORMAT",
        "AWS_LAMBDA_LOG_LEVEL",
        "AWS_LAMBDA_MAX_CONCURRENCY",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    ]
)


def of_runtime(
    function: Function, *, version: str, region: str, log_stream: str, runtime_api: str
) -> dict[str, str]:
    """The environment of a function's runtime process."""
    managed = function.runtime.startswith("python")
    customer: Mapping[str, str] = function.environment or {}
    reserved = {
        "_HANDLER": function.handler or "",
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group or f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": log_stream,
        "AWS_LAMBDA_RUNTIME_API": runtime_api,
        "LAMBDA_TASK_ROOT": "/var/task",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "_AWS_XRAY_DAEMON_ADDRESS": _XRAY_HOST,
        "_AWS_XRAY_DAEMON_PORT": _XRAY_PORT,
    }
    if managed:
        reserved["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{function.runtime}"
    if function.log_format == "JSON":
        reserved["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        reserved["AWS_LAMBDA_LOG_LEVEL"] = function.application_log_level or "INFO"
    own = _PYTHON_DEFAULTS if managed else _OS_ONLY_DEFAULTS.get(function.runtime, {})
    return {**_DEFAULTS, **own, **customer, **reserved}
