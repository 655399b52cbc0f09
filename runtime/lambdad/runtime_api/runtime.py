"""The Runtime API, version 2018-06-01.

Each call ends in one method of ``Environment``. Source: runtime-protocol section 1.
"""

from __future__ import annotations

import base64
import json
import re
from http import HTTPStatus
from typing import cast

from aiohttp import web

from lambdad.body import CutOff, may_be_discarded, pieces, read_body
from lambdad.http_door import begin, trailers, unhurried, when_gone
from lambdad.invoke.environment import Environment
from lambdad.invoke.invocation import Delivery, Run
from lambdad.invoke.runtime_state import Call
from lambdad.invoke.snap_start import SnapStarted
from lambdad.invoke.stream import Stream
from lambdad.model import limits
from lambdad.model.errors import FunctionError
from lambdad.runtime_api.answers import JSON, accepted, payload_too_large, refusal
from lambdad.runtime_api.guest import Guest, Route

_SMALL_EVENT_BYTES = 64 * 1024
_PREFIX = "/2018-06-01/runtime/"

_MODE = "Lambda-Runtime-Function-Response-Mode"
_ERROR_TYPE, _ERROR_BODY = (
    "Lambda-Runtime-Function-Error-Type",
    "Lambda-Runtime-Function-Error-Body",
)

# What is kept of an error type that a runtime sends; anything else is Unknown.
_KNOWN_TYPE = re.compile(r"(?:Runtime|Function)\.[A-Z][a-zA-Z]+")

# An error with its cause for X-Ray beside it, and what of it is the invoker's.
_ERROR_WITH_CAUSE = "application/vnd.aws.lambda.error.cause+json"
_INVALID_ERROR = b'"Invalid error body"'
_ERROR_MEMBERS = ("errorMessage", "errorType", "stackTrace")


async def _next(request: web.BaseRequest, guest: Guest) -> web.StreamResponse:
    waiting = guest.environment.next_event()
    when_gone(request, waiting.cancel)
    delivery = await waiting
    when_gone(request, None)
    payload = delivery.invocation.payload
    response = web.Response(body=payload, headers=_event_headers(delivery))
    if len(payload) > _SMALL_EVENT_BYTES:
        try:
            async with guest.turn:
                await begin(response, request)
                await response.write_eof()
        except ConnectionError as error:
            raise CutOff from error
    return response


def _event_headers(delivery: Delivery) -> dict[str, str]:
    invocation = delivery.invocation
    headers = {
        "Content-Type": invocation.content_type,
        "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
        "Lambda-Runtime-Deadline-Ms": str(delivery.deadline_ms),
        "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
        "Lambda-Runtime-Trace-Id": invocation.trace,
    }
    if invocation.client_context is not None:
        headers["Lambda-Runtime-Client-Context"] = invocation.client_context
    if invocation.cognito_identity is not None:
        headers["Lambda-Runtime-Cognito-Identity"] = invocation.cognito_identity
    if invocation.tenant_id is not None:
        headers["Lambda-Runtime-Aws-Tenant-Id"] = invocation.tenant_id
    return headers


async def _response(request: web.BaseRequest, guest: Guest, request_id: str) -> web.StreamResponse:
    environment = guest.environment
    run = environment.begin_answer(request_id, Call.RESPONSE)
    match request.headers.get(_MODE, ""):
        case "":
            return await _whole(request, environment, run)
        case "streaming":
            unhurried(request)
            if run.invocation.streams:
                return await _streamed(request, environment, run)
            return await _whole(request, environment, run)
    environment.answer_error(run, FunctionError("Runtime.InvalidResponseModeHeader", b""))
    return refusal(400, "InvalidFunctionResponseMode", "Invalid function response mode")


async def _whole(
    request: web.BaseRequest, environment: Environment, run: Run
) -> web.StreamResponse:
    """A response for an invoker who takes it in one piece, however the runtime makes it."""
    body = await _body(request, environment, run)
    if isinstance(body, web.Response):
        return body
    error_type, error_body = _late_error(request)
    if error_type:
        error_body = error_body or json.dumps({"errorType": error_type}).encode()
        error = FunctionError(_known(error_type), error_body, status=None)
        environment.answer_error(run, error)
    else:
        environment.answer(run, body)
    return accepted()


async def _streamed(
    request: web.BaseRequest, environment: Environment, run: Run
) -> web.StreamResponse:
    """A response that the invoker has while it comes."""
    stream = environment.open_stream(run, request.headers.get("Content-Type", JSON))
    try:
        whole = await _copy(request, stream)
    except CutOff:
        environment.end_stream(run, "Runtime.TruncatedResponse")
        return _truncated()
    if not whole:
        error = _too_large(limits.streamed_response_bytes_max)
        environment.end_stream(run, error.error_type, error.payload)
        return payload_too_large(limits.streamed_response_bytes_max)
    environment.end_stream(run, *_late_error(request))
    return accepted()


async def _copy(request: web.BaseRequest, stream: Stream) -> bool:
    """Pass on every piece as it comes; false if there is more than a stream may hold.

    Raises:
        CutOff: there is no whole body.
    """
    left, dropped = limits.streamed_response_bytes_max, 0
    async for piece in pieces(request):
        kept = piece[:left]
        left -= len(kept)
        dropped += len(piece) - len(kept)
        if kept:
            await stream.write(kept)
        if not may_be_discarded(request, dropped):
            break
    return not dropped


def _late_error(request: web.BaseRequest) -> tuple[str, bytes]:
    """The type and body of an error that came when the response had begun; or nothing."""
    fields = trailers(request)
    error_type, encoded = (fields.get(name.lower(), "") for name in (_ERROR_TYPE, _ERROR_BODY))
    try:
        body = base64.b64decode(encoded, validate=True)
    except ValueError:
        body = encoded.encode("latin-1")
    return error_type or ("Runtime.Unknown" if body else ""), body


async def _error(request: web.BaseRequest, guest: Guest, request_id: str) -> web.StreamResponse:
    environment = guest.environment
    run = environment.begin_answer(request_id, Call.ERROR)
    body = await _body(request, environment, run)
    if isinstance(body, web.Response):
        return body
    # Not request.content_type: who reads parameters can be kept busy with them.
    content_type = request.headers.get("Content-Type", "").partition(";")[0]
    if content_type.strip().lower() == _ERROR_WITH_CAUSE:
        body = _without_cause(body)
    environment.answer_error(run, FunctionError(_error_type(request), body, status=None))
    return accepted()


def _without_cause(body: bytes) -> bytes:
    """What is the invoker's of an error that has its cause beside it."""
    if len(body) > limits.error_with_cause_bytes_max:
        return _INVALID_ERROR
    try:
        error = json.loads(body)
        shown = {name: error[name] for name in _ERROR_MEMBERS if name in error}
    except (ValueError, TypeError, RecursionError):
        return _INVALID_ERROR
    return json.dumps(shown, separators=(",", ":")).encode()


async def _body(
    request: web.BaseRequest, environment: Environment, run: Run
) -> bytes | web.Response:
    """The body of a response or an error; or the answer to one that is not acceptable."""
    try:
        body, _ = await read_body(request, limits.response_bytes_max)
    except CutOff:
        payload = json.dumps({"errorType": "Runtime.TruncatedResponse"}).encode()
        environment.answer_error(run, FunctionError("Runtime.TruncatedResponse", payload))
        return _truncated()
    if body is None:
        environment.answer_error(run, _too_large(limits.response_bytes_max))
        return payload_too_large(limits.response_bytes_max)
    return body


def _truncated() -> web.Response:
    return refusal(400, "TruncatedHTTPRequest", "HTTP request detected as truncated")


def _too_large(bytes_max: int) -> FunctionError:
    text = f"Response payload size exceeded maximum allowed payload size ({bytes_max} bytes)."
    body = {"errorMessage": text, "errorType": "Function.ResponseSizeTooLarge"}
    payload = json.dumps(body, separators=(",", ":")).encode()
    return FunctionError("Function.ResponseSizeTooLarge", payload)


async def _init_error(request: web.BaseRequest, guest: Guest) -> web.StreamResponse:
    environment = guest.environment
    environment.begin_init_error()
    environment.init_error(await _start_error(request))
    return accepted()


async def _restore_next(_: web.BaseRequest, guest: Guest) -> web.StreamResponse:
    await _restorable(guest).restore_next()
    return web.Response()


def _restorable(guest: Guest) -> SnapStarted:
    return cast("SnapStarted", guest.environment)  # No other kind has these routes.


async def _restore_error(request: web.BaseRequest, guest: Guest) -> web.StreamResponse:
    environment = _restorable(guest)
    environment.begin_restore_error()
    environment.restore_error(await _start_error(request))
    return accepted()


async def _start_error(request: web.BaseRequest) -> FunctionError:
    """What keeps a runtime from serving events at all.

    Raises:
        CutOff: there is no whole body.
    """
    body, _ = await read_body(request, limits.response_bytes_max)
    return FunctionError(_error_type(request), body or b"{}")


async def _credentials(request: web.BaseRequest, guest: Guest) -> web.StreamResponse:
    found = guest.environment.credentials(request.headers.get("Authorization", ""))
    if found is None:
        text = "cannot get credentials for the provided token"
        return web.Response(status=HTTPStatus.NOT_FOUND, text=text)
    return web.json_response(found)


def _error_type(request: web.BaseRequest) -> str:
    return _known(request.headers.get(_ERROR_TYPE, ""))


def _known(error_type: str) -> str:
    """The sanitised type of an error, for REPORT and telemetry only."""
    found = _KNOWN_TYPE.search(error_type)
    if found is not None:
        return found[0]
    return "Function.Unknown" if error_type.startswith("Function.") else "Runtime.Unknown"


ROUTES = {
    _PREFIX + "invocation/next": Route("GET", _next),
    _PREFIX + "init/error": Route("POST", _init_error),
}

# Only for environments that are restored from a snapshot.
SNAP_START_ROUTES = {
    _PREFIX + "restore/next": Route("GET", _restore_next),
    _PREFIX + "restore/error": Route("POST", _restore_error),
    "/2021-04-23/credentials": Route("GET", _credentials),
}

# The id of an invocation, and what becomes of it.
OUTCOME = re.compile(_PREFIX + r"invocation/([^/]+)/(response|error)")
OUTCOMES = {"response": Route("POST", _response), "error": Route("POST", _error)}
