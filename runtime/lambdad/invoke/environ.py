"""The variables that a function's processes see. Pure, but for made-up credentials.

Order of precedence, the later wins: defaults that a customer may replace, the customer's own,
what is reserved (runtime-protocol 5.1).
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass

from lambdad.model import ids, limits
from lambdad.model.clock import iso_milliseconds
from lambdad.model.function import Function
from lambdad_sandbox.messages import LOG_FD
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
# Threads are not in a snapshot, and with threads alive none can be taken. These libraries start
# theirs when they are imported, as many as there are processors, unless they are told not to.
_SNAPSHOT_DEFAULTS = dict.fromkeys(
    ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"), "1"
)

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
        "AWS_LAMBDA_METADATA_API",
        "AWS_LAMBDA_METADATA_TOKEN",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    ]
)


# What extensions do not get of a runtime's variables, beside all that begin with an underscore.
_NOT_FOR_EXTENSIONS = frozenset(
    [
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_XRAY_CONTEXT_MISSING",
        "AWS_XRAY_DAEMON_ADDRESS",
        "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT",
    ]
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Temporary credentials in AWS's form, good for nothing: there is no role to be.

    SDKs call nothing without; what they call (an emulator, a test server) takes any.

    Attributes:
        token: what asks for them where they are not in variables, and for the metadata.
    """

    access_key_id: str
    secret_access_key: str
    session_token: str
    token: str

    @classmethod
    def make(cls) -> Credentials:
        """New ones, for one environment."""
        drawn = ids.letters(120)
        return cls("ASIA" + drawn[:16], drawn[16:56], drawn[56:], ids.request_id())

    def is_token(self, said: str) -> bool:
        """Whether a header says the token; it may hold any bytes."""
        theirs = said.encode(errors="surrogateescape")
        return hmac.compare_digest(theirs, self.token.encode())

    def variables(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_SESSION_TOKEN": self.session_token,
        }

    def record(self, now_s: float) -> dict[str, str]:
        """What the credentials route answers; good for as long as AWS's are."""
        return {
            "AccessKeyId": self.access_key_id,
            "SecretAccessKey": self.secret_access_key,
            "Token": self.session_token,
            "Expiration": iso_milliseconds(now_s + limits.credentials_s),
        }


@dataclass(frozen=True, slots=True)
class Place:
    """Where a function's processes find themselves.

    Attributes:
        region: of the daemon.
        log_stream: of their environment.
        runtime_api: host and port of the in-sandbox APIs.
        init_type: AWS_LAMBDA_INITIALIZATION_TYPE.
        credentials: what they sign with.
    """

    region: str
    log_stream: str
    runtime_api: str
    init_type: str
    credentials: Credentials


def is_managed(function: Function) -> bool:
    """Whether the runtime is lambdad's to bring."""
    return not function.runtime.startswith("provided")


def of_runtime(function: Function, place: Place) -> dict[str, str]:
    """The environment of a function's runtime process."""
    managed = is_managed(function)
    reserved = {
        "_HANDLER": function.handler or "",
        "AWS_REGION": place.region,
        "AWS_DEFAULT_REGION": place.region,
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_VERSION": function.version,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_INITIALIZATION_TYPE": place.init_type,
        "AWS_LAMBDA_RUNTIME_API": place.runtime_api,
        "AWS_LAMBDA_METADATA_API": place.runtime_api,
        "AWS_LAMBDA_METADATA_TOKEN": place.credentials.token,
        "LAMBDA_TASK_ROOT": "/var/task",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "_AWS_XRAY_DAEMON_ADDRESS": _XRAY_HOST,
        "_AWS_XRAY_DAEMON_PORT": _XRAY_PORT,
    }
    if managed:
        reserved["AWS_EXECUTION_ENV"] = f"AWS_Lambda_{function.runtime}"
        reserved["_LAMBDA_TELEMETRY_LOG_FD"] = str(LOG_FD)
    if function.max_concurrency is not None:
        reserved["AWS_LAMBDA_MAX_CONCURRENCY"] = str(function.max_concurrency)
    if function.log_format == "JSON":
        reserved["AWS_LAMBDA_LOG_FORMAT"] = "JSON"
        reserved["AWS_LAMBDA_LOG_LEVEL"] = function.application_log_level or "INFO"
    if place.init_type == "snap-start":
        # What is in a snapshot would be the same, and stale, wherever it is restored.
        reserved["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = (
            f"http://{place.runtime_api}/2021-04-23/credentials"
        )
        reserved["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = place.credentials.token
    else:
        reserved |= {
            **place.credentials.variables(),
            "AWS_LAMBDA_LOG_GROUP_NAME": log_group(function),
            "AWS_LAMBDA_LOG_STREAM_NAME": place.log_stream,
        }
    own = _PYTHON_DEFAULTS if managed else _OS_ONLY_DEFAULTS.get(function.runtime, {})
    if managed and place.init_type == "snap-start":
        own = own | _SNAPSHOT_DEFAULTS
    return {**_DEFAULTS, **own, **(function.environment or {}), **reserved}


def of_extension(function: Function, place: Place) -> dict[str, str]:
    """The environment of an external extension (runtime-protocol 5.2)."""
    return {
        name: value
        for name, value in of_runtime(function, place).items()
        if name not in _NOT_FOR_EXTENSIONS and not name.startswith("_")
    }


def log_group(function: Function) -> str:
    """Where the function's log is."""
    return function.log_group or f"/aws/lambda/{function.name}"
