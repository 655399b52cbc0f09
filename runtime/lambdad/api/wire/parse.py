"""A request into the parameters of its operation: text and JSON into Python values.

Types are checked, constraints are not: that is ``lambdad.api.wire.validate``. Members that the
model does not know are passed over, and ``null`` is the same as absent, as with AWS.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Never

from lambdad.api.wire import timestamp
from lambdad.api.wire.model import (
    ListOf,
    Location,
    MapOf,
    Member,
    Message,
    Operation,
    Scalar,
    Shape,
    Structure,
)

_WHOLE = re.compile(r"[+-]?[0-9]{1,20}")
_REAL = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,3})?")


class Unparsable(Exception):
    """A request that does not have the form its operation asks for.

    Attributes:
        code: the error to answer with: ``InvalidRequestContentException`` for a body that is no
            JSON, ``SerializationException`` for a value of another type.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code, self.message = code, message


def parse(
    operation: Operation,
    labels: Mapping[str, str],
    query: Sequence[tuple[str, str]],
    headers: Mapping[str, str],
    body: bytes,
) -> dict[str, Any]:
    """Collect the parameters of an operation.

    Args:
        operation: as ``Router.match`` found it.
        labels: of the path, decoded, from the same match.
        query: the decoded pairs; of several for one member that is no list, the first counts.
        headers: with names in lower case.
        body: as sent; an empty one is no body.

    Returns:
        The members that were given. Integers are int, doubles float, blobs bytes, timestamps
        datetime in UTC; a blob that is the whole body stays as it is.

    Raises:
        Unparsable: the request does not have the form of its operation.
    """
    message = operation.input
    found = {m.name: _from_text(m.shape, m.location, labels[m.wire_name]) for m in message.labels}
    for member in message.query:
        texts = [value for key, value in query if key == member.wire_name]
        if texts:
            found[member.name] = _from_query(member, texts)
    for member in message.headers:
        text = headers.get(member.wire_name.lower())
        if text is not None:
            found[member.name] = _from_text(member.shape, member.location, text)
    if body:
        found.update(_from_body(message, body))
    return found


def _from_query(member: Member, texts: Sequence[str]) -> Any:
    if isinstance(member.shape, ListOf):
        return [_from_text(member.shape.element, member.location, text) for text in texts]
    return _from_text(member.shape, member.location, texts[0])


def _from_body(message: Message, body: bytes) -> dict[str, Any]:
    payload = message.payload
    if payload is None:
        document = _decode(body) if message.body else None
        return {} if document is None else _from_json(message.structure, document)
    if isinstance(payload.shape, Scalar):
        return {payload.name: body}
    document = _decode(body)
    return {} if document is None else {payload.name: _from_json(payload.shape, document)}


def _decode(body: bytes) -> Any:
    """Read JSON as RFC 8259 has it: UTF-8, and neither NaN nor Infinity."""
    try:
        return json.loads(body.decode(), parse_constant=_refuse_constant)
    except RecursionError:
        reason = "Document nesting depth exceeds the maximum allowed"
    except ValueError as error:
        reason = str(error)
    raise Unparsable(
        "InvalidRequestContentException", f"Could not parse request body into json: {reason}"
    )


def _refuse_constant(name: str) -> Never:
    raise ValueError(f"Non-standard token '{name}'")


def _from_json(shape: Shape, value: Any) -> Any:
    match shape:
        case Scalar():
            return _FROM_JSON[shape.type](value)
        case Structure():
            _expect(dict, value)
            return {
                member.name: _from_json(member.shape, part)
                for member in shape.members.values()
                if member.location == "body" and (part := value.get(member.wire_name)) is not None
            }
        case ListOf():
            _expect(list, value)
            return [_element(shape.element, part) for part in value]
        case MapOf():
            _expect(dict, value)
            return {_string(key): _element(shape.value, part) for key, part in value.items()}


def _element(shape: Shape, value: Any) -> Any:
    """A ``null`` in a list or map stays, for the validation to complain of."""
    return None if value is None else _from_json(shape, value)


def _expect(kind: type, value: Any) -> None:
    if not isinstance(value, kind):
        raise _cannot_be(value, "list" if kind is list else "map")


def _cannot_be(value: Any, kind: str) -> Unparsable:
    """The service's own sentence, in which a JSON value has the name of its token."""
    match value:
        case dict():
            return _mistyped("Start of structure or map found where not expected")
        case list():
            return _mistyped("Start of list found where not expected")
        case _ if kind in ("list", "map"):
            return _mistyped(f"Expected {kind} or null")
        case bool():
            found = str(value).upper()
        case str():
            found = "STRING"
        case _:
            found = "NUMBER"
    return _mistyped(f"{found}_VALUE can not be converted to {_NAMES[kind]}")


def _mistyped(message: str) -> Unparsable:
    return Unparsable("SerializationException", message)


_NAMES = {
    "string": "a String",
    "integer": "an Integer",
    "long": "a Long",
    "float": "a Float",
    "double": "a Double",
    "boolean": "a Boolean",
    "blob": "a Blob",
    "timestamp": "a Timestamp",
}


def _string(value: Any) -> str:
    """A string that can be stored: JSON and HTTP both let half a surrogate pair through."""
    if not isinstance(value, str):
        raise _cannot_be(value, "string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _mistyped("STRING_VALUE holds half of a surrogate pair") from None
    return value


def _integer(value: Any) -> int:
    return _whole(value, "integer", 32)


def _long(value: Any) -> int:
    return _whole(value, "long", 64)


def _whole(value: Any, kind: str, bits: int) -> int:
    in_range = range(-(2 ** (bits - 1)), 2 ** (bits - 1))
    if not isinstance(value, int) or isinstance(value, bool) or value not in in_range:
        raise _cannot_be(value, kind)
    return value


def _double(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _cannot_be(value, "double")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise _cannot_be(value, "double")
    return number


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _cannot_be(value, "boolean")
    return value


def _blob(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError):
        raise _cannot_be(value, "blob") from None


def _moment(value: Any) -> dt.datetime:
    try:
        return timestamp.from_seconds(_double(value))
    except ValueError:
        raise _cannot_be(value, "timestamp") from None


_FROM_JSON: Mapping[str, Callable[[Any], Any]] = {
    "string": _string,
    "integer": _integer,
    "long": _long,
    "float": _double,
    "double": _double,
    "boolean": _boolean,
    "blob": _blob,
    "timestamp": _moment,
}


def _from_text(shape: Shape, location: Location, text: str) -> Any:
    """Read a label, a header or a value of the query as the scalar it is."""
    assert isinstance(shape, Scalar), "only scalars stand outside of a body"
    match shape.type:
        case "string" | "blob":
            return _FROM_JSON[shape.type](text)
        case "integer" | "long" if _WHOLE.fullmatch(text):
            return _FROM_JSON[shape.type](int(text))
        case "float" | "double" if _REAL.fullmatch(text):
            return _double(float(text))
        case "boolean" if text in ("true", "false"):
            return text == "true"
        case "timestamp":
            return _moment_from_text(location, text)
        case _:
            raise _cannot_be(text, shape.type)


def _moment_from_text(location: Location, text: str) -> dt.datetime:
    read = timestamp.from_http if location == "header" else timestamp.from_iso
    try:
        return read(text)
    except ValueError:
        raise _cannot_be(text, "timestamp") from None
