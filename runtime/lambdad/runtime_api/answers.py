"""What the in-sandbox APIs answer with, whatever was asked: accepted, or refused.

Source: runtime-protocol 0.3.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from aiohttp import web

from lambdad.model import limits

JSON = "application/json"

_OK = b'{"status":"OK"}\n'


def accepted() -> web.Response:
    return web.Response(status=202, body=_OK, headers={"Content-Type": JSON})


def refusal(status: int, error_type: str, message: str) -> web.Response:
    """An error of the API itself: errorMessage first, then a newline."""
    body = json.dumps({"errorMessage": message, "errorType": error_type}, separators=(",", ":"))
    return web.Response(status=status, body=body.encode() + b"\n", headers={"Content-Type": JSON})


def no_request(status: HTTPStatus) -> web.Response:
    return refusal(status, "InvalidRequest", status.phrase)


def payload_too_large() -> web.Response:
    size = limits.response_bytes_max
    text = f"Exceeded maximum allowed payload size ({size} bytes)."
    return refusal(413, "RequestEntityTooLarge", text)
