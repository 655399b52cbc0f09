"""The second argument of a handler.

Names, defaults and texts are AWS's; functions print, compare and log them:
https://docs.aws.amazon.com/lambda/latest/dg/python-context.html
"""

from __future__ import annotations

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_W3C_FIELDS = ("traceparent", "tracestate", "baggage")


class _Record:
    """Named fields, all of them absent unless given, which print themselves AWS's way."""

    __slots__: tuple[str, ...] = ()

    def __init__(self, fields: dict[str, Any]) -> None:
        for name in self.__slots__:
            setattr(self, name, fields.get(name))

    def __repr__(self) -> str:
        return _show(self, self.__slots__)


class Client(_Record):
    __slots__ = (  # noqa: RUF023 - the order in which AWS prints them
        "installation_id",
        "app_title",
        "app_version_name",
        "app_version_code",
        "app_package_name",
    )


class ClientContext(_Record):
    __slots__ = ("custom", "env", "client")  # noqa: RUF023 - the same


class CognitoIdentity(_Record):
    __slots__ = ("cognito_identity_id", "cognito_identity_pool_id")


class LambdaContext:
    """What a handler may know of its call and of itself.

    Args:
        request_id: of this invocation.
        client_context: the invoker's own words, parsed; None without any.
        cognito_identity: who the invoker is, parsed; None without any.
        deadline_ms: when the call is ended, in milliseconds since the epoch.
        function_arn: as invoked, with the qualifier if one was given.
        tenant_id: for functions that keep tenants apart.
    """

    def __init__(
        self,
        *,
        request_id: str,
        client_context: dict[str, Any] | None,
        cognito_identity: dict[str, Any] | None,
        deadline_ms: int,
        function_arn: str | None,
        tenant_id: str | None,
    ) -> None:
        environ = os.environ
        self.aws_request_id = request_id
        self.log_group_name = environ.get("AWS_LAMBDA_LOG_GROUP_NAME")
        self.log_stream_name = environ.get("AWS_LAMBDA_LOG_STREAM_NAME")
        self.function_name = environ.get("AWS_LAMBDA_FUNCTION_NAME")
        self.memory_limit_in_mb = environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")
        self.function_version = environ.get("AWS_LAMBDA_FUNCTION_VERSION")
        self.invoked_function_arn = function_arn
        self.tenant_id = tenant_id
        self._w3c_fields = _take_w3c(client_context)
        self.client_context = _client_context(client_context)
        self.identity = _identity(cognito_identity or {})
        self._epoch_deadline_time_in_ms = deadline_ms

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds until the call is ended, and never less than zero."""
        return max(0, self._epoch_deadline_time_in_ms - time.time_ns() // 1_000_000)

    def w3c(self) -> dict[str, str]:
        """The W3C trace context that came with the call."""
        return dict(self._w3c_fields)

    def log(self, msg: object) -> None:
        """Write to the function's log as it stands, without an end of line."""
        sys.stdout.write(str(msg))

    def __repr__(self) -> str:
        return _show(
            self,
            (
                "aws_request_id",
                "log_group_name",
                "log_stream_name",
                "function_name",
                "memory_limit_in_mb",
                "function_version",
                "invoked_function_arn",
                "client_context",
                "identity",
                "tenant_id",
            ),
        )


def _show(value: object, names: tuple[str, ...]) -> str:
    fields = ",".join([f"{name}={getattr(value, name)}" for name in names])
    return f"{type(value).__name__}([{fields}])"


def _take_w3c(client_context: dict[str, Any] | None) -> dict[str, str]:
    """Take the trace context out of the client context, keeping what is known and is text."""
    if not isinstance(client_context, dict):
        return {}
    fields = client_context.pop("w3c", None)
    if not isinstance(fields, dict):
        return {}
    return {name: fields[name] for name in _W3C_FIELDS if isinstance(fields.get(name), str)}


def _client_context(fields: dict[str, Any] | None) -> ClientContext | None:
    if fields is None:
        return None
    client = fields.get("client")
    return ClientContext({**fields, "client": None if client is None else Client(client)})


def _identity(fields: dict[str, Any]) -> CognitoIdentity:
    return CognitoIdentity(
        {
            "cognito_identity_id": fields.get("cognitoIdentityId"),
            "cognito_identity_pool_id": fields.get("cognitoIdentityPoolId"),
        }
    )
