"""Runtime identifiers: which AWS knows, which this host can run, and how.

A managed Python runtime is an interpreter of the host's, seen at ``/var/lang`` inside; an
OS-only runtime is whatever the function brings as ``bootstrap``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lambdad.model.errors import ApiError, invalid_parameter

# In the service's own order, which its error text shows (lambda-api 5.4).
CURRENT = (
    "nodejs20.x", "python3.14", "provided.al2023", "python3.12", "python3.13", "nodejs24.x",
    "nodejs22.x", "java25", "python3.10", "python3.11", "java21", "ruby3.3", "ruby3.4", "ruby3.2",
    "python3.8", "python3.9", "java17", "nodejs16.x", "dotnet10", "dotnet8", "java11", "dotnet6",
    "nodejs18.x", "provided.al2", "java8.al2",
)  # fmt: skip
RETIRED = frozenset(
    [
        "java8",
        "go1.x",
        "provided",
        "ruby2.7",
        "nodejs12.x",
        "nodejs14.x",
        "python3.7",
        "dotnetcore3.1",
    ]
)
_OS_ONLY = frozenset({"provided.al2", "provided.al2023"})
_OFFERED_PYTHONS = frozenset(f"python3.{minor}" for minor in range(9, 15))
# https://docs.aws.amazon.com/lambda/latest/dg/snapstart.html; what is executed may speak its
# protocol here, too.
_SNAP_START = _OS_ONLY | {f"python3.{minor}" for minor in range(12, 15)}


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python of the host's.

    Attributes:
        version: ``3.12``.
        prefix: the folder seen at ``/var/lang``.
        executable: its path on the host.
    """

    version: str
    prefix: Path
    executable: Path

    @property
    def inside(self) -> str:
        """Its path in an environment."""
        return f"/var/lang/bin/{self.executable.name}"


def own_interpreter() -> Interpreter:
    """The Python that the daemon itself runs on."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    prefix = Path(sys.base_prefix)
    return Interpreter(version, prefix, prefix / "bin" / f"python{version}")


def check(runtime: str) -> None:
    """Refuse what AWS would refuse, in its words, and then what this host cannot run.

    Raises:
        ApiError: InvalidParameterValueException.
    """
    if runtime in RETIRED:
        raise invalid_parameter(
            f"The runtime parameter of {runtime} is no longer supported for creating or updating "
            "AWS Lambda functions. We recommend you use a supported runtime while creating or "
            "updating functions."
        )
    if runtime not in CURRENT:
        raise invalid_parameter(
            f"Value {runtime} at 'runtime' failed to satisfy constraint: Member must satisfy enum "
            f"value set: [{', '.join(CURRENT)}] or be a valid ARN"
        )
    interpreter(runtime)


def has_snap_start(runtime: str) -> bool:
    """Whether versions of such functions may be restored from snapshots."""
    return runtime in _SNAP_START


def interpreter(runtime: str) -> Interpreter | None:
    """What runs a function of this runtime; ``None`` for what is executed.

    Raises:
        ApiError: this host lacks it; the message names what is missing.
    """
    if runtime in _OS_ONLY:
        return None
    if runtime not in _OFFERED_PYTHONS:
        raise _not_here(runtime, "lambdad runs python3.9 to python3.14 and provided.al2023")
    version = runtime.removeprefix("python")
    found = find_python(version)
    if found is None:
        raise _not_here(
            runtime, f"no python{version} is on PATH, among pyenv's versions or among uv's"
        )
    return found


@cache
def runtime_version_arn(region: str, runtime: str) -> str:
    """An ARN that stays the same for as long as the runtime does: here, its name's digest."""
    return f"arn:aws:lambda:{region}::runtime:{hashlib.sha256(runtime.encode()).hexdigest()}"


def _not_here(runtime: str, why: str) -> ApiError:
    return invalid_parameter(f"The runtime {runtime} cannot run on this host: {why}.")


@cache
def find_python(version: str) -> Interpreter | None:
    """An interpreter of that version: the daemon's own, or the first that really runs."""
    own = own_interpreter()
    if own.version == version:
        return own
    name = f"python{version}"
    on_path = shutil.which(name)
    home = Path.home()
    candidates = [
        *([Path(on_path)] if on_path else []),
        *sorted(home.glob(f".pyenv/versions/{version}.*/bin/{name}"), reverse=True),
        *sorted(home.glob(f".local/share/uv/python/cpython-{version}.*/bin/{name}"), reverse=True),
    ]
    for candidate in candidates:
        found = _ask(candidate, version)
        if found is not None:
            return found
    return None


def _ask(candidate: Path, version: str) -> Interpreter | None:
    """Ask an interpreter where it lives: a name on PATH may be a wrapper script."""
    question = "import sys; print('%d.%d' % sys.version_info[:2], sys.base_prefix, sep='\\n')"
    try:
        answer = subprocess.run(
            [candidate, "-I", "-S", "-c", question],
            capture_output=True,
            check=True,
            text=True,
            timeout=10,
            env={"PATH": os.defpath},
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found, _, prefix = answer.stdout.strip().partition("\n")
    executable = Path(prefix) / "bin" / f"python{version}"
    if found != version or not executable.exists():
        return None
    return Interpreter(version, Path(prefix), executable)
