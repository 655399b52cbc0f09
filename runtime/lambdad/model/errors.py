"""Three families of errors that never mix.

``ApiError`` is the caller's, ``FunctionError`` the function's, ``PlatformFault`` ours or the
host's.
"""

from __future__ import annotations

import json
from typing import Any

_TEXT_BYTES_MAX = 64 * 1024  # an error of a function's that is longer is not read for its message


class ApiError(Exception):
    """An error of the Lambda API, named by its shape in the service model.

    Args:
        code: the shape's name, as it stands in ``x-amzn-ErrorType``.
        message: the text; ``None`` gives a null message, as AWS has it for AccessDenied.
        members: further members of the body, such as ``Type`` or ``Reason``.
    """

    def __init__(self, code: str, message: str | None, **members: Any) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.members = code, message, members


def not_found(message: str) -> ApiError:
    return ApiError("ResourceNotFoundException", message, Type="User")


def invalid_parameter(message: str) -> ApiError:
    return ApiError("InvalidParameterValueException", message, Type="User")


def conflict(message: str) -> ApiError:
    return ApiError("ResourceConflictException", message, Type="User")


class FunctionError(Exception):
    """What the invoker of a failed function sees: always HTTP 200 and ``Unhandled``.

    Args:
        error_type: such as ``Runtime.ExitError``; stands in REPORT lines.
        payload: the body for the invoker, byte for byte.
        status: ``error`` or ``timeout``, as REPORT has it; ``None`` when the runtime reported
            the error by itself, which REPORT does not mention.
    """

    def __init__(self, error_type: str, payload: bytes, *, status: str | None = "error") -> None:
        super().__init__(error_type)
        self.error_type, self.payload, self.status = error_type, payload, status

    @property
    def text(self) -> str:
        """Its type and its message, if there is one in the payload, in one line of words."""
        try:
            message = json.loads(self.payload[:_TEXT_BYTES_MAX])["errorMessage"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return self.error_type
        return f"{self.error_type}: {message}"


def platform_error(
    error_type: str, request_id: str, text: str, *, status: str = "error"
) -> FunctionError:
    """An error that the platform words itself: errorType first, no newline.

    Args:
        error_type: such as ``Sandbox.Timedout``.
        request_id: of the event that it ended; empty if there was none yet.
        text: what happened.
        status: as REPORT has it.
    """
    message = f"RequestId: {request_id} Error: {text}" if request_id else f"Error: {text}"
    body = {"errorType": error_type, "errorMessage": message}
    payload = json.dumps(body, separators=(",", ":")).encode()
    return FunctionError(error_type, payload, status=status)


class PlatformFault(Exception):
    """lambdad or its host failed; the caller gets ServiceException and may try again."""
