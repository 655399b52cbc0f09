"""What the in-sandbox APIs answer with, whatever was asked: accepted, or refused.

Source: runtime-protocol 0.3.
"""

from __future__ import annotations

import json
from http import HTTPStatus

from aiohttp import web

JSON = "application/json"

_OK = b'{"status":"OK"}\n'


def accepted() -> web.Response:
    return web.Response(status=202, body=_OK, headers={"Content-Type": JSON})


def refusal(status: int, error_type: str, message: str) -> web.Response:
    """An error of the API itself: errorMessage first, then a newline."""
    body = json.dumps({"errorMessage": message, "errorType": error_type}, separators=(",", ":"))
    return web.Response(status=status, body=body.encode() + b"\n", headers={"Content-Type": JSON})


def not_found() -> web.Response:
    return web.Response(status=404, text="404 page not found\n")


def no_request(status: HTTPStatus) -> web.Response:
    return refusal(status, "InvalidRequest", status.phrase)


def payload_too_large(bytes_max: int) -> web.Response:
    text = f"Exceeded maximum allowed payload size ({bytes_max} bytes)."
    return refusal(413, "RequestEntityTooLarge", text)
