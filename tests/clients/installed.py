"""The real clients as ``make clients`` installed them, and packages made with them.

A test whose client is not here is skipped and says how to get it. It fails instead where the
variable ``LAMBDAD_TEST_CLIENTS`` says ``required``, as in continuous integration.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import NoReturn

import pytest
from scenario.package import FUNCTIONS, add, folder

CLIENTS = Path(sys.prefix) / "clients"
PATH_INSIDE = "/usr/local/bin:/usr/bin:/bin"  # where environments look for programs of the host


def missing(what: str, cure: str) -> NoReturn:
    refuse = pytest.fail if os.environ.get("LAMBDAD_TEST_CLIENTS") == "required" else pytest.skip
    refuse(f"there is no {what} here: {cure}")


def installed(name: str) -> Path:
    """The folder of a client of that name."""
    if not (CLIENTS / f"{name}.stamp").exists():
        missing(f"client {name}", "make clients")
    return CLIENTS / name


def aws() -> Path:
    """AWS CLI of version 2, as Debian has it."""
    found = shutil.which("aws", path="/usr/local/bin:/usr/bin")
    if found is None:
        missing("AWS CLI", "install Debian's awscli")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    if not said.startswith("aws-cli/2."):
        missing("AWS CLI of version 2", f"{found} is {said.strip()}")
    return Path(found)


def python_modules(*names: str) -> dict[str, bytes]:
    """What was installed for functions in Python; all of it, or those modules only."""
    top = installed("python")
    files = folder(top)
    return {name: content for name, content in files.items() if not names or name.startswith(names)}


def pandas() -> tuple[str, Path]:
    """A Python version that can be restored from a snapshot, and a folder with pandas for it."""
    folder = installed("pandas")
    return (CLIENTS / "pandas.stamp").read_text().strip(), folder


def with_awslambdaric(function: str) -> dict[str, bytes]:
    """A function whose bootstrap is AWS's client for Python, on the host's Python."""
    bootstrap = (FUNCTIONS / "awslambdaric/bootstrap").read_bytes()
    return python_modules() | folder(FUNCTIONS / function) | {"bootstrap": bootstrap}


def with_node_ric(function: str) -> dict[str, bytes]:
    """A function whose bootstrap is AWS's client for Node.js, without what it is built from."""
    if shutil.which("node", path=PATH_INSIDE) is None:
        missing("node that environments can see", "install it below /usr")
    client = "node_modules/aws-lambda-ric"
    files = folder(FUNCTIONS / function)
    for part in ("bin", "dist"):
        inner = folder(installed("node") / client / part)
        files |= {f"{client}/{part}/{name}": content for name, content in inner.items()}
    return files


def watcher_layer() -> bytes:
    """The zip of a layer with the extension."""
    program = installed("watcher") / "target/release/watcher"
    layer = io.BytesIO()
    with zipfile.ZipFile(layer, "w", zipfile.ZIP_DEFLATED) as archive:
        add(archive, "extensions/watcher", program.read_bytes(), 0o755)
    return layer.getvalue()
