"""The in-sandbox APIs over the listener born inside an environment.

The listener is the identity: who speaks on it is that environment. Everything that arrives here
is hostile input; bodies are opaque bytes with a limit. This file finds who answers; what is
answered stands in the module of each API. Source: runtime-protocol 0.3.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from aiohttp import web

from lambdad.http_door import Door, Sweep, Terms
from lambdad.invoke.environment import Environment
from lambdad.invoke.runtime_state import Refused
from lambdad.model import limits
from lambdad.runtime_api import answers, extensions, metadata, runtime, telemetry
from lambdad.runtime_api.courier import courier
from lambdad.runtime_api.guest import Guest, Route

_CLOSE_S_MAX = 0.01  # Whoever could be answered is dead.

TERMS = Terms(
    header_line_bytes=limits.header_line_bytes_max,
    head_bytes=limits.runtime_api_head_bytes_max,
    connections=limits.runtime_api_connections_max,
    idle_s=math.inf,  # A runtime keeps its connection for hours.
)

_PING = "/2018-06-01/ping"


class RuntimeApi:
    """The guest door: ``open`` serves one environment.

    Args:
        terms: what each environment's clients are granted.
    """

    def __init__(self, terms: Terms = TERMS) -> None:
        self._terms, self._sweep = terms, Sweep()

    async def open(self, environment: Environment, listener: Any) -> Callable[[], Awaitable[None]]:
        """Serve on the listener until the returned function is called."""
        answer = partial(_answer, Guest(environment))
        terms = _with_workers(self._terms, environment.function.max_concurrency or 0)
        server = Door(answer, answers.no_request, terms, self._sweep)
        listening = await asyncio.get_running_loop().create_server(server, sock=listener)

        async def close() -> None:
            listening.close()
            await server.shutdown(_CLOSE_S_MAX)

        return close

    courier = staticmethod(courier)


def _with_workers(terms: Terms, count: int) -> Terms:
    """What is granted, and a connection for each worker of a runtime that has so many."""
    return replace(terms, connections=terms.connections + count)


async def _answer(guest: Guest, request: web.BaseRequest) -> web.StreamResponse:
    path = request.path
    route = _ROUTES.get(path)
    arguments: tuple[str, ...] = ()
    if route is None and guest.environment.snap_start:
        route = runtime.SNAP_START_ROUTES.get(path)
    if route is None and (found := runtime.OUTCOME.fullmatch(path)) is not None:
        route, arguments = runtime.OUTCOMES[found[2]], (found[1],)
    if route is None:
        return answers.not_found()
    if request.method != route.method:
        return web.Response(status=405)
    try:
        return await route.handler(request, guest, *arguments)
    except Refused as refused:
        return answers.refusal(refused.status, refused.error_type, refused.message)


async def _pong(*_: object) -> web.StreamResponse:
    return web.Response(text="pong")


_ROUTES = {
    _PING: Route("GET", _pong),
    **runtime.ROUTES,
    **extensions.ROUTES,
    **telemetry.ROUTES,
    **metadata.ROUTES,
}
