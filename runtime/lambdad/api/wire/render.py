"""Results and errors into answers: status, headers and body, as the model places them.

Nothing here chooses an error or a status: results come from the operations, errors from those
who raise them. Request ids, dates and lengths are the server's to add.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple

from lambdad.api.wire import eventstream, timestamp
from lambdad.api.wire.model import (
    ListOf,
    MapOf,
    Member,
    Message,
    Operation,
    Scalar,
    ServiceModel,
    Shape,
    Structure,
)

_NO_CONTENT = 204
_JSON = "application/json"

# Errors that the service gives without describing them: status and name of the message. Others
# that the model lacks are the caller's fault and say `message`.
_UNMODELLED: Mapping[str, tuple[int, str]] = {
    "AccessDeniedException": (403, "Message"),
    "IncompleteSignatureException": (403, "message"),
    "InvalidSignatureException": (403, "message"),
    "MissingAuthenticationTokenException": (403, "message"),
    "RequestEntityTooLargeException": (413, "message"),
    "UnknownOperationException": (404, "Message"),
}


# What an operation gives for an event stream: the name of each event, and its members.
Events = AsyncGenerator[tuple[str, Mapping[str, Any]], None]


class Answer(NamedTuple):
    """An HTTP response; a body that is not there at once comes in pieces."""

    status: int
    headers: dict[str, str]
    body: bytes | AsyncGenerator[bytes, None]


def render(operation: Operation, result: Mapping[str, Any]) -> Answer:
    """The answer of an operation that succeeded.

    The result holds members of the operation's output, typed as ``parse`` gives those of the
    input. What is absent or ``None`` is left out. An event stream is ``Events``.

    Raises:
        ValueError: the result has a member that the model lacks.
    """
    message = operation.output
    if message is None:
        return Answer(operation.status, {}, b"")
    _refuse_unknown(message.structure, result)
    status = operation.status
    if message.status is not None:
        status = result.get(message.status.name) or status
    headers = _headers(message.headers, result)
    if status == _NO_CONTENT:
        return Answer(status, headers, b"")
    payload = message.payload
    if payload is not None and isinstance(payload.shape, Structure) and payload.shape.event_stream:
        headers.setdefault("Content-Type", eventstream.CONTENT_TYPE)
        return Answer(status, headers, _messages(payload.shape, result[payload.name]))
    body = _body(message, result)
    if body:
        headers.setdefault("Content-Type", _JSON)
    return Answer(status, headers, body)


def render_error(
    model: ServiceModel, code: str, message: str | None, members: Mapping[str, Any]
) -> Answer:
    """The answer that an error is.

    Args:
        model: where the error may be described.
        code: the error's name, whether the model knows it or not.
        message: ``None`` is sent as ``null``.
        members: such as ``Type`` or ``Reason``; those that the model places in headers go there,
            the others stand before the message.
    """
    shape = model.errors.get(code)
    if shape is None:
        status, name = _UNMODELLED.get(code, (400, "message"))
        located: tuple[Member, ...] = ()
    else:
        status, name, located = shape.status, shape.message_name, shape.headers
    in_headers = {member.name for member in located}
    document = {k: v for k, v in members.items() if v is not None and k not in in_headers}
    headers = {"x-amzn-ErrorType": code, "Content-Type": _JSON, **_headers(located, members)}
    return Answer(status, headers, _encode(document | {name: message}))


def _headers(members: tuple[Member, ...], result: Mapping[str, Any]) -> dict[str, str]:
    return {
        member.wire_name: _to_text(member.shape, value)
        for member in members
        if (value := result.get(member.name)) is not None
    }


def _to_text(shape: Shape, value: Any) -> str:
    match shape:
        case Scalar(type="timestamp"):
            return timestamp.to_http(value)
        case Scalar(type="boolean"):
            return "true" if value else "false"
        case _:
            return str(value)


async def _messages(stream: Structure, events: Events) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        async for name, members in events:
            yield _event(stream.members[name], members)


def _event(event: Member, members: Mapping[str, Any]) -> bytes:
    assert isinstance(event.shape, Structure)
    blobs = [member.name for member in event.shape.members.values() if member.event_payload]
    if blobs:
        content_type, payload = "application/octet-stream", bytes(members[blobs[0]])
    else:
        content_type, payload = _JSON, _encode(_to_json(event.shape, members))
    headers = {
        ":event-type": event.name,
        ":content-type": content_type,
        ":message-type": "event",
    }
    return eventstream.message(headers, payload)


def _body(message: Message, result: Mapping[str, Any]) -> bytes:
    payload = message.payload
    if payload is None:
        members = {member.name: result.get(member.name) for member in message.body}
        return _encode(_to_json(message.structure, members))
    value = result.get(payload.name)
    if value is None:
        return b""
    if isinstance(payload.shape, Scalar):
        return bytes(value)
    return _encode(_to_json(payload.shape, value))


def _to_json(shape: Shape, value: Any) -> Any:
    match shape:
        case Scalar(type="blob"):
            return base64.b64encode(value).decode()
        case Scalar(type="timestamp"):
            return timestamp.to_seconds(value)
        case Scalar():
            return value
        case ListOf():
            return [_to_json(shape.element, part) for part in value]
        case MapOf():
            return {key: _to_json(shape.value, part) for key, part in value.items()}
        case Structure():
            _refuse_unknown(shape, value)
            return {
                member.wire_name: _to_json(member.shape, part)
                for member in shape.members.values()
                if (part := value.get(member.name)) is not None
            }


def _refuse_unknown(structure: Structure, value: Mapping[str, Any]) -> None:
    """A member that the client would never see is a mistake of ours."""
    unknown = value.keys() - structure.members.keys()
    if unknown:
        raise ValueError(f"cannot render {structure.name} with {', '.join(sorted(unknown))}")


def _encode(document: Any) -> bytes:
    """Compact JSON in ASCII: clients may have sent text that UTF-8 cannot hold."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode()
