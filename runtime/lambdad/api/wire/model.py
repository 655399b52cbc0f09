"""The service model that botocore ships, read into shapes: data, not botocore's code.

Everything the other modules of the wire ask of an operation is resolved here, once; a request
looks nothing up by name. Nothing here names an operation or judges a value.

The form of the file: https://smithy.io/2.0/aws/protocols/aws-restjson1-protocol.html, in the
older notation that botocore keeps (``service-2.json``).
"""

from __future__ import annotations

import gzip
import importlib.util
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

LAMBDA = "lambda/2015-03-31"
LOGS = "logs/2014-03-28"

Location = Literal["uri", "querystring", "header", "statusCode", "body"]
ScalarType = Literal["string", "integer", "long", "float", "double", "boolean", "blob", "timestamp"]


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """A value without parts.

    Attributes:
        minimum, maximum: of the number, or of the length of a string or blob.
        enum: the values allowed; empty when any is.
        sensitive: never to be shown in a message.
    """

    name: str
    type: ScalarType
    minimum: float | None
    maximum: float | None
    enum: tuple[str, ...]
    pattern: str | None
    sensitive: bool


@dataclass(frozen=True, slots=True, eq=False)
class ListOf:
    """A list; ``minimum`` and ``maximum`` are of its length."""

    name: str
    element: Shape
    minimum: float | None
    maximum: float | None
    sensitive: bool


@dataclass(frozen=True, slots=True, eq=False)
class MapOf:
    """A map with string keys; ``minimum`` and ``maximum`` are of the number of its entries."""

    name: str
    key: Shape
    value: Shape
    minimum: float | None
    maximum: float | None
    sensitive: bool


@dataclass(frozen=True, slots=True, eq=False)
class Structure:
    """Named members, in the model's order."""

    name: str
    sensitive: bool
    event_stream: bool
    members: dict[str, Member] = field(default_factory=dict)


Shape = Scalar | ListOf | MapOf | Structure


@dataclass(frozen=True, slots=True, eq=False)
class Member:
    """One member of a structure.

    Attributes:
        wire_name: its name in the place where it stands: a header's, a label's, a JSON key.
        event_payload: it is all that the message of its event holds.
    """

    name: str
    wire_name: str
    location: Location
    required: bool
    shape: Shape
    event_payload: bool


@dataclass(frozen=True, slots=True, eq=False)
class Message:
    """What an operation takes or gives: its structure, with the members sorted by their place.

    Attributes:
        payload: the member that is the whole body; then ``body`` is empty.
        status: the member that is the HTTP status.
    """

    structure: Structure
    labels: tuple[Member, ...]
    query: tuple[Member, ...]
    headers: tuple[Member, ...]
    body: tuple[Member, ...]
    payload: Member | None
    status: Member | None


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation; ``uri`` and ``status`` are the model's, with labels in braces.

    Attributes:
        output: ``None`` for an operation that answers with a status and nothing else.
    """

    name: str
    method: str
    uri: str
    status: int
    input: Message
    output: Message | None


@dataclass(frozen=True, slots=True, eq=False)
class ErrorShape:
    """An error that the model describes.

    Attributes:
        message_name: ``message`` or ``Message``: both occur.
        headers: the members that travel as headers.
        fault: it is the service's, not the caller's.
    """

    code: str
    status: int
    message_name: str
    headers: tuple[Member, ...]
    fault: bool


@dataclass(frozen=True, slots=True, eq=False)
class ServiceModel:
    """Every operation and every error, by name."""

    operations: Mapping[str, Operation]
    errors: Mapping[str, ErrorShape]


def load(service: str = LAMBDA) -> ServiceModel:
    """Read the model of a service from the botocore that is installed, without importing it.

    Raises:
        LookupError: botocore is not installed.
        FileNotFoundError: its model of the service is not where it was.
    """
    spec = importlib.util.find_spec("botocore")
    if spec is None or not spec.submodule_search_locations:
        raise LookupError("cannot find botocore, whose service model the API is made of")
    data = Path(spec.submodule_search_locations[0]) / "data"
    with gzip.open(data / service / "service-2.json.gz") as file:
        return read(json.load(file))


def read(document: Mapping[str, Any]) -> ServiceModel:
    """Resolve a parsed ``service-2.json``."""
    resolver = _Resolver(document["shapes"])
    return ServiceModel(
        operations={
            name: _operation(raw, resolver) for name, raw in document["operations"].items()
        },
        errors={
            name: _error(raw, resolver.structure(name))
            for name, raw in document["shapes"].items()
            if raw.get("exception")
        },
    )


def _operation(raw: Mapping[str, Any], resolver: _Resolver) -> Operation:
    http = raw["http"]
    return Operation(
        name=raw["name"],
        method=http["method"],
        uri=http["requestUri"],
        status=http.get("responseCode", 200),
        input=resolver.message(raw["input"]["shape"]) if "input" in raw else _NOTHING,
        output=resolver.message(raw["output"]["shape"]) if "output" in raw else None,
    )


def _error(raw: Mapping[str, Any], structure: Structure) -> ErrorShape:
    members = structure.members.values()
    names = (member.wire_name for member in members if member.name.lower() == "message")
    fault = raw.get("fault", False)
    return ErrorShape(
        code=structure.name,
        status=raw.get("error", {}).get("httpStatusCode", 500 if fault else 400),
        message_name=next(names, "message"),
        headers=tuple(member for member in members if member.location == "header"),
        fault=fault,
    )


class _Resolver:
    """Makes each shape once. A structure is known before its members are: they may hold it."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        self._raw = raw
        self._made: dict[str, Shape] = {}

    def message(self, name: str) -> Message:
        structure, payload_name = self.structure(name), self._raw[name].get("payload")
        members = structure.members.values()

        def at(location: Location) -> Iterator[Member]:
            return (m for m in members if m.location == location and m.name != payload_name)

        return Message(
            structure,
            labels=tuple(at("uri")),
            query=tuple(at("querystring")),
            headers=tuple(at("header")),
            body=tuple(at("body")),
            payload=structure.members[payload_name] if payload_name else None,
            status=next(at("statusCode"), None),
        )

    def structure(self, name: str) -> Structure:
        return cast("Structure", self._shape(name))

    def _shape(self, name: str) -> Shape:
        if name not in self._made:
            self._made[name] = self._make(name, self._raw[name])
        return self._made[name]

    def _make(self, name: str, raw: Mapping[str, Any]) -> Shape:
        sensitive, bounds = raw.get("sensitive", False), (raw.get("min"), raw.get("max"))
        match raw["type"]:
            case "structure":
                return self._make_structure(name, raw)
            case "list":
                return ListOf(name, self._shape(raw["member"]["shape"]), *bounds, sensitive)
            case "map":
                key, value = self._shape(raw["key"]["shape"]), self._shape(raw["value"]["shape"])
                return MapOf(name, key, value, *bounds, sensitive)
            case scalar:
                enum = tuple(raw.get("enum", ()))
                return Scalar(name, scalar, *bounds, enum, raw.get("pattern"), sensitive)

    def _make_structure(self, name: str, raw: Mapping[str, Any]) -> Structure:
        structure = Structure(name, raw.get("sensitive", False), raw.get("eventstream", False))
        self._made[name] = structure
        for member, reference in raw["members"].items():
            structure.members[member] = Member(
                name=member,
                wire_name=reference.get("locationName", member),
                location=reference.get("location", "body"),
                required=member in raw.get("required", ()),
                shape=self._shape(reference["shape"]),
                event_payload=reference.get("eventpayload", False),
            )
        return structure


_NOTHING = Message(
    Structure("Unit", sensitive=False, event_stream=False), (), (), (), (), None, None
)
