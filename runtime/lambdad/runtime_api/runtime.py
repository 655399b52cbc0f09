"""The Runtime API, version 2018-06-01.

Each call ends in one method of ``Environment``. Source: runtime-protocol section 1.
"""

from __future__ import annotations

import json
import re

from aiohttp import web

from lambdad.body import CutOff, read_body
from lambdad.invoke.environment import Environment
from lambdad.invoke.invocation import Delivery
from lambdad.invoke.runtime_state import Call
from lambdad.model import limits
from lambdad.model.errors import FunctionError
from lambdad.runtime_api.answers import JSON, accepted, payload_too_large, refusal
from lambdad.runtime_api.guest import Guest, Route

_SMALL_EVENT_BYTES = 64 * 1024
_PREFIX = "/2018-06-01/runtime/"

# What is kept of an error type that a runtime sends; anything else is Unknown.
_ERROR_TYPE = re.compile(r"(?:Runtime|Function)\.[A-Z][a-zA-Z]+")

_TOO_LARGE = (
    b'{"errorMessage":"Response payload size exceeded maximum allowed payload size '
    b'(6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}'
)


async def _next(request: web.BaseRequest, guest: Guest) -> web.StreamResponse:
    delivery = await guest.environment.next_event()
    payload = delivery.invocation.payload
    response = web.Response(body=payload, headers=_event_headers(delivery))
    if len(payload) > _SMALL_EVENT_BYTES:
        try:
            async with guest.turn:
                await response.prepare(request)
                await response.write_eof()
        except ConnectionError as error:
            raise CutOff from error
    return response


def _event_headers(delivery: Delivery) -> dict[str, str]:
    invocation = delivery.invocation
    headers = {
        "Content-Type": JSON,
        "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
        "Lambda-Runtime-Deadline-Ms": str(delivery.deadline_ms),
        "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
        "Lambda-Runtime-Trace-Id": invocation.trace,
    }
    if invocation.client_context is not None:
        headers["Lambda-Runtime-Client-Context"] = invocation.client_context
    return headers


async def _response(request: web.BaseRequest, guest: Guest, request_id: str) -> web.StreamResponse:
    environment = guest.environment
    environment.begin_answer(request_id, Call.RESPONSE)
    mode = request.headers.get("Lambda-Runtime-Function-Response-Mode", "streaming")
    try:
        body, _ = await read_body(request, limits.response_bytes_max)
    except CutOff:
        return _truncated(environment)
    if mode != "streaming":
        environment.answer_error(FunctionError("Runtime.InvalidResponseModeHeader", b""))
        return refusal(400, "InvalidFunctionResponseMode", "Invalid function response mode")
    if body is None:
        environment.answer_error(FunctionError("Function.ResponseSizeTooLarge", _TOO_LARGE))
        return payload_too_large()
    environment.answer(body)
    return accepted()


async def _error(request: web.BaseRequest, guest: Guest, request_id: str) -> web.StreamResponse:
    environment = guest.environment
    environment.begin_answer(request_id, Call.ERROR)
    try:
        body, _ = await read_body(request, limits.response_bytes_max)
    except CutOff:
        return _truncated(environment)
    if body is None:
        environment.answer_error(FunctionError("Function.ResponseSizeTooLarge", _TOO_LARGE))
        return payload_too_large()
    environment.answer_error(FunctionError(_error_type(request), body, status=None))
    return accepted()


async def _init_error(request: web.BaseRequest, guest: Guest) -> web.StreamResponse:
    environment = guest.environment
    environment.begin_init_error()
    body, _ = await read_body(request, limits.response_bytes_max)
    environment.init_error(FunctionError(_error_type(request), body or b"{}"))
    return accepted()


def _truncated(environment: Environment) -> web.StreamResponse:
    """The client closed before its body was complete."""
    payload = json.dumps({"errorType": "Runtime.TruncatedResponse"}).encode()
    environment.answer_error(FunctionError("Runtime.TruncatedResponse", payload))
    return refusal(400, "TruncatedHTTPRequest", "HTTP request detected as truncated")


def _error_type(request: web.BaseRequest) -> str:
    """The sanitised type of an error, for REPORT and telemetry only."""
    said = request.headers.get("Lambda-Runtime-Function-Error-Type", "")
    found = _ERROR_TYPE.search(said)
    if found is not None:
        return found[0]
    return "Function.Unknown" if said.startswith("Function.") else "Runtime.Unknown"


ROUTES = {
    _PREFIX + "invocation/next": Route("GET", _next),
    _PREFIX + "init/error": Route("POST", _init_error),
}

# The id of an invocation, and what becomes of it.
OUTCOME = re.compile(_PREFIX + r"invocation/([^/]+)/(response|error)")
OUTCOMES = {"response": Route("POST", _response), "error": Route("POST", _error)}
