"""The metadata endpoint of an environment, version 2026-01-15: which zone it is in.

Source: what Powertools for AWS Lambda asks and reads (client-wire section 4).
"""

from __future__ import annotations

from aiohttp import web

from lambdad.runtime_api.answers import refusal
from lambdad.runtime_api.guest import Guest, Route

# There is one zone here; AWS calls the first one of us-east-1 so.
_ZONE = {"AvailabilityZoneID": "use1-az1"}


async def _execution_environment(request: web.BaseRequest, guest: Guest) -> web.StreamResponse:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme != "Bearer" or not guest.environment.is_token(token):
        return refusal(401, "Unauthorized", "Unauthorized")
    return web.json_response(_ZONE)


ROUTES = {
    "/2026-01-15/metadata/execution-environment": Route("GET", _execution_environment),
}
