"""``lambdad doctor``: what this host can do, asked by doing."""

from __future__ import annotations

import os
import platform
import sys

import click

_Row = tuple[str, str, str, str]


@click.command()
def doctor() -> None:
    """Show what this host can do: asked, found, consequence, cure.

    Exit status: 0 when functions can run here in full isolation, 1 when they cannot.
    """
    from rich.console import Console
    from rich.table import Table

    from lambdad_sandbox import cgroup, features

    detected = cgroup.detect()
    found = features.detect(detected.version or "")
    rows = [
        *_host(),
        ("cgroups", detected.version or "none", detected.reason, detected.hint),
        *((one.name, "yes", "", "") for one in found.critical if one.found),
        *((one.name, "no", one.consequence, one.cure) for one in found.missing()),
        *_interpreters(),
        *_degraded(),
    ]
    table = Table(box=None)
    for title in ("asked", "found", "consequence", "cure"):
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    sys.exit(1 if found.missing() else 0)


def _host() -> list[_Row]:
    import psutil

    memory_mb = psutil.virtual_memory().total >> 20
    return [
        ("Linux", f"{platform.release()} {platform.machine()}", "", ""),
        ("processors", str(os.cpu_count()), "", ""),
        ("memory", f"{memory_mb} MiB", "", ""),
    ]


def _interpreters() -> list[_Row]:
    from lambdad.code.runtimes import find_python

    rows = []
    for minor in range(9, 15):
        interpreter = find_python(f"3.{minor}")
        rows.append(
            (
                f"python3.{minor}",
                str(interpreter.prefix) if interpreter else "no",
                "" if interpreter else f"functions of runtime python3.{minor} are refused",
                "" if interpreter else f"uv python install 3.{minor}, or pyenv",
            )
        )
    return rows


def _degraded() -> list[_Row]:
    from lambdad.observe.promises import degraded

    return [(one.name, "DEGRADED", one.consequence, "") for one in degraded()]
