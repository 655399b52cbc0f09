"""The door on the outside: HTTP in, an operation of the model, HTTP out.

One handler for everything: there is no router and no middleware per request. What the wire
refuses and what an operation raises become modelled errors; nothing else leaves this file.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import structlog
from aiohttp import web

from lambdad.api.call import Call
from lambdad.api.operations.invoke import payload_too_large
from lambdad.api.wire import model, render, validate
from lambdad.api.wire.parse import Unparsable, parse
from lambdad.api.wire.render import Answer
from lambdad.api.wire.route import MethodNotAllowed, Router, UnknownOperation
from lambdad.body import read_body
from lambdad.code.blobs import Blobs
from lambdad.model import ids, limits
from lambdad.model.errors import ApiError, PlatformFault, invalid_parameter

_log = structlog.get_logger()

Handler = Callable[[Mapping[str, Any], Call], Awaitable[dict[str, Any]]]

_CODE = re.compile(r"/lambdad/code/([0-9a-f]{64})\.zip")


class ApiServer:
    """Serves the Lambda API.

    Args:
        operations: by the name in the model; all others are refused by name.
        blobs: where the zips lie that ``Code.Location`` links to.
    """

    def __init__(self, operations: Mapping[str, Handler], blobs: Blobs) -> None:
        self._operations, self._blobs = operations, blobs
        self._model = model.load()
        self._router = Router(self._model)

    def protocol_factory(self) -> web.Server:
        """What the event loop serves connections with."""
        return web.Server(self._handle, access_log=None, max_field_size=64 * 1024)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        request_id = ids.request_id()
        if request.method == "GET" and (asked := _CODE.fullmatch(request.path)):
            return self._code(asked[1], request_id)
        try:
            answer = await self._answer(request, request_id)
        except ApiError as error:
            answer = self._error(error)
        except PlatformFault as fault:
            _log.error("platform fault", request_id=request_id, error=str(fault))
            answer = self._error(_service_exception(str(fault)))
        except Exception:  # noqa: BLE001  whatever it is, the client gets an answer
            _log.exception("cannot answer", request_id=request_id)
            answer = self._error(_service_exception("An internal error has occurred"))
        answer.headers["x-amzn-RequestId"] = request_id
        answer.headers["Server"] = "lambdad"
        return web.Response(status=answer.status, headers=answer.headers, body=answer.body)

    async def _answer(self, request: web.BaseRequest, request_id: str) -> Answer:
        raw_path, _, raw_query = request.raw_path.partition("?")
        query = parse_qsl(raw_query, keep_blank_values=True) if raw_query else []
        try:
            operation, labels = self._router.match(request.method, raw_path, query)
        except (UnknownOperation, MethodNotAllowed) as error:
            # As the service answers whatever it has no operation for.
            raise ApiError(
                "AccessDeniedException",
                "Unable to determine service/operation name to be authorized",
            ) from error
        handler = self._operations.get(operation.name)
        body = await _read(request, operation.name)
        if handler is None:
            raise invalid_parameter(f"{operation.name} is not offered by lambdad yet.")
        headers = request.headers
        try:
            params = parse(operation, labels, query, headers, body)
        except Unparsable as error:
            raise ApiError(error.code, str(error), Type="User") from error
        violations = validate.violations(operation, params)
        if violations:
            raise ApiError("ValidationException", validate.message(violations))
        call = Call(request_id, headers.get("x-amzn-trace-id", ""), f"http://{request.host}")
        return render.render(operation, await handler(params, call))

    def _error(self, error: ApiError) -> Answer:
        return render.render_error(self._model, error.code, error.message, error.members)

    def _code(self, tree: str, request_id: str) -> web.StreamResponse:
        """The zip of a function, as it was uploaded; its name is the digest of its content."""
        path = self._blobs.zip_if_there(tree)
        if path is None:
            return web.Response(status=404, headers={"x-amzn-RequestId": request_id})
        headers = {"Content-Type": "application/zip", "x-amzn-RequestId": request_id}
        return web.FileResponse(path, headers=headers)


def _service_exception(message: str) -> ApiError:
    return ApiError("ServiceException", message, Type="Service")


async def _read(request: web.BaseRequest, operation: str) -> bytes:
    """The body.

    Raises:
        ApiError: it is larger than the operation takes; it has been read to its end.
    """
    invoking = operation.startswith("Invoke")
    bytes_max = limits.sync_payload_bytes_max if invoking else limits.create_request_bytes_max
    body, size = await read_body(request, bytes_max)
    if body is not None:
        return body
    if invoking:
        raise payload_too_large(size)
    raise ApiError(
        "RequestEntityTooLargeException",
        f"Request must be smaller than {bytes_max} bytes for the {operation} operation",
    )
