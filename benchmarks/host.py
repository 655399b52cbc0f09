"""Where the figures come from: facts of the host, and how busy it was."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

from lambdad_sandbox import cgroup

_PRESSURE = Path("/proc/pressure/cpu")


def refusal() -> str | None:
    """Why nothing is to be measured here, if so."""
    if os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return (
            "cannot measure: PYTHONDONTWRITEBYTECODE is set, so every start would compile what "
            "others read from __pycache__.\n"
            "Use `make bench`, or env -u PYTHONDONTWRITEBYTECODE python -m benchmarks"
        )
    return None


def facts() -> dict[str, str]:
    """What the figures depend on, beside lambdad itself."""
    return {
        "kernel": f"{platform.release()} {platform.machine()}",
        "processors": f"{os.cpu_count()} x {_processor()}",
        "python": platform.python_version(),
        "cgroups": cgroup.detect().version or "none",
        "packages": " ".join(_version(name) for name in ("aiohttp", "uvloop", "awslambdaric")),
        "site hooks": _site_hooks() or "none",
    }


def pressure() -> dict[str, float]:
    """Shares of time in which somebody waited for a processor; empty if the kernel cannot say."""
    if not _PRESSURE.exists():
        return {}
    some = _PRESSURE.read_text(encoding="ascii").splitlines()[0]
    fields = dict(field.split("=") for field in some.split()[1:])
    return {name: float(fields[name]) for name in ("avg10", "avg60")}


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return "unknown"


def _version(package: str) -> str:
    try:
        return f"{package} {importlib.metadata.version(package)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{package} not installed"


def _site_hooks() -> str:
    """Installed packages that every start of this interpreter imports: they slow references."""
    question = (
        "import sys; print(*sorted(name for name, module in sys.modules.items() "
        "if 'site-packages' in (getattr(module, '__file__', None) or '')))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", question], capture_output=True, check=True, text=True
    )
    return answer.stdout.strip()
