"""The door on the outside: HTTP in, an operation of the model, HTTP out.

One handler for everything: there is no router and no middleware per request. What the wire
refuses and what an operation raises become modelled errors; nothing else leaves this file. Who
may call is asked before anything is done; how requests come over the wire is the door's matter.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl

import structlog
from aiohttp import web

from lambdad.api import origin, sigv4
from lambdad.api.admin import CENSUS_PATH, Admin
from lambdad.api.call import Call
from lambdad.api.code_links import CodeLinks
from lambdad.api.logs.door import SERVICE as LOGS
from lambdad.api.logs.door import LogsApi, refusal
from lambdad.api.operations.invoke import payload_too_large
from lambdad.api.wire import model, render, validate
from lambdad.api.wire.parse import Unparsable, parse
from lambdad.api.wire.render import Answer
from lambdad.api.wire.route import MethodNotAllowed, Router, UnknownOperation
from lambdad.body import CutOff, read_body
from lambdad.code.blobs import Blobs
from lambdad.http_door import Door, Sweep, Terms, begin, target
from lambdad.model import ids, limits
from lambdad.model.clock import Clock
from lambdad.model.errors import ApiError, PlatformFault, invalid_parameter

_log = structlog.get_logger()

Handler = Callable[[Mapping[str, Any], Call], Awaitable[dict[str, Any]]]

TERMS = Terms(
    header_line_bytes=limits.api_header_line_bytes_max,
    head_bytes=limits.api_head_bytes_max,
    connections=limits.api_connections_max,
    idle_s=limits.api_idle_s_max,
)


class ApiServer:
    """Serves the Lambda API, the API of the logs, and what operators ask.

    Args:
        operations: by the name in the model; all others are refused by name.
        blobs: where the zips lie that ``Code.Location`` links to.
        clock: tells when links and signatures are no longer good.
        host: the address that is listened on; another name is refused, unless callers sign.
        region: that signatures must be for.
        keys: who may call; None if nobody has to sign.
        logs: who answers what has a target instead of a path; None if nobody does.
        admin: who answers operators; None if nobody does.
        terms: what clients are granted.
    """

    def __init__(
        self,
        operations: Mapping[str, Handler],
        blobs: Blobs,
        clock: Clock,
        *,
        host: str,
        region: str,
        keys: sigv4.Keys | None = None,
        logs: LogsApi | None = None,
        admin: Admin | None = None,
        terms: Terms = TERMS,
    ) -> None:
        self._operations, self._blobs, self._clock = operations, blobs, clock
        self._host, self._region, self._keys, self._terms = host, region, keys, terms
        self._logs, self._admin, self._links = logs, admin, CodeLinks()
        self._model = model.load()
        self._router = Router(self._model)

    def protocol_factory(self) -> Door:
        """What the event loop serves connections with."""
        return Door(self._handle, self._refusal, self._terms, Sweep())

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        request_id = ids.request_id()
        path, query = target(request)
        try:
            self._refuse_pages(request)
            if request.method == "GET":
                tree = self._links.tree(path, query, self._clock.now())
                if tree is not None:
                    return self._code(tree, request_id)
            answer = await self._answer(request, path, query, request_id)
        except ApiError as error:
            answer = self._error(error)
        except CutOff:
            raise
        except PlatformFault as fault:
            _log.error("platform fault", request_id=request_id, error=str(fault))
            answer = self._error(_service_exception(str(fault)))
        except Exception:  # noqa: BLE001  whatever it is, the client gets an answer
            _log.exception("cannot answer", request_id=request_id)
            answer = self._error(_service_exception("An internal error has occurred"))
        answer.headers["x-amzn-RequestId"] = request_id
        if isinstance(answer.body, bytes):
            return web.Response(status=answer.status, headers=answer.headers, body=answer.body)
        return await _send(request, answer.status, answer.headers, answer.body)

    async def _answer(
        self, request: web.BaseRequest, path: str, raw_query: str, request_id: str
    ) -> Answer:
        asked = request.headers.get("X-Amz-Target")
        if self._logs is not None and asked is not None and path == "/":
            return await self._answer_logs(self._logs, request, asked, raw_query)
        if self._admin is not None and (request.method, path) == ("GET", CENSUS_PATH):
            await self._body(request, path, raw_query, "GetCensus")
            return self._admin.census()
        query = parse_qsl(raw_query, keep_blank_values=True) if raw_query else []
        try:
            operation, labels = self._router.match(request.method, path, query)
        except (UnknownOperation, MethodNotAllowed) as error:
            # As the service answers whatever it has no operation for.
            raise ApiError(
                "AccessDeniedException",
                "Unable to determine service/operation name to be authorized",
            ) from error
        body = await self._body(request, path, raw_query, operation.name)
        handler = self._operations.get(operation.name)
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
        call = Call(
            request_id,
            headers.get("x-amzn-trace-id", ""),
            f"http://{request.host}",
            headers.get("Content-Type", ""),
            partial(self._links.path, now=self._clock.now()),
        )
        answer = render.render(operation, await handler(params, call))
        answer.headers.update(call.headers)
        return answer

    async def _answer_logs(
        self, logs: LogsApi, request: web.BaseRequest, asked: str, query: str
    ) -> Answer:
        """The other service has a form of its own for everything, errors too."""
        try:
            body = await self._body(request, "/", query, asked, LOGS)
            return await logs.answer(asked, body)
        except ApiError as error:
            return refusal(error)

    def _refuse_pages(self, request: web.BaseRequest) -> None:
        """Refuse what a page in somebody's browser sends; who signs is no such page."""
        origin.refuse_browsers(request.headers)
        if self._keys is None:
            origin.refuse_strange_host(request.headers.get("Host", ""), self._host)

    async def _body(
        self,
        request: web.BaseRequest,
        path: str,
        query: str,
        operation: str,
        service: str = "lambda",
    ) -> bytes:
        """The body, from a caller who may call.

        Raises:
            ApiError: it is too large, or nobody whom we know has signed it.
            CutOff: there is no whole body.
        """
        if self._keys is None:
            return await _read(request, operation)
        signed = sigv4.Signed(request.method, path, query, sigv4.joined(request.headers.items()))
        claim = sigv4.read_claim(signed, self._region, self._clock.now(), service)
        if claim.access_key_id in self._keys:
            body = await _read(request, operation)
        else:
            # Nothing is kept for a stranger, and the answer comes when it would come to others.
            await read_body(request, 0)
            body = b""
        sigv4.check(claim, signed, hashlib.sha256(body).hexdigest(), self._keys)
        return body

    def _error(self, error: ApiError) -> Answer:
        return render.render_error(self._model, error.code, error.message, error.members)

    def _refusal(self, status: HTTPStatus) -> web.Response:
        """The answer to what is no request, or to one that nobody could answer."""
        code = "ServiceException" if status >= 500 else "BadRequestException"
        answer = self._error(ApiError(code, status.phrase))
        answer.headers["x-amzn-RequestId"] = ids.request_id()
        return web.Response(status=status, headers=answer.headers, body=answer.body)

    def _code(self, tree: str, request_id: str) -> web.StreamResponse:
        """The zip of a function, as it was uploaded; its name is the digest of its content."""
        if not tree:
            raise ApiError("AccessDeniedException", "Request has expired")
        path = self._blobs.zip_if_there(tree)
        if path is None:
            return web.Response(status=404, headers={"x-amzn-RequestId": request_id})
        headers = {"Content-Type": "application/zip", "x-amzn-RequestId": request_id}
        return web.FileResponse(path, headers=headers)


async def _send(
    request: web.BaseRequest,
    status: int,
    headers: dict[str, str],
    body: AsyncGenerator[bytes, None],
) -> web.StreamResponse:
    """Send a body as it comes; if the client goes, it is told so and left unread."""
    response = web.StreamResponse(status=status, headers=headers)
    async with aclosing(body):
        with suppress(ConnectionError):
            await begin(response, request)
        with suppress(ConnectionError):
            async for piece in body:
                await response.write(piece)
    return response


def _service_exception(message: str) -> ApiError:
    return ApiError("ServiceException", message, Type="Service")


async def _read(request: web.BaseRequest, operation: str) -> bytes:
    """The body.

    Raises:
        ApiError: it is larger than the operation takes; it has been read to its end.
        CutOff: there is no whole body.
    """
    invoking = operation.startswith("Invoke")
    bytes_max = limits.sync_payload_bytes_max if invoking else limits.create_request_bytes_max
    body, size = await read_body(request, bytes_max)
    if body is not None:
        return body
    if invoking:
        is_event = request.headers.get("X-Amz-Invocation-Type") == "Event"
        raise payload_too_large(size, "Event" if is_event else "RequestResponse")
    raise ApiError(
        "RequestEntityTooLargeException",
        f"Request must be smaller than {bytes_max} bytes for the {operation} operation",
    )
