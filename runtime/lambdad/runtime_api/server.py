"""The Runtime API, version 2018-06-01, over the listener born inside an environment.

The listener is the identity: who speaks on it is that environment. Everything that arrives here
is hostile input; bodies are opaque bytes with a limit. Each call ends in one method of
``Environment``. Source: runtime-protocol sections 0.3 and 1.
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Any

from aiohttp import web

from lambdad.body import CutOff, read_body
from lambdad.http_door import Door, Sweep, Terms
from lambdad.invoke.environment import Environment
from lambdad.invoke.invocation import Delivery
from lambdad.invoke.runtime_state import Call, Refused
from lambdad.model import limits
from lambdad.model.errors import FunctionError

_CLOSE_S_MAX = 0.01  # Whoever could be answered is dead.
_JSON = "application/json"

TERMS = Terms(
    header_line_bytes=limits.header_line_bytes_max,
    head_bytes=limits.runtime_api_head_bytes_max,
    connections=limits.runtime_api_connections_max,
    idle_s=math.inf,  # A runtime keeps its connection for hours.
)

_SMALL_EVENT_BYTES = 64 * 1024
_OK = b'{"status":"OK"}\n'
_PREFIX = "/2018-06-01/"
_NEXT = _PREFIX + "runtime/invocation/next"
_ANSWER = re.compile(_PREFIX + r"runtime/invocation/([^/]+)/(response|error)")
_INIT_ERROR = _PREFIX + "runtime/init/error"
_PING = _PREFIX + "ping"

# What is kept of an error type that a runtime sends; anything else is Unknown.
_ERROR_TYPE = re.compile(r"(?:Runtime|Function)\.[A-Z][a-zA-Z]+")

_TOO_LARGE = (
    b'{"errorMessage":"Response payload size exceeded maximum allowed payload size '
    b'(6291556 bytes).","errorType":"Function.ResponseSizeTooLarge"}'
)


class RuntimeApi:
    """The guest door: ``open`` serves one environment.

    Args:
        terms: what each environment's clients are granted.
    """

    def __init__(self, terms: Terms = TERMS) -> None:
        self._terms, self._sweep = terms, Sweep()

    async def open(self, environment: Environment, listener: Any) -> Callable[[], Awaitable[None]]:
        """Serve on the listener until the returned function is called."""
        server = Door(
            partial(_answer, environment, asyncio.Lock()), _no_request, self._terms, self._sweep
        )
        listening = await asyncio.get_running_loop().create_server(server, sock=listener)

        async def close() -> None:
            listening.close()
            await server.shutdown(_CLOSE_S_MAX)

        return close


async def _answer(
    environment: Environment, turn: asyncio.Lock, request: web.BaseRequest
) -> web.StreamResponse:
    path = request.path
    try:
        if path == _NEXT:
            return await _only("GET", request, _next, environment, turn)
        if (found := _ANSWER.fullmatch(path)) is not None:
            answer = _response if found[2] == "response" else _error
            return await _only("POST", request, answer, environment, found[1])
        if path == _INIT_ERROR:
            return await _only("POST", request, _init_error, environment)
        if path == _PING:
            return await _only("GET", request, _pong)
    except Refused as refused:
        return _refusal(refused.status, refused.error_type, refused.message)
    return web.Response(status=404, text="404 page not found\n")


async def _only(
    method: str,
    request: web.BaseRequest,
    handler: Callable[..., Awaitable[web.StreamResponse]],
    *arguments: Any,
) -> web.StreamResponse:
    if request.method != method:
        return web.Response(status=405)
    return await handler(request, *arguments)


async def _pong(_: web.BaseRequest) -> web.StreamResponse:
    return web.Response(text="pong")


async def _next(
    request: web.BaseRequest, environment: Environment, turn: asyncio.Lock
) -> web.StreamResponse:
    delivery = await environment.next_event()
    payload = delivery.invocation.payload
    response = web.Response(body=payload, headers=_event_headers(delivery))
    if len(payload) > _SMALL_EVENT_BYTES:
        # Who asks on many connections and reads none has one copy of it waiting here, not many.
        try:
            async with turn:
                await response.prepare(request)
                await response.write_eof()
        except ConnectionError as error:
            raise CutOff from error
    return response


def _event_headers(delivery: Delivery) -> dict[str, str]:
    invocation = delivery.invocation
    headers = {
        "Content-Type": _JSON,
        "Lambda-Runtime-Aws-Request-Id": invocation.request_id,
        "Lambda-Runtime-Deadline-Ms": str(delivery.deadline_ms),
        "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
        "Lambda-Runtime-Trace-Id": invocation.trace,
    }
    if invocation.client_context is not None:
        headers["Lambda-Runtime-Client-Context"] = invocation.client_context
    return headers


async def _response(
    request: web.BaseRequest, environment: Environment, request_id: str
) -> web.StreamResponse:
    environment.begin_answer(request_id, Call.RESPONSE)
    mode = request.headers.get("Lambda-Runtime-Function-Response-Mode", "streaming")
    try:
        body, _ = await read_body(request, limits.response_bytes_max)
    except CutOff:
        return _truncated(environment)
    if mode != "streaming":
        environment.answer_error(FunctionError("Runtime.InvalidResponseModeHeader", b""))
        return _refusal(400, "InvalidFunctionResponseMode", "Invalid function response mode")
    if body is None:
        environment.answer_error(FunctionError("Function.ResponseSizeTooLarge", _TOO_LARGE))
        return _payload_too_large()
    environment.answer(body)
    return _accepted()


async def _error(
    request: web.BaseRequest, environment: Environment, request_id: str
) -> web.StreamResponse:
    environment.begin_answer(request_id, Call.ERROR)
    try:
        body, _ = await read_body(request, limits.response_bytes_max)
    except CutOff:
        return _truncated(environment)
    if body is None:
        environment.answer_error(FunctionError("Function.ResponseSizeTooLarge", _TOO_LARGE))
        return _payload_too_large()
    environment.answer_error(FunctionError(_error_type(request), body, status=None))
    return _accepted()


async def _init_error(request: web.BaseRequest, environment: Environment) -> web.StreamResponse:
    environment.begin_init_error()
    body, _ = await read_body(request, limits.response_bytes_max)
    environment.init_error(FunctionError(_error_type(request), body or b"{}"))
    return _accepted()


def _truncated(environment: Environment) -> web.StreamResponse:
    """The client closed before its body was complete."""
    payload = json.dumps({"errorType": "Runtime.TruncatedResponse"}).encode()
    environment.answer_error(FunctionError("Runtime.TruncatedResponse", payload))
    return _refusal(400, "TruncatedHTTPRequest", "HTTP request detected as truncated")


def _error_type(request: web.BaseRequest) -> str:
    """The sanitised type of an error, for REPORT and telemetry only."""
    said = request.headers.get("Lambda-Runtime-Function-Error-Type", "")
    found = _ERROR_TYPE.search(said)
    if found is not None:
        return found[0]
    return "Function.Unknown" if said.startswith("Function.") else "Runtime.Unknown"


def _accepted() -> web.Response:
    return web.Response(status=202, body=_OK, headers={"Content-Type": _JSON})


def _no_request(status: HTTPStatus) -> web.Response:
    return _refusal(status, "InvalidRequest", status.phrase)


def _payload_too_large() -> web.Response:
    size = limits.response_bytes_max
    text = f"Exceeded maximum allowed payload size ({size} bytes)."
    return _refusal(413, "RequestEntityTooLarge", text)


def _refusal(status: int, error_type: str, message: str) -> web.Response:
    body = json.dumps({"errorMessage": message, "errorType": error_type}, separators=(",", ":"))
    return web.Response(status=status, body=body.encode() + b"\n", headers={"Content-Type": _JSON})
