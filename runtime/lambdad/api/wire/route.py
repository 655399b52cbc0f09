"""Which operation a request is for: by its method, its path and the constant part of its query.

The raw path is matched and each label decoded afterwards, so that a label may hold ``/`` and
``:`` in percent-encoding. Bodies and headers have no say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from lambdad.api.wire.model import Operation, ServiceModel


class UnknownOperation(Exception):
    """No operation has this path."""


class MethodNotAllowed(Exception):
    """The path is known, under other methods.

    Attributes:
        allowed: those methods, in alphabetical order.
    """

    def __init__(self, method: str, raw_path: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"cannot {method} {raw_path}: allowed are {', '.join(allowed)}")
        self.allowed = allowed


class Match(NamedTuple):
    """An operation, and the labels of its path, decoded."""

    operation: Operation
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Route:
    operation: Operation
    label_names: tuple[str, ...]
    constants: frozenset[tuple[str, str]]


@dataclass(slots=True)
class _Node:
    """What may follow a segment of a path, and what may end with it."""

    literals: dict[str, _Node] = field(default_factory=dict)
    label: _Node | None = None
    routes: dict[str, list[_Route]] = field(default_factory=dict)


class Router:
    """Finds operations by walking a tree of path segments; literal segments win over labels."""

    def __init__(self, model: ServiceModel) -> None:
        self._root = _Node()
        for operation in model.operations.values():
            self._add(operation)

    def match(self, method: str, raw_path: str, query: Sequence[tuple[str, str]]) -> Match:
        """Find the operation of a request.

        Args:
            method: in capitals.
            raw_path: as sent, still percent-encoded; one slash more at its end is allowed.
            query: the decoded pairs.

        Raises:
            UnknownOperation: no operation has this path and query.
            MethodNotAllowed: operations have this path, but under other methods.
        """
        segments = raw_path.removesuffix("/").split("/")[1:]
        found = _walk(self._root, segments, ())
        if found is None:
            raise UnknownOperation(f"cannot find an operation at {raw_path}")
        node, labels = found
        if method not in node.routes:
            raise MethodNotAllowed(method, raw_path, tuple(sorted(node.routes)))
        for route in node.routes[method]:
            if route.constants <= set(query):
                names_and_labels = zip(route.label_names, labels, strict=True)
                return Match(
                    route.operation, {name: unquote(label) for name, label in names_and_labels}
                )
        raise UnknownOperation(f"cannot find an operation at {raw_path} with this query")

    def _add(self, operation: Operation) -> None:
        path, _, query = operation.uri.partition("?")
        node, label_names = self._root, []
        for segment in path.split("/")[1:]:
            if segment.startswith("{"):
                label_names.append(segment[1:-1])
                node.label = node = node.label or _Node()
            else:
                node = node.literals.setdefault(segment, _Node())
        constants = frozenset(parse_qsl(query, keep_blank_values=True))
        routes = node.routes.setdefault(operation.method, [])
        routes.append(_Route(operation, tuple(label_names), constants))
        routes.sort(key=lambda route: -len(route.constants))


def _walk(
    node: _Node, segments: Sequence[str], labels: tuple[str, ...]
) -> tuple[_Node, tuple[str, ...]] | None:
    """The node at the end of a path, and its labels; ``None`` when no route ends there."""
    if not segments:
        return (node, labels) if node.routes else None
    first, rest = segments[0], segments[1:]
    literal = node.literals.get(first)
    found = _walk(literal, rest, labels) if literal else None
    if found is None and node.label and first:
        found = _walk(node.label, rest, (*labels, first))
    return found
