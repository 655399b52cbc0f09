"""``lambdad doctor``: what this host can do and promise, asked by doing."""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from lambdad.cli.serve import configure_log
from lambdad.config import Settings, options

_Row = tuple[str, str, str, str]


@click.command()
@options()
@click.option("--json", "as_json", is_flag=True, help="The same for programs.")
def doctor(*, as_json: bool, **values: Any) -> None:
    """Show what this host can do, and what `serve` with these options would promise.

    An environment is made and everything is tried in it that must fail. Nothing is left of it.

    Exit status: 0 when functions can run here with these options, 1 when they cannot.
    """
    configure_log(verbose=False)
    settings = Settings(**values)
    refusal, degraded = _tried(settings)
    report = {
        "can_start": not refusal,
        "refusal": refusal,
        "level": _level(settings),
        "features": _features(settings),
        "promises": _promises(degraded) if not refusal else {},
        "pythons": _pythons(),
    }
    if as_json:
        click.echo(json.dumps(report, indent=2))
    else:
        _show(report)
    sys.exit(1 if refusal else 0)


def _tried(settings: Settings) -> tuple[str, dict[str, str]]:
    """Why a daemon cannot be had, or the promises that it keeps in part."""
    from lambdad.daemon import daemon, run
    from lambdad.ground import CannotStart

    async def start(state_dir: Path) -> dict[str, str]:
        async with daemon(replace(settings, state_dir=state_dir, spares=0)) as composed:
            return dict(composed.degraded)

    with tempfile.TemporaryDirectory(prefix="lambdad-") as folder:
        try:
            return "", run(start(Path(folder)))
        except CannotStart as error:
            return str(error), {}


def _level(settings: Settings) -> dict[str, Any]:
    """Who asks, on what."""
    import psutil

    from lambdad_sandbox import cgroup

    detected = cgroup.detect()
    return {
        "linux": platform.release(),
        "architecture": platform.machine(),
        "processors": os.cpu_count(),
        "memory_mb": psutil.virtual_memory().total >> 20,
        "uid": os.geteuid(),
        "cgroups": detected.version or "none",
        "cgroups_reason": f"{detected.reason} {detected.hint}".strip(),
        "network": settings.network,
        "auth": settings.auth,
    }


def _features(settings: Settings) -> list[dict[str, Any]]:
    from lambdad_sandbox import features

    found = features.detect(allow_shared_uid=settings.allow_shared_uid)
    return [asdict(feature) for feature in found.critical]


def _promises(degraded: dict[str, str]) -> dict[str, dict[str, str]]:
    from lambdad.observe.promises import PROMISES

    return {
        name: {
            "promise": text,
            "state": "degraded" if name in degraded else "kept",
            "reason": degraded.get(name, ""),
        }
        for name, text in PROMISES.items()
    }


def _pythons() -> dict[str, str]:
    from lambdad.code.runtimes import find_python

    found = {f"python3.{minor}": find_python(f"3.{minor}") for minor in range(9, 15)}
    return {name: str(one.prefix) if one else "" for name, one in found.items()}


def _show(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None)
    for title in ("asked", "found", "consequence", "cure"):
        table.add_column(title, overflow="fold")
    for row in _rows(report):
        table.add_row(*row)
    Console().print(table)


def _rows(report: dict[str, Any]) -> list[_Row]:
    level = report["level"]
    rows: list[_Row] = [
        ("Linux", f"{level['linux']} {level['architecture']}", "", ""),
        ("processors", str(level["processors"]), "", ""),
        ("memory", f"{level['memory_mb']} MiB", "", ""),
        ("cgroups", level["cgroups"], level["cgroups_reason"], ""),
    ]
    for feature in report["features"]:
        found = feature["found"]
        what_follows = ("", "") if found else (feature["consequence"], feature["cure"])
        rows.append((feature["name"], "yes" if found else "no", *what_follows))
    for name, prefix in report["pythons"].items():
        refused = f"functions of runtime {name} are refused"
        what_follows = ("", "") if prefix else (refused, _install(name))
        rows.append((name, prefix or "no", *what_follows))
    for name, promise in report["promises"].items():
        if promise["state"] == "degraded":
            rows.append((f"{name}: {promise['promise']}", "DEGRADED", promise["reason"], ""))
    kept = sum(promise["state"] == "kept" for promise in report["promises"].values())
    summary = report["refusal"] or f"{kept} of {len(report['promises'])} promises are kept in full"
    rows.append(("lambdad serve", "refuses" if report["refusal"] else "starts", summary, ""))
    return rows


def _install(python: str) -> str:
    return f"uv python install {python.removeprefix('python')}, or pyenv"
