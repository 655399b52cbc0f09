"""Measures the goals that are asked for, one after the other, shows and records what was found."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.client import UnexpectedAnswer
from benchmarks.goals import burst, freezing, idle, packages, rate, template, waits, zygote
from benchmarks.goals.findings import Finding, Unmeasured
from benchmarks.leaves import Unsettled
from benchmarks.report import Pressure, append, show_host

RESULTS = Path("build/bench/goals.jsonl")

# Each measures the goals that it is named with, together.
_MEASURES: dict[tuple[str, ...], Callable[[], Awaitable[list[Finding]]]] = {
    ("G6",): zygote.measure,
    ("G7", "G8", "G9"): template.measure,
    ("G12",): idle.measure,
    ("G13",): rate.measure,
    ("G14",): burst.measure,
    ("G15",): freezing.measure,
    ("G19",): waits.measure,
}
NAMES = tuple(name for names in _MEASURES for name in names)
_VERDICTS = {True: "kept", False: "NOT KEPT", None: "no figure"}


def facts() -> dict[str, str]:
    """What the figures depend on, beside the host."""
    try:
        return {"goals on": f"python {packages.interpreter().version}"}
    except Unmeasured as reason:
        return {"goals on": str(reason)}


async def measured(wanted: Collection[str]) -> list[Finding]:
    """What was found of these goals."""
    findings = []
    for names, measure in _MEASURES.items():
        if set(names) & set(wanted):
            findings += [one for one in await _found(names, measure) if one.goal in wanted]
    return findings


async def _found(
    names: Sequence[str], measure: Callable[[], Awaitable[list[Finding]]]
) -> list[Finding]:
    """An error measures nothing, and is no reason not to measure the others."""
    try:
        return await measure()
    except Unmeasured as reason:
        return [Finding(name, "", "", 0, missing=str(reason)) for name in names]
    except (UnexpectedAnswer, Unsettled) as reason:
        return [Finding(name, "", "", 0, fault=str(reason)) for name in names]
    except SystemExit as reason:  # A daemon did not start; what it said last is the reason.
        return [Finding(name, "", "", 0, fault=str(reason).splitlines()[-1]) for name in names]


def show(
    known: dict[str, str], pressures: tuple[Pressure, Pressure], findings: Sequence[Finding]
) -> None:
    """A line for each bound, ratios first, then where it goes of what is not kept."""
    console = Console(width=110, highlight=False)
    table = Table(title="goals, medians of rounds", title_justify="left", box=None)
    for name in ("goal", "figure"):
        table.add_column(name)
    for name in ("found", "min", "max", "bound", "÷ bound"):
        table.add_column(name, justify="right")
    table.add_column("")
    for finding in sorted(findings, key=lambda one: (int(one.goal[1:]), one.unit != "x")):
        table.add_row(finding.goal, finding.what, *_columns(finding), _VERDICTS[finding.kept])
    console.print(table)
    shown: Mapping[str, str] = {}
    for finding in findings:
        if not finding.kept:
            console.print(f"\n{finding.goal} {finding.what}: {_VERDICTS[finding.kept]}")
            lines = ["as above"] if shown and finding.steps == shown else _why(finding)
            for line in lines:
                console.print(f"  {line}", soft_wrap=True)
            shown = finding.steps
    console.print()
    show_host(console, known, pressures, RESULTS)


def _columns(finding: Finding) -> list[str]:
    sign = "≥" if finding.at_least else "≤"
    bound = f"{sign} {_number(finding.bound)} {finding.unit}" if finding.bound else ""
    if not finding.rounds:
        return ["", "", "", bound, ""]
    values = (finding.value, min(finding.rounds), max(finding.rounds))
    return [*map(_number, values), bound, f"{finding.value / finding.bound:.2f}"]


def _why(finding: Finding) -> list[str]:
    if not finding.rounds:
        return (finding.missing or finding.fault or "no reason is known").splitlines()
    width = max(map(len, finding.steps), default=0)
    return [f"{step:<{width}}  {value}" for step, value in finding.steps.items()]


def _number(value: float) -> str:
    digits = 4 if value < 0.1 else 2 if value < 100 else 0
    return f"{value:,.{digits}f}"


def record(
    known: dict[str, str], pressures: tuple[Pressure, Pressure], findings: Sequence[Finding]
) -> None:
    """Append one JSON line."""
    recorded = [_recorded(finding) for finding in findings]
    append(RESULTS, facts=known, pressure=pressures, findings=recorded)


def _recorded(finding: Finding) -> dict[str, object]:
    return {
        "goal": finding.goal,
        "what": finding.what,
        "unit": finding.unit,
        "bound": finding.bound,
        "at_least": finding.at_least,
        "rounds": finding.rounds,
        "kept": finding.kept,
        "steps": dict(finding.steps),
        "why_not": finding.missing or finding.fault,
    }
