"""Invoke, and the same with a response that streams.

Sources: lambda-api section 18, runtime-protocol 4.9.
"""

from __future__ import annotations

import asyncio
import base64
import json
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NoReturn

from lambdad.api.call import Call
from lambdad.api.operations import names
from lambdad.api.wire.render import Events
from lambdad.events.queue import EventQueue
from lambdad.invoke.invocation import Invocation, Run
from lambdad.invoke.registry import Registry
from lambdad.invoke.stream import Stream
from lambdad.model import ids, limits
from lambdad.model.arn import function_arn
from lambdad.model.clock import Clock
from lambdad.model.errors import ApiError, FunctionError, not_found
from lambdad.model.function import LATEST, Function

_JSON = "application/json"
_NO_KIND = frozenset(
    {
        "",
        _JSON,
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "binary/octet-stream",
    }
)
_SOURCE = "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled)"


class InvokeOperations:
    """Running functions."""

    def __init__(
        self, registry: Registry, events: EventQueue, clock: Clock, *, region: str, account: str
    ) -> None:
        self._registry, self._events, self._clock = registry, events, clock
        self._region, self._account = region, account

    async def Invoke(self, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
        function, qualifier, invocation = self._read(params, call, streams=False)
        match params.get("InvocationType", "RequestResponse"):
            case "DryRun":
                return {"StatusCode": 204}
            case "Event":
                if len(invocation.payload) > limits.async_payload_bytes_max:
                    raise payload_too_large(len(invocation.payload), "Event")
                await self._events.accept(function.name, qualifier, invocation)
                return {"StatusCode": 202}
        return await self._run(function, invocation)

    async def InvokeWithResponseStream(
        self, params: Mapping[str, Any], call: Call
    ) -> dict[str, Any]:
        function, _qualifier, invocation = self._read(params, call, streams=True)
        if params.get("InvocationType") == "DryRun":
            return {"StatusCode": 204}
        try:
            run = await self._registry.invoke(function.name, invocation, function.version)
        except FunctionError as error:
            events = _not_run(error)
        else:
            with suppress(FunctionError):  # It is told at the end of the stream.
                await asyncio.shield(run.answered)
            events = _events(run)
        return {"StatusCode": 200, "ExecutedVersion": function.version, "EventStream": events}

    def _read(
        self, params: Mapping[str, Any], call: Call, *, streams: bool
    ) -> tuple[Function, str, Invocation]:
        """What is to run, by which qualifier, and with what.

        Raises:
            ApiError: there is no such function, or the payload is none.
        """
        name, qualifier = names.read(
            params["FunctionName"], params.get("Qualifier"), region=self._region
        )
        payload = params.get("Payload") or b"{}"
        check_payload(payload)
        context = _client_context(params.get("ClientContext"))
        function = self._registry.drawn(name, qualifier)
        if function is None:
            asked = function_arn(self._region, self._account, name, qualifier or LATEST)
            raise not_found(f"Function not found: {asked}")
        active = function.tracing_mode == "Active"
        trace = trace_header(call.trace, self._clock.now(), active=active)
        call.headers["X-Amzn-Trace-Id"] = trace
        invocation = Invocation(
            request_id=call.request_id,
            payload=payload,
            function_arn=function_arn(self._region, self._account, name, qualifier),
            trace=trace,
            client_context=context,
            streams=streams,
            content_type=content_type(call.content_type),
            tenant_id=params.get("TenantId"),
            traced="Sampled=1" in trace.split(";"),
            tail=params.get("LogType") == "Tail",
        )
        return function, qualifier or LATEST, invocation

    async def _run(self, function: Function, invocation: Invocation) -> dict[str, Any]:
        answer: dict[str, Any] = {"StatusCode": 200, "ExecutedVersion": function.version}
        run: Run | None = None  # There is none if an init failed that is not tried again.
        try:
            run = await self._registry.invoke(function.name, invocation, function.version)
            answer["Payload"] = await asyncio.shield(run.answered)
        except FunctionError as error:
            answer["Payload"], answer["FunctionError"] = error.payload, "Unhandled"
        if invocation.tail and run is not None:
            answer["LogResult"] = await _tail(run)
        return answer


async def _tail(run: Run) -> str:
    return base64.b64encode(await asyncio.shield(run.finished)).decode()


async def _events(run: Run) -> Events:
    """The response of a run that has begun to answer, or has failed, in pieces; then its end."""
    complete: dict[str, Any] = {}
    try:
        answered = run.answered.result()
    except FunctionError as error:
        # What a runtime reports by itself has no name but the one that Invoke has for it, too.
        complete = _failure(error.error_type if error.status else "Unhandled", error.payload)
    else:
        if isinstance(answered, Stream):
            try:
                async for piece in answered:
                    yield "PayloadChunk", {"Payload": piece}
            finally:
                answered.abandon()
            complete = _failure(answered.error_type, answered.error_body)
        elif answered:
            yield "PayloadChunk", {"Payload": answered}
    if run.invocation.tail:
        complete["LogResult"] = await _tail(run)
    yield "InvokeComplete", complete


async def _not_run(error: FunctionError) -> Events:
    """The response of an event that could not be run, because its init failed."""
    yield "InvokeComplete", _failure(error.error_type, error.payload)


def _failure(error_type: str, body: bytes) -> dict[str, Any]:
    """What InvokeComplete says of an error; nothing if there was none."""
    if not error_type:
        return {}
    return {"ErrorCode": error_type, "ErrorDetails": body.decode(errors="replace")}


def content_type(named: str) -> str:
    """What the runtime is told that the payload is: JSON, unless the client knows better.

    Runtimes read JSON only if it is called exactly so, and clients that send bytes have no name
    for them that says more.
    """
    kind = named.partition(";")[0].strip().lower()
    if kind in _NO_KIND or not (named.isascii() and named.isprintable()):
        return _JSON
    return named


def trace_header(incoming: str, now: float, *, active: bool = False) -> str:
    """The trace that the function sees (runtime-protocol 5.5).

    Args:
        incoming: the caller's; its root and its decision whether to sample are kept.
        now: seconds since the epoch.
        active: whether the function is traced by itself: a segment of its own, sampled unless
            the caller has decided otherwise.
    """
    if not incoming.isascii():
        incoming = ""  # It could not be passed on in a header.
    parts = dict(part.split("=", 1) for part in incoming.split(";") if "=" in part)
    root = parts.get("Root") or ids.trace_root(now)
    lineage = f";Lineage={parts['Lineage']}" if "Lineage" in parts else ""
    parent = None if active else parts.get("Parent")
    sampled = parts.get("Sampled") or ("1" if active else "0")
    return f"Root={root};Parent={parent or ids.segment_id()};Sampled={sampled}{lineage}"


def check_payload(payload: bytes) -> None:
    """Refuse what is too large or not JSON; what is passed on are the bytes, not what was read.

    Raises:
        ApiError: RequestTooLargeException, InvalidRequestContentException.
    """
    if len(payload) > limits.sync_payload_bytes_max:
        raise payload_too_large(len(payload))
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        byte = payload[error.start]
        _unreadable(f"Invalid UTF-8 start byte 0x{byte:x}", 1, error.start + 1)
    try:
        json.loads(text, parse_constant=_no_constant, parse_int=str, parse_float=str)
    except json.JSONDecodeError as error:
        _unreadable(_jackson(text, error), error.lineno, error.colno)
    except RecursionError:
        _unreadable("Document nesting depth exceeds the maximum allowed", 1, 1)
    except ValueError as error:
        _unreadable(str(error), 1, 1)


def payload_too_large(size: int, kind: str = "RequestResponse") -> ApiError:
    is_event = kind == "Event"
    bytes_max = limits.async_payload_bytes_max if is_event else limits.sync_payload_bytes_max
    return ApiError(
        "RequestTooLargeException",
        f"{size} byte payload is too large for the {kind} invocation type "
        f"(limit {bytes_max} bytes)",
        Type="User",
    )


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"Non-standard token '{name}'")


def _jackson(text: str, error: json.JSONDecodeError) -> str:
    """What the service's parser says; it is Jackson."""
    if error.pos >= len(text):
        return "Unexpected end-of-input"
    character = text[error.pos]
    shown = (
        f"(CTRL-CHAR, code {ord(character)})"
        if unicodedata.category(character) == "Cc"
        else f"'{character}' (code {ord(character)})"
    )
    return (
        f"Unexpected character ({shown}): expected a valid value (JSON String, Number, Array, "
        "Object or token 'null', 'true' or 'false')"
    )


def _unreadable(what: str, line: int, column: int) -> NoReturn:
    raise ApiError(
        "InvalidRequestContentException",
        "Could not parse request body into json: Could not parse payload into json: "
        f"{what}\n at {_SOURCE}; line: {line}, column: {column}]",
        Type="User",
    )


def _client_context(encoded: str | None) -> str | None:
    """The client context as JSON text on one line, for a header.

    Raises:
        ApiError: InvalidRequestContentException.
    """
    if encoded is None:
        return None
    try:
        context = json.loads(base64.b64decode(encoded, validate=True))
    except (ValueError, RecursionError):
        context = None
    if not isinstance(context, dict) or len(encoded) > limits.client_context_bytes_max:
        raise ApiError(
            "InvalidRequestContentException",
            "Client context must be a valid Base64-encoded JSON object.",
            Type="User",
        )
    return json.dumps(context)
