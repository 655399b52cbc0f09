"""The ways in which AWS lets one name functions and layers: read and written.

Accepted: ``fn``, ``fn:q``, ``function:fn``, ``ACCOUNT:function:fn[:q]`` and the full ARN
``arn:aws:lambda:REGION:ACCOUNT:function:fn[:q]``
(https://docs.aws.amazon.com/lambda/latest/api/API_GetFunction.html). A layer is ``name`` or
``arn:aws:lambda:REGION:ACCOUNT:layer:name``, its versions have ``:NUMBER`` behind that
(https://docs.aws.amazon.com/lambda/latest/api/API_GetLayerVersion.html).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_NAME = re.compile(
    r"(arn:(?:aws[a-zA-Z-]*)?:lambda:)?"
    r"((?:eusc-)?[a-z]{2}(?:-gov|-iso[a-z]?)?-[a-z]+-\d{1}:)?"
    r"(\d{12}:)?"
    r"(function:)?"
    r"([a-zA-Z0-9-_.]+)"
    r"(?::(\$LATEST(?:\.PUBLISHED)?|[a-zA-Z0-9-_]+))?",
    re.ASCII,
)

_LAYER = re.compile(
    r"(?:arn:[a-zA-Z0-9-]+:lambda:([a-z0-9-]+):(\d{12}):layer:)?([a-zA-Z0-9-_]+)(?::(\d+))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class FunctionName:
    """What a client's spelling of a function says; ``None`` where it is silent."""

    name: str
    qualifier: str | None = None
    account: str | None = None
    region: str | None = None


def parse(spelling: str) -> FunctionName | None:
    """Read one of the accepted spellings; ``None`` if it is none of them."""
    found = _NAME.fullmatch(spelling)
    if found is None:
        return None
    arn, region, account, word, name, qualifier = found.groups()
    if arn and not (region and account and word):
        return _arn_without_name(spelling)
    return FunctionName(
        name, qualifier, account[:-1] if account else None, region[:-1] if region else None
    )


def _arn_without_name(spelling: str) -> FunctionName | None:
    """``arn:aws:lambda:R:A:function`` is read as a function called ``function``."""
    parts = spelling.split(":")
    if len(parts) == 6 and parts[5] == "function":
        return FunctionName("function", None, parts[4], parts[3])
    return None


def function_arn(region: str, account: str, name: str, qualifier: str | None = None) -> str:
    """The ARN of a function, qualified when ``qualifier`` is given."""
    arn = f"arn:aws:lambda:{region}:{account}:function:{name}"
    return f"{arn}:{qualifier}" if qualifier else arn


@dataclass(frozen=True, slots=True)
class LayerName:
    """What a client's spelling of a layer says; ``None`` where it is silent."""

    name: str
    version: int | None = None
    account: str | None = None
    region: str | None = None


def parse_layer(spelling: str) -> LayerName | None:
    """Read the name or ARN of a layer or of a version; ``None`` if it is none of them."""
    found = _LAYER.fullmatch(spelling)
    if found is None:
        return None
    region, account, name, version = found.groups()
    return LayerName(name, int(version) if version else None, account, region)


def layer_arn(region: str, account: str, name: str, version: int | None = None) -> str:
    """The ARN of a layer, or of its version when that is given."""
    arn = f"arn:aws:lambda:{region}:{account}:layer:{name}"
    return arn if version is None else f"{arn}:{version}"
