"""The ways in which AWS lets one name a function: read and written.

Accepted: ``fn``, ``fn:q``, ``function:fn``, ``ACCOUNT:function:fn[:q]`` and the full ARN
``arn:aws:lambda:REGION:ACCOUNT:function:fn[:q]``
(https://docs.aws.amazon.com/lambda/latest/api/API_GetFunction.html).
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
