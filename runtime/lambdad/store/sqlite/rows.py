"""Functions as rows: columns for what is looked for, JSON for the rest."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from types import MappingProxyType

from lambdad.model.function import Function, State, UpdateStatus

_COLUMNS = ("name", "revision_id", "state")


def row(function: Function) -> dict[str, str]:
    """The row of a function, by column."""
    values = {field.name: getattr(function, field.name) for field in dataclasses.fields(function)}
    columns = {name: str(values.pop(name)) for name in _COLUMNS}
    return columns | {"record": json.dumps(values, default=dict, separators=(",", ":"))}


def function(stored: Mapping[str, str]) -> Function:
    """The function of a row.

    Raises:
        ValueError, TypeError, KeyError: the record is not one that ``row`` makes.
    """
    values = json.loads(stored["record"])
    values |= {name: stored[name] for name in _COLUMNS}
    values["state"] = State(values["state"])
    if values["update_status"] is not None:
        values["update_status"] = UpdateStatus(values["update_status"])
    if values["environment"] is not None:
        values["environment"] = MappingProxyType(values["environment"])
    values["tags"] = MappingProxyType(values["tags"])
    return Function(**values)
