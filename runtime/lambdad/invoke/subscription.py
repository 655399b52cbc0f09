"""What an extension asks for when it subscribes to the Telemetry or the Logs API. Pure.

A request body becomes a ``Subscription``, or a list of what is wrong with it. Nothing is
connected or sent here. Source: runtime-protocol 3.1;
https://docs.aws.amazon.com/lambda/latest/dg/telemetry-api-reference.html and
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-logs-api.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from lambdad.model import limits

TYPES = ("platform", "function", "extension")


class Api(StrEnum):
    """The two APIs that deliver telemetry, as spelled in their error types and texts."""

    TELEMETRY = "Telemetry"
    LOGS = "Logs"


SCHEMAS = {
    Api.TELEMETRY: ("2022-07-01", "2022-12-13", "2025-01-29"),
    Api.LOGS: ("2020-08-15", "2021-03-18"),
}
_SCHEMA_DEFAULT = {Api.TELEMETRY: None, Api.LOGS: "2020-08-15"}
# The error type of a body that is no subscription.
VALIDATION_ERROR = {Api.TELEMETRY: "ValidationError", Api.LOGS: "Logs.ValidationError"}
# The only one that environments with many invocations at a time know.
MANAGED_SCHEMA = "2025-01-29"

# An address inside the environment. What follows the port goes into a request line as it stands.
_URI = re.compile(
    r"(?P<scheme>[a-z]+)://(?P<host>[^/?#:@]*)(?::(?P<port>[0-9]*))?(?P<path>[/?][!\"$-~]*)?",
    re.IGNORECASE | re.ASCII,
)
_HOSTS = frozenset({"sandbox", "sandbox.localdomain"})
_PORT_MAX = 65_535


class Protocol(StrEnum):
    """How telemetry travels to an extension."""

    HTTP = "HTTP"
    TCP = "TCP"


@dataclass(frozen=True, slots=True)
class Destination:
    """Where an extension listens, always on its own environment's loopback.

    Attributes:
        host: as the extension wrote it, for the Host header only; it is never looked up.
        path: begins with a slash, with the query if there is one. HTTP only, as is ``method``.
    """

    protocol: Protocol
    port: int
    host: str = ""
    path: str = "/"
    method: str = "POST"


@dataclass(frozen=True, slots=True)
class Subscription:
    """What one extension wants to be told, how and where.

    Attributes:
        types: of ``TYPES``.
        max_items: events of a batch.
        max_bytes: of a batch; the event that goes beyond is its last.
        timeout_s: from a batch's first event until it is delivered, full or not.
    """

    api: Api
    schema: str
    types: frozenset[str]
    destination: Destination
    max_items: int = limits.telemetry_items_default
    max_bytes: int = limits.telemetry_bytes_default
    timeout_s: float = limits.telemetry_timeout_ms_default / 1000


class Invalid(Exception):
    """A body that is no subscription.

    Attributes:
        messages: everything that is wrong with it.
    """

    def __init__(self, messages: list[str]) -> None:
        super().__init__("; ".join(messages))
        self.messages = messages


def parse(api: Api, body: bytes, *, managed: bool = False) -> Subscription:
    """The subscription that a request body asks for.

    Args:
        api: the one it was sent to.
        body: JSON.
        managed: whether the environment runs many invocations at a time.

    Raises:
        Invalid: it is none.
    """
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        raise Invalid(["Request body is not valid JSON"]) from None
    if not isinstance(asked, dict):
        raise Invalid(["Request body should be a JSON object"])
    wrong: list[str] = []
    schema = _schema(api, asked, wrong, managed=managed)
    destination = _destination(api, asked.get("destination"), wrong)
    types = _types(asked.get("types"), wrong)
    buffering = _buffering(asked.get("buffering"), wrong)
    if wrong:
        raise Invalid(wrong)
    return Subscription(
        api,
        schema,
        types,
        destination,
        max_items=buffering["maxItems"],
        max_bytes=buffering["maxBytes"],
        timeout_s=buffering["timeoutMs"] / 1000,
    )


def _schema(api: Api, asked: Mapping[str, Any], wrong: list[str], *, managed: bool) -> str:
    known = (MANAGED_SCHEMA,) if managed else SCHEMAS[api]
    said = asked.get("schemaVersion") or _SCHEMA_DEFAULT[api]
    if said is None:
        wrong.append("schemaVersion is not provided")
    elif said not in known:
        wrong.append(f"schemaVersion should be one of {', '.join(known)}")
    return str(said)


def _types(said: Any, wrong: list[str]) -> frozenset[str]:
    if said is None or said == []:
        wrong.append("types should not be empty")
    elif not isinstance(said, list) or not all(one in TYPES for one in said):
        wrong.append(f"types should be a list of {', '.join(TYPES)}")
    else:
        return frozenset(said)
    return frozenset()


_BUFFERING = {
    "maxBytes": (
        limits.telemetry_bytes_min,
        limits.telemetry_bytes_max,
        limits.telemetry_bytes_default,
    ),
    "maxItems": (
        limits.telemetry_items_min,
        limits.telemetry_items_max,
        limits.telemetry_items_default,
    ),
    "timeoutMs": (
        limits.telemetry_timeout_ms_min,
        limits.telemetry_timeout_ms_max,
        limits.telemetry_timeout_ms_default,
    ),
}


def _buffering(said: Any, wrong: list[str]) -> dict[str, int]:
    if said is None:
        said = {}
    elif not isinstance(said, dict):
        wrong.append("buffering should be an object")
        said = {}
    numbers = {}
    for key, (least, most, usual) in _BUFFERING.items():
        number = usual if said.get(key) is None else said[key]
        if type(number) is not int or not least <= number <= most:
            wrong.append(f"buffering.{key} should be an integer from {least} to {most}")
        numbers[key] = number
    return numbers


_NOWHERE = Destination(Protocol.TCP, 0)


def _destination(api: Api, said: Any, wrong: list[str]) -> Destination:
    if not isinstance(said, dict):
        wrong.append("destination is not provided")
        return _NOWHERE
    match said.get("protocol"):
        case Protocol.TCP:
            return _tcp(said.get("port"), wrong)
        case Protocol.HTTP:
            return _http(api, said, wrong)
    wrong.append("destination.protocol should be HTTP or TCP")
    return _NOWHERE


def _tcp(port: Any, wrong: list[str]) -> Destination:
    if type(port) is not int:
        wrong.append("port is not provided")
        return _NOWHERE
    _check_port(port, wrong)
    return Destination(Protocol.TCP, port)


def _http(api: Api, said: Mapping[str, Any], wrong: list[str]) -> Destination:
    method = "POST"
    if api is Api.LOGS:
        method = said.get("method") or method
        if method not in ("POST", "PUT"):
            wrong.append("destination.method should be POST or PUT")
        if (said.get("encoding") or "JSON") != "JSON":
            wrong.append("destination.encoding should be JSON")
    uri = said.get("URI")
    if not isinstance(uri, str) or not uri:
        wrong.append("URI is not provided")
        return _NOWHERE
    found = _URI.fullmatch(uri) if len(uri) <= limits.request_target_bytes_max else None
    if found is None:
        wrong.append("URI is not valid")
        return _NOWHERE
    if found["scheme"].lower() != "http":
        wrong.append("URI scheme should be http")
    if found["host"].lower() not in _HOSTS:
        wrong.append("URI host should be sandbox or sandbox.localdomain")
    # More digits than a port has are no port, and are not worth to be counted.
    port = int(found["port"][:6]) if found["port"] else None
    if port is None:
        wrong.append("URI port is not provided")
        return _NOWHERE
    _check_port(port, wrong)
    path = found["path"] or "/"
    return Destination(
        Protocol.HTTP,
        port,
        host=found["host"],
        path=path if path.startswith("/") else "/" + path,
        method=method,
    )


def _check_port(port: int, wrong: list[str]) -> None:
    if not 1 <= port <= _PORT_MAX:
        wrong.append(f"port should be from 1 to {_PORT_MAX}")
    elif port == limits.runtime_api_port:
        wrong.append(f"port {port} is reserved")
