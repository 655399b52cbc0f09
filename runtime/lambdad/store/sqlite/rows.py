"""Functions, aliases, layers and events as rows: columns for what is looked for, else JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from lambdad.model.alias import Alias
from lambdad.model.event import Event
from lambdad.model.function import Function, State, UpdateStatus
from lambdad.model.layer import LayerRef, LayerVersion
from lambdad.model.provisioned import ProvisionedConcurrency
from lambdad.store.sqlite.writer import Value

Row = dict[str, Value]

_FUNCTION_COLUMNS = ("name", "revision_id", "state")
_VERSION_COLUMNS = ("name", "version")
_ALIAS_COLUMNS = ("function", "name", "revision_id")
_EVENT_COLUMNS = ("request_id", "function", "due", "attempts", "payload")


def row(function: Function) -> Row:
    """The row of a function, by column."""
    return _row(function, _FUNCTION_COLUMNS)


def function(stored: Mapping[str, Any]) -> Function:
    """The function of a row; what the record does not know yet has its default.

    Raises:
        ValueError, TypeError, KeyError: the record is not one that ``row`` makes.
    """
    return _function(stored, _FUNCTION_COLUMNS)


def version_row(function: Function) -> Row:
    """The row of a published version of a function, by column."""
    return _row(function, _VERSION_COLUMNS) | {"version": int(function.version)}


def version(stored: Mapping[str, Any]) -> Function:
    """The published version of a row.

    Raises:
        ValueError, TypeError, KeyError: the record is not one that ``version_row`` makes.
    """
    return _function(stored, _VERSION_COLUMNS)


def _function(stored: Mapping[str, Any], columns: tuple[str, ...]) -> Function:
    values = json.loads(stored["record"])
    values |= {name: str(stored[name]) for name in columns}
    values["state"] = State(values["state"])
    if values["update_status"] is not None:
        values["update_status"] = UpdateStatus(values["update_status"])
    if values["environment"] is not None:
        values["environment"] = MappingProxyType(values["environment"])
    values["tags"] = MappingProxyType(values["tags"])
    values["layers"] = tuple(LayerRef(**layer) for layer in values.get("layers", ()))
    return Function(**values)


def alias_row(alias: Alias) -> Row:
    """The row of an alias, by column."""
    return _row(alias, _ALIAS_COLUMNS)


def alias(stored: Mapping[str, Any]) -> Alias:
    """The alias of a row.

    Raises:
        ValueError, TypeError, KeyError: the record is not one that ``alias_row`` makes.
    """
    values = json.loads(stored["record"])
    values["weights"] = MappingProxyType(values["weights"])
    return Alias(**values, **{name: stored[name] for name in _ALIAS_COLUMNS})


def provisioned(stored: Mapping[str, Any]) -> ProvisionedConcurrency:
    """The provisioned concurrency of a row, which has a column for each of its values."""
    return ProvisionedConcurrency(**dict(stored))


def layer_row(layer: LayerVersion) -> Row:
    """The row of a layer version, by column."""
    return _row(layer, _VERSION_COLUMNS)


def layer_version(stored: Mapping[str, Any]) -> LayerVersion:
    """The layer version of a row.

    Raises:
        ValueError, TypeError, KeyError: the record is not one that ``layer_row`` makes.
    """
    values = json.loads(stored["record"])
    values |= {name: stored[name] for name in _VERSION_COLUMNS}
    for name in ("compatible_runtimes", "compatible_architectures"):
        if values[name] is not None:
            values[name] = tuple(values[name])
    return LayerVersion(**values)


def event_row(event: Event) -> Row:
    """The row of an event, by column."""
    return _row(event, _EVENT_COLUMNS)


def event(stored: Mapping[str, Any]) -> Event:
    """The event of a row.

    Raises:
        ValueError, TypeError, KeyError: the record is not one that ``event_row`` makes.
    """
    return Event(**json.loads(stored["record"]), **{name: stored[name] for name in _EVENT_COLUMNS})


def _row(noun: Function | Alias | LayerVersion | Event, columns: tuple[str, ...]) -> Row:
    values = {field.name: getattr(noun, field.name) for field in dataclasses.fields(noun)}
    row: Row = {name: values.pop(name) for name in columns}
    return row | {"record": json.dumps(values, default=_plain, separators=(",", ":"))}


def _plain(value: Any) -> dict[str, Any]:
    """A mapping or a reference to a layer, for JSON."""
    return dataclasses.asdict(value) if isinstance(value, LayerRef) else dict(value)
