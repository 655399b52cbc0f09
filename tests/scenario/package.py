"""Deployment packages, made on the fly from source, files or a folder."""

from __future__ import annotations

import io
import textwrap
import zipfile
from collections.abc import Mapping
from pathlib import Path

FUNCTIONS = Path(__file__).parent.parent / "fixtures/functions"


def zipped(code: str | bytes | Path | Mapping[str, str | bytes]) -> bytes:
    """A zip of a handler's source, of a folder, or of files by name; ``bootstrap`` may run.

    Bytes are what they are.
    """
    if isinstance(code, bytes):
        return code
    if isinstance(code, str):
        code = {"lambda_function.py": code}
    elif isinstance(code, Path):
        code = folder(code)
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in code.items():
            add(archive, name, content, 0o755 if name == "bootstrap" else 0o644)
    return package.getvalue()


def folder(path: Path) -> dict[str, str | bytes]:
    """The files of a folder."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in sorted(path.rglob("*"))
        if file.is_file() and "__pycache__" not in file.parts
    }


def add(archive: zipfile.ZipFile, name: str, content: str | bytes, mode: int) -> None:
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, (0o100000 | mode) << 16
    if isinstance(content, str):
        content = textwrap.dedent(content)
    archive.writestr(entry, content, archive.compression)
