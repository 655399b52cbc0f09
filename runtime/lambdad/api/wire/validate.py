"""Parameters against the constraints of the model, complained of in the service's own words.

Every shape's constraints are made once, each with the phrase that names it; what is left for a
request is to ask which do not hold. Whether a request is sensible is not decided here.

The grammar of the messages is recorded from the service; it is written down nowhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from lambdad.api.wire import overrides
from lambdad.api.wire.model import ListOf, MapOf, Member, Operation, Scalar, Shape, Structure

_NOT_NULL = "Member must not be null"
_UNICODE_CLASSES = {
    # As far as Python can say it: \w is \p{L}, \p{N} and the underscore.
    r"\p{L}": r"\w",
    r"\p{N}": r"\d",
    r"\p{Z}": "\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
}


class _Constraint(NamedTuple):
    phrase: str
    holds: Callable[[Any], bool]


def violations(operation: Operation, params: Mapping[str, Any]) -> list[str]:
    """Every constraint that the parameters break, in the service's order and words.

    The parameters are of the types that ``parse`` gives; others are a mistake of the caller.
    """
    return [*_in_structure(operation.input.structure, params, "")]


def message(found: Sequence[str]) -> str:
    """The text of a ValidationException about at least one violation."""
    count = len(found)
    errors = "validation error" if count == 1 else "validation errors"
    return f"{count} {errors} detected: {'; '.join(found)}"


def _in_structure(structure: Structure, value: Mapping[str, Any], path: str) -> Iterator[str]:
    for member, camel, enum in _checked(structure):
        part = value.get(member.name)
        if part is not None and enum is not None:
            yield from _in_enum(member.shape, part, path + camel, enum)
        elif part is not None:
            yield from _in(member.shape, part, path + camel)
        elif member.required:
            yield _violation("Value null", path + camel, _NOT_NULL)


@cache
def _checked(structure: Structure) -> tuple[tuple[Member, str, tuple[str, ...] | None], ...]:
    """The members to check, each with its name in a path, and its values if it has its own.

    The service complains of the last first: ``qualifier`` before ``functionName``,
    ``compatibleRuntimes`` before ``compatibleArchitectures``.
    """
    return tuple(
        (member, _camel(member.name), overrides.MEMBER_ENUMS.get((structure.name, member.name)))
        for member in reversed(structure.members.values())
        if (structure.name, member.name) not in overrides.CHECKED_ELSEWHERE
    )


def _in_enum(shape: Shape, value: Any, path: str, enum: Sequence[str]) -> Iterator[str]:
    """What breaks the constraints of a member that has values of its own."""
    if isinstance(shape, ListOf):
        for constraint in _of_length(shape):
            if not constraint.holds(value):
                yield _violation(_shown(shape, value), path, constraint.phrase)
    if not set(value if isinstance(shape, ListOf) else [value]) <= set(enum):
        yield _violation(_shown(shape, value), path, _one_of(enum))


def _one_of(enum: Sequence[str]) -> str:
    return f"Member must satisfy enum value set: [{', '.join(enum)}]"


def _in(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if isinstance(shape, Structure):
        yield from _in_structure(shape, value, path + ".")
        return
    for constraint in _constraints(shape):
        if not constraint.holds(value):
            yield _violation(_shown(shape, value), path, constraint.phrase)
    if isinstance(shape, ListOf) and not isinstance(shape.element, Scalar):
        for number, part in enumerate(value, start=1):
            yield from _in_element(shape.element, part, f"{path}.{number}.member")
    if isinstance(shape, MapOf) and not isinstance(shape.value, Scalar):
        for key, part in value.items():
            yield from _in_element(shape.value, part, f"{path}.{key}.member")


def _in_element(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if value is None:
        yield _violation("Value null", path, _NOT_NULL)
    else:
        yield from _in(shape, value, path)


def _violation(value: str, path: str, constraint: str) -> str:
    return f"{value} at '{path}' failed to satisfy constraint: {constraint}"


@cache
def _constraints(shape: Shape) -> tuple[_Constraint, ...]:
    """What must hold of a value itself, and of the scalars that it holds."""
    match shape:
        case Scalar():
            return tuple(_of_scalar(shape))
        case ListOf():
            return (*_of_length(shape), *_of_elements(shape))
        case MapOf():
            return (*_of_length(shape), *_of_keys(shape), *_of_values(shape))
        case Structure():
            return ()


def _of_scalar(shape: Scalar) -> Iterator[_Constraint]:
    enum = overrides.ENUMS.get(shape.name, shape.enum)
    if enum:
        yield _Constraint(_one_of(enum), frozenset(enum).__contains__)
    if shape.type in ("string", "blob"):
        yield from _of_length(shape)
    else:
        yield from _of_value(shape)
    pattern = overrides.PATTERNS.get(shape.name, shape.pattern)
    if pattern is not None:
        fullmatch = _compile(pattern).fullmatch
        yield _Constraint(
            f"Member must satisfy regular expression pattern: {pattern}",
            lambda value: fullmatch(value) is not None,
        )


def _of_length(shape: Scalar | ListOf | MapOf) -> Iterator[_Constraint]:
    most, least = shape.maximum, shape.minimum
    if most is not None:
        phrase = f"Member must have length less than or equal to {most}"
        yield _Constraint(phrase, lambda value: len(value) <= most)
    if least is not None:
        phrase = f"Member must have length greater than or equal to {least}"
        yield _Constraint(phrase, lambda value: len(value) >= least)


def _of_value(shape: Scalar) -> Iterator[_Constraint]:
    number = float if shape.type in ("float", "double") else int
    most, least = shape.maximum, shape.minimum
    if most is not None:
        phrase = f"Member must have value less than or equal to {number(most)}"
        yield _Constraint(phrase, lambda value: value <= most)
    if least is not None:
        phrase = f"Member must have value greater than or equal to {number(least)}"
        yield _Constraint(phrase, lambda value: value >= least)


def _of_elements(shape: ListOf) -> Iterator[_Constraint]:
    if isinstance(shape.element, Scalar):
        said = [] if shape.name in overrides.SILENT_ABOUT_NULL else [_NOT_NULL]
        yield _wrapped("Member must satisfy constraint", shape.element, said, list)


def _of_keys(shape: MapOf) -> Iterator[_Constraint]:
    if _constraints(shape.key):
        yield _wrapped("Map keys must satisfy constraint", shape.key, [], list)


def _of_values(shape: MapOf) -> Iterator[_Constraint]:
    if isinstance(shape.value, Scalar):
        yield _wrapped("Map value must satisfy constraint", shape.value, [_NOT_NULL], dict.values)


def _wrapped(
    prefix: str, shape: Shape, said: Sequence[str], parts: Callable[[Any], Any]
) -> _Constraint:
    """All constraints of the parts as one: the service repeats every one when any is broken."""
    inner = _constraints(shape)

    def holds(value: Any) -> bool:
        return all(
            part is not None and all(constraint.holds(part) for constraint in inner)
            for part in parts(value)
        )

    phrases = [*(constraint.phrase for constraint in inner), *said]
    return _Constraint(f"{prefix}: [{', '.join(phrases)}]", holds)


def _compile(pattern: str) -> re.Pattern[str]:
    r"""A pattern of the model, which is Java's: ``\d`` is ASCII there unless it says ``\p``."""
    flags = re.UNICODE if r"\p{" in pattern else re.ASCII
    for java, python in _UNICODE_CLASSES.items():
        pattern = pattern.replace(java, python)
    return re.compile(pattern, flags)


def _shown(shape: Shape, value: Any) -> str:
    return "Value" if shape.sensitive else f"Value '{_printed(shape, value)}'"


def _printed(shape: Shape, value: Any) -> str:
    """A value as the service's Java prints it."""
    if value is None:
        return "null"
    match shape:
        case Scalar(type="boolean"):
            return str(value).lower()
        case Scalar(type="float" | "double"):
            return str(float(value))
        case Scalar():
            return str(value)
        case ListOf():
            return f"[{', '.join(_printed(shape.element, part) for part in value)}]"
        case MapOf():
            entries = (f"{key}={_printed(shape.value, part)}" for key, part in value.items())
            return f"{{{', '.join(entries)}}}"
        case Structure():
            members = (
                f"{_camel(member.name)}={_printed(member.shape, value.get(member.name))}"
                for member in shape.members.values()
            )
            return f"{shape.name}({', '.join(members)})"


def _camel(name: str) -> str:
    return name[:1].lower() + name[1:]
