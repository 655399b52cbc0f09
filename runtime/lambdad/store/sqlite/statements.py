"""The SQL of the driver, read from its files; nothing is run here."""

from __future__ import annotations

import re
from importlib import resources

_FOLDER = resources.files(__package__)
_BLOCK = re.compile(r"^-- (\w+) --\n(.*?)(?=^-- \w+ --\n|\Z)", re.MULTILINE | re.DOTALL)


def queries() -> dict[str, str]:
    """The blocks of ``queries.sql`` by the names that stand above them."""
    text = (_FOLDER / "queries.sql").read_text(encoding="utf-8")
    return {name: block.strip() for name, block in _BLOCK.findall(text)}


def migrations() -> list[str]:
    """The scripts that make the schema, in order: the nth leads from version n-1 to n."""
    files = [file for file in (_FOLDER / "migrations").iterdir() if file.name.endswith(".sql")]
    return [file.read_text(encoding="utf-8") for file in sorted(files, key=lambda file: file.name)]
