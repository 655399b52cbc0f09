"""The Telemetry API, version 2022-07-01, and the Logs API, version 2020-08-15: to subscribe.

What a subscriber gets goes the other way, on connections of the environment's own: see
``courier``. Every path is unknown where extensions are disabled. Source: runtime-protocol 3.1.
"""

from __future__ import annotations

import json
from functools import partial

from aiohttp import web

from lambdad.body import read_body
from lambdad.invoke.subscription import VALIDATION_ERROR, Api, Invalid, Subscription, parse
from lambdad.model import limits
from lambdad.runtime_api.answers import JSON, not_found
from lambdad.runtime_api.extensions import IDENTIFIER
from lambdad.runtime_api.guest import Guest, Route


async def _subscribe(api: Api, request: web.BaseRequest, guest: Guest) -> web.StreamResponse:
    environment = guest.environment
    managed = environment.function.max_concurrency is not None
    if environment.extensions is None or (managed and api is Api.LOGS):
        return not_found()
    body, _ = await read_body(request, limits.extension_json_bytes_max)
    extension = environment.extensions.find(request.headers.get(IDENTIFIER, ""))
    try:
        subscription = _read(api, body, managed=managed)
    except Invalid as invalid:
        return _invalid(VALIDATION_ERROR[api], str(invalid))
    environment.subscribe(extension, subscription)
    return web.Response(body=b'"OK"', headers={"Content-Type": JSON})


def _read(api: Api, body: bytes | None, *, managed: bool) -> Subscription:
    """As ``parse`` does it; a body that is too large is none."""
    if body is None:
        raise Invalid([f"Request body should have at most {limits.extension_json_bytes_max} bytes"])
    return parse(api, body, managed=managed)


def _invalid(error_type: str, message: str) -> web.Response:
    """What is wrong with a subscription: unlike other refusals, errorType comes first."""
    shown = {"errorType": error_type, "errorMessage": message}
    body = json.dumps(shown, separators=(",", ":")).encode()
    return web.Response(status=400, body=body, headers={"Content-Type": JSON})


_TELEMETRY = Route("PUT", partial(_subscribe, Api.TELEMETRY))

ROUTES = {
    "/2022-07-01/telemetry": _TELEMETRY,
    "/2022-07-01/telemetry/": _TELEMETRY,  # Examples of AWS have it so.
    "/2020-08-15/logs": Route("PUT", partial(_subscribe, Api.LOGS)),
}
