"""The ladder of imports: the same handler over nothing, the standard library, boto3 and pandas.

A package is built once, into ``build/bench/packages``, with every module compiled: neither
lambdad nor its reference is to pay for a compiler. What is not to be had is ``Unmeasured``.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.goals.findings import Unmeasured
from lambdad.code.runtimes import Interpreter, find_python

FOLDER = Path("build/bench/packages")
NONE, HTTP, BOTO3, PANDAS = "null", "http", "boto3", "pandas"
LADDER = (NONE, HTTP, BOTO3, PANDAS)

_HANDLER = Path(__file__).parent.parent / "functions" / "clock" / "lambda_function.py"
_IMPORTS = {NONE: "", HTTP: "import http.client, json", BOTO3: "import boto3"}
_BUILD_S_MAX = 300
# SnapStart is for Python 3.12 and later, as on AWS.
_SNAP_START_VERSIONS = ("3.14", "3.13", "3.12")


@dataclass(frozen=True)
class Package:
    """What is deployed, and executed as the reference.

    Attributes:
        folder: its files.
        python: the interpreter that they are compiled for.
    """

    name: str
    folder: Path
    python: Interpreter

    def zipped(self) -> bytes:
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(self.folder.rglob("*")):
                if path.is_file():
                    archive.write(path, path.relative_to(self.folder))
        return content.getvalue()


def interpreter() -> Interpreter:
    """The newest that SnapStart is for; the daemon itself would take the same.

    Raises:
        Unmeasured: this host has none.
    """
    for version in _SNAP_START_VERSIONS:
        found = find_python(version)
        if found is not None:
            return found
    raise Unmeasured("no Python of 3.12 or later is on this host")


def package(name: str) -> Package:
    """A step of the ladder, built if it is not there yet.

    Raises:
        Unmeasured: what it imports cannot be installed.
    """
    python = interpreter()
    folder = FOLDER / python.version / name
    if not folder.exists():
        unfinished = folder.with_suffix(".unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        if name in (BOTO3, PANDAS):
            _install(name, unfinished, python.version)
        (unfinished / "imported.py").write_text(_IMPORTS.get(name, f"import {name}") + "\n")
        _compile(unfinished, python.executable)
        unfinished.rename(folder)
    handler = folder / _HANDLER.name
    shutil.copyfile(_HANDLER, handler)
    _compile(handler, python.executable)
    return Package(name, folder, python)


def _install(name: str, folder: Path, version: str) -> None:
    """Wheels only, for that interpreter; without their tests, which are half of pandas."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder)]
    command += ["--disable-pip-version-check", "--no-compile", "--only-binary", ":all:"]
    command += ["--constraint", "constraints.txt", "--python-version", version, name]
    try:
        ran = subprocess.run(
            command, capture_output=True, check=False, text=True, timeout=_BUILD_S_MAX
        )
    except subprocess.TimeoutExpired:
        raise Unmeasured(f"{name} was not installed within {_BUILD_S_MAX} s") from None
    if ran.returncode:
        last = (ran.stderr.strip().splitlines() or ["pip failed"])[-1]
        raise Unmeasured(f"{name} cannot be installed: {last}")
    for tests in [path for path in folder.rglob("tests") if path.is_dir()]:
        shutil.rmtree(tests)


def _compile(path: Path, executable: Path) -> None:
    """A file, or all in a folder; whose times nobody compares, as they cannot change."""
    command = [str(executable), "-I", "-m", "compileall", "-q", "-f"]
    command += ["--invalidation-mode", "unchecked-hash", str(path)]
    subprocess.run(command, capture_output=True, check=False, timeout=_BUILD_S_MAX)
