"""Invoke. Sources: lambda-api section 18, runtime-protocol 4.9."""

from __future__ import annotations

import asyncio
import base64
import json
import unicodedata
from collections.abc import Mapping
from typing import Any, NoReturn

from lambdad.api.call import Call
from lambdad.api.operations import names
from lambdad.invoke.invocation import Invocation
from lambdad.invoke.registry import Registry
from lambdad.model import ids, limits
from lambdad.model.arn import function_arn
from lambdad.model.clock import Clock
from lambdad.model.errors import ApiError, FunctionError, invalid_parameter, not_found

_SOURCE = "[Source: REDACTED (`StreamReadFeature.INCLUDE_SOURCE_IN_LOCATION` disabled)"


class InvokeOperations:
    """Running functions."""

    def __init__(self, registry: Registry, clock: Clock, *, region: str, account: str) -> None:
        self._registry, self._clock = registry, clock
        self._region, self._account = region, account

    async def Invoke(self, params: Mapping[str, Any], call: Call) -> dict[str, Any]:
        name, qualifier = names.read(
            params["FunctionName"], params.get("Qualifier"), region=self._region
        )
        payload = params.get("Payload") or b"{}"
        check_payload(payload)
        context = _client_context(params.get("ClientContext"))
        if self._registry.find(name) is None or qualifier not in (None, "$LATEST"):
            asked = function_arn(self._region, self._account, name, qualifier or "$LATEST")
            raise not_found(f"Function not found: {asked}")
        match params.get("InvocationType", "RequestResponse"):
            case "DryRun":
                return {"StatusCode": 204}
            case "Event":
                raise invalid_parameter("InvocationType Event is not offered by lambdad yet.")
        invocation = Invocation(
            request_id=call.request_id,
            payload=payload,
            function_arn=function_arn(self._region, self._account, name, qualifier),
            trace=trace_header(call.trace, self._clock.now()),
            client_context=context,
        )
        return await self._run(name, invocation, tail=params.get("LogType") == "Tail")

    async def _run(self, name: str, invocation: Invocation, *, tail: bool) -> dict[str, Any]:
        run = await self._registry.invoke(name, invocation)
        answer: dict[str, Any] = {"StatusCode": 200, "ExecutedVersion": "$LATEST"}
        try:
            answer["Payload"] = await asyncio.shield(run.answered)
        except FunctionError as error:
            answer["Payload"], answer["FunctionError"] = error.payload, "Unhandled"
        if tail:
            answer["LogResult"] = base64.b64encode(await asyncio.shield(run.finished)).decode()
        return answer


def trace_header(incoming: str, now: float) -> str:
    """The trace that the function sees: the caller's root if there is one, never sampled here."""
    parts = dict(part.split("=", 1) for part in incoming.split(";") if "=" in part)
    root = parts.get("Root") or ids.trace_root(now)
    lineage = f";Lineage={parts['Lineage']}" if "Lineage" in parts else ""
    sampled = parts.get("Sampled", "0")
    return (
        f"Root={root};Parent={parts.get('Parent') or ids.segment_id()};Sampled={sampled}{lineage}"
    )


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


def payload_too_large(size: int) -> ApiError:
    return ApiError(
        "RequestTooLargeException",
        f"{size} byte payload is too large for the RequestResponse invocation type "
        f"(limit {limits.sync_payload_bytes_max} bytes)",
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
