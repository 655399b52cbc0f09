"""The Extensions API, version 2020-01-01.

Each call ends in one method of ``Extensions``, after its body has been read: what is refused or
changed is judged by the state as it is then. Bodies are bounded; of what reports of errors say
but for its type, nothing is kept. Every path is unknown where extensions are disabled. Source:
runtime-protocol section 2.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from lambdad.body import read_body
from lambdad.invoke import extension_state
from lambdad.invoke.environment import Environment
from lambdad.invoke.extensions import ExtensionEvent, Extensions, InvokeEvent
from lambdad.invoke.runtime_state import Refused
from lambdad.model import ids, limits
from lambdad.runtime_api.answers import JSON, accepted, not_found
from lambdad.runtime_api.guest import Guest, Route

_PREFIX = "/2020-01-01/extension/"
_NAME = "Lambda-Extension-Name"
_FEATURES = "Lambda-Extension-Accept-Feature"
_ERROR_TYPE = "Lambda-Extension-Function-Error-Type"
_EVENT_IDENTIFIER = "Lambda-Extension-Event-Identifier"
IDENTIFIER = "Lambda-Extension-Identifier"

_Handler = Callable[[web.BaseRequest, Guest, Extensions], Awaitable[web.StreamResponse]]


def _enabled(
    handler: _Handler,
) -> Callable[[web.BaseRequest, Guest], Awaitable[web.StreamResponse]]:
    """The handler, for environments that have extensions."""

    async def answer(request: web.BaseRequest, guest: Guest) -> web.StreamResponse:
        extensions = guest.environment.extensions
        return not_found() if extensions is None else await handler(request, guest, extensions)

    return answer


async def _register(
    request: web.BaseRequest, guest: Guest, extensions: Extensions
) -> web.StreamResponse:
    name = request.headers.get(_NAME, "")
    if not name:
        raise extension_state.no_name()
    events = _events(await _body(request, limits.extension_json_bytes_max))
    extension = extensions.register(name, events)
    features = {feature.strip() for feature in request.headers.get(_FEATURES, "").split(",")}
    facts = _facts(guest.environment, with_account="accountId" in features)
    return _json(facts, {IDENTIFIER: extension.identifier})


def _facts(environment: Environment, *, with_account: bool) -> dict[str, str]:
    """What an extension hears of its function when it registers."""
    function = environment.function
    facts = {
        "functionName": function.name,
        "functionVersion": environment.version,
        "handler": function.handler or "",
    }
    return facts | {"accountId": environment.account} if with_account else facts


def _events(body: bytes) -> list[str]:
    """The names of events in the body of a registration.

    Raises:
        Refused: 403, it is not of the form that is asked for.
    """
    try:
        wanted = json.loads(body)
    except (ValueError, RecursionError):
        raise _malformed("cannot read the body: it is not JSON") from None
    if wanted is None:
        return []
    if not isinstance(wanted, dict):
        raise _malformed("cannot read the body: it is not an object")
    if wanted.get("configurationKeys"):
        raise _malformed("configurationKeys are deprecated; use environment variables instead")
    events = wanted.get("events")
    if events is None:
        return []
    if not isinstance(events, list) or not all(isinstance(event, str) for event in events):
        raise _malformed("cannot read the body: events is not a list of strings")
    return events


def _malformed(message: str) -> Refused:
    return Refused(403, "InvalidRequestFormat", message)


async def _next(request: web.BaseRequest, _: Guest, extensions: Extensions) -> web.StreamResponse:
    identifier = request.headers.get(IDENTIFIER, "")

    def connected() -> bool:
        return request.transport is not None and not request.transport.is_closing()

    event = await extensions.next_event(identifier, connected)
    headers = {IDENTIFIER: identifier, _EVENT_IDENTIFIER: ids.request_id()}
    return _json(_shown(event), headers)


def _shown(event: ExtensionEvent) -> dict[str, object]:
    if isinstance(event, InvokeEvent):
        return {
            "eventType": "INVOKE",
            "deadlineMs": event.deadline_ms,
            "requestId": event.request_id,
            "invokedFunctionArn": event.function_arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": event.trace},
        }
    return {
        "eventType": "SHUTDOWN",
        "deadlineMs": event.deadline_ms,
        "shutdownReason": event.reason,
    }


async def _init_error(
    request: web.BaseRequest, _: Guest, extensions: Extensions
) -> web.StreamResponse:
    await _body(request)
    extensions.init_error(*_report(request))
    return accepted()


async def _exit_error(
    request: web.BaseRequest, _: Guest, extensions: Extensions
) -> web.StreamResponse:
    await _body(request)
    extensions.exit_error(*_report(request))
    return accepted()


def _report(request: web.BaseRequest) -> tuple[str, str]:
    """Whose error it is, and its type."""
    return request.headers.get(IDENTIFIER, ""), request.headers.get(_ERROR_TYPE, "")


async def _body(request: web.BaseRequest, size_max: int = limits.extension_body_bytes_max) -> bytes:
    """The body.

    Raises:
        Refused: 413, it is too large.
        CutOff: there is no whole body.
    """
    body, _ = await read_body(request, size_max)
    if body is None:
        text = f"Exceeded maximum allowed payload size ({size_max} bytes)."
        raise Refused(413, "RequestEntityTooLarge", text)
    return body


def _json(value: Mapping[str, object], headers: dict[str, str]) -> web.Response:
    body = json.dumps(value, separators=(",", ":")).encode()
    return web.Response(body=body, headers={"Content-Type": JSON, **headers})


ROUTES = {
    _PREFIX + "register": Route("POST", _enabled(_register)),
    _PREFIX + "event/next": Route("GET", _enabled(_next)),
    _PREFIX + "init/error": Route("POST", _enabled(_init_error)),
    _PREFIX + "exit/error": Route("POST", _enabled(_exit_error)),
}
