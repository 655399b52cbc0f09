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

# Of these lists the service does not say that their members must not be null.
SILENT_ABOUT_NULL = frozenset({"SecurityGroupIds", "SubnetIds"})

# By structure and member. An unknown runtime is an InvalidParameterValueException.
CHECKED_ELSEWHERE = frozenset(
    {("CreateFunctionRequest", "Runtime"), ("UpdateFunctionConfigurationRequest", "Runtime")}
)
