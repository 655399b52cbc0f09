"""Where the service complains otherwise than its model says: recorded answers, as tables.

Keyed by shape; the order and the patterns are what users see in messages. What the service
checks with another error than ValidationException is no matter of the wire: it is left out
here by ``CHECKED_ELSEWHERE``. Limits that are newer in the model than on ordinary functions
(``Timeout`` 5400, ``MemorySize`` 32768) stay as the model has them, for the operations to
narrow.
"""

from __future__ import annotations

from collections.abc import Mapping

_REGION = r"(eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}"
_UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"

PATTERNS: Mapping[str, str] = {
    "LayerVersionArn": (
        rf"(arn:(aws[a-zA-Z-]*)?:lambda:{_REGION}:\d{{12}}:layer:[a-zA-Z0-9-_]+:[0-9]+)"
        r"|(arn:[a-zA-Z0-9-]+:lambda:::awslayer:[a-zA-Z0-9-_]+)"
    ),
    "TaggableResource": (
        rf"arn:(aws[a-zA-Z-]*):lambda:{_REGION}:\d{{12}}:"
        r"(function:[a-zA-Z0-9-_]+(:(\$LATEST|[a-zA-Z0-9-_]+))?"
        r"|layer:([a-zA-Z0-9-_]+)"
        r"|code-signing-config:csc-[a-z0-9]{17}"
        rf"|event-source-mapping:{_UUID}"
        r"|capacity-provider:[a-zA-Z0-9-_]+)"
    ),
}

ENUMS: Mapping[str, tuple[str, ...]] = {
    "EventSourcePosition": ("LATEST", "AT_TIMESTAMP", "TRIM_HORIZON"),
    "InvokeMode": ("RESPONSE_STREAM", "BUFFERED"),
    "RecursiveLoop": ("Terminate", "Allow"),
}

_RUNTIMES = (
    "nodejs20.x", "python3.14", "provided.al2023", "python3.12", "python3.13", "nodejs24.x",
    "nodejs22.x", "java25", "python3.10", "python3.11", "java21", "ruby3.3", "ruby3.4", "ruby3.2",
    "python3.8", "python3.9", "java17", "nodejs16.x", "dotnet10", "dotnet8", "java11", "dotnet6",
    "nodejs18.x", "provided.al2", "java8.al2",
)  # fmt: skip
_RUNTIMES_EVER = (
    "ruby3.5", "ruby2.6", "dotnetcore1.0", "python3.7", "nodejs8.10", "nasa", "ruby2.7",
    "python2.7-greengrass", "dotnetcore2.0", "python3.8", "java21", "dotnet6", "dotnetcore2.1",
    "python3.9", "java11", "nodejs6.10", "provided", "dotnetcore3.1", "dotnet8", "java25",
    "java17", "nodejs", "nodejs4.3", "java8.al2", "go1.x", "dotnet10", "nodejs20.x", "go1.9",
    "byol", "nodejs10.x", "provided.al2023", "nodejs22.x", "python3.10", "java8", "nodejs12.x",
    "python3.11", "nodejs24.x", "nodejs8.x", "python3.12", "nodejs14.x", "nodejs8.9",
    "nodejs26.x", "python3.13", "python3.14", "nodejs16.x", "python3.15", "provided.al2",
    "nodejs4.3-edge", "nodejs18.x", "ruby3.2", "python3.4", "ruby3.3", "ruby3.4", "ruby2.5",
    "python3.6", "python2.7",
)  # fmt: skip

# By structure and member: what a value may be, or each member of a list; said plainly of both.
MEMBER_ENUMS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("ListLayersRequest", "CompatibleRuntime"): _RUNTIMES_EVER,
    ("ListLayerVersionsRequest", "CompatibleRuntime"): _RUNTIMES_EVER,
    ("PublishLayerVersionRequest", "CompatibleRuntimes"): _RUNTIMES,
}

# Of these lists the service does not say that their members must not be null.
SILENT_ABOUT_NULL = frozenset({"SecurityGroupIds", "SubnetIds"})

# By structure and member. An unknown runtime is an InvalidParameterValueException.
CHECKED_ELSEWHERE = frozenset(
    {("CreateFunctionRequest", "Runtime"), ("UpdateFunctionConfigurationRequest", "Runtime")}
)
