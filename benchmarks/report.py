"""What a run prints, ratios first, and the line that it leaves behind for later comparisons."""

from __future__ import annotations

import json
import statistics
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import measures
from benchmarks.measures import Round
from benchmarks.promises import PROMISES, kept, medians, ratios

RESULTS = Path("build/bench/results.jsonl")

_ISOLATION = "namespaces, cgroups, seccomp, own uid, no capabilities"
_REFERENCES = {
    measures.cold(1769): (measures.RUNTIME_CLIENT, measures.JSON, measures.PASS),
    measures.cold(128): (measures.RUNTIME_CLIENT,),
    measures.INVOKE: (measures.HELLO,),
    measures.INVOKE_RATE: (measures.HELLO_RATE,),
    measures.INVOKE_CPU: (measures.HELLO_CPU,),
}
_VERDICTS = {True: "kept", False: "BROKEN", None: "no reference"}

Pressure = dict[str, float]


def show(facts: dict[str, str], pressures: tuple[Pressure, Pressure], rounds: list[Round]) -> None:
    console = Console(width=80, highlight=False)
    console.print(_ratios(rounds), _figures(rounds), _promises(rounds))
    show_host(console, facts, pressures, RESULTS)


def show_host(
    console: Console, facts: dict[str, str], pressures: tuple[Pressure, Pressure], results: Path
) -> None:
    """What the figures depend on, and where they are recorded."""
    for name, fact in {"isolation": f"full: {_ISOLATION}", **facts}.items():
        console.print(f"{name:<12}{fact}", soft_wrap=True)
    for when, pressure in zip(("before", "after"), pressures, strict=True):
        shown = ", ".join(f"{name} {value} %" for name, value in pressure.items())
        console.print(f"{'pressure':<12}{when}: {shown or 'this kernel does not say'}")
    console.print(f"{'recorded':<12}{results}")


def record(
    facts: dict[str, str], pressures: tuple[Pressure, Pressure], rounds: list[Round]
) -> None:
    """Append one JSON line."""
    append(
        RESULTS,
        facts=facts,
        pressure=pressures,
        units={case: measures.UNITS[case] for case in rounds[0]},
        medians={case: medians(rounds, case) for case in rounds[0]},
        p99={case: _p99(rounds, case) for case in rounds[0]},
        promises={str(promise): kept(promise, rounds) for promise in PROMISES},
    )


def append(results: Path, **found: object) -> None:
    """One more JSON line of what was found, and when."""
    results.parent.mkdir(parents=True, exist_ok=True)
    line = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **found}
    with results.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line, ensure_ascii=False) + "\n")


def _ratios(rounds: list[Round]) -> Table:
    table = _table(f"ratios, medians of {len(rounds)} rounds", "case", "reference")
    for name in ("ratio", "min", "max"):
        table.add_column(name, justify="right")
    for case, references in _REFERENCES.items():
        for reference in references:
            if reference in rounds[0]:
                found = ratios(rounds, case, reference)
                values = (statistics.median(found), min(found), max(found))
                table.add_row(case, reference, *(f"{value:.3f}" for value in values))
    return table


def _figures(rounds: list[Round]) -> Table:
    table = _table("figures", "case")
    for name in ("p50", "p99", "unit"):
        table.add_column(name, justify="right")
    table.add_column("isolation")
    for case in rounds[0]:
        isolation = "full" if case in _REFERENCES else "none"
        p50 = statistics.median(medians(rounds, case))
        is_spread = len(rounds[0][case]) > 1
        p99 = _number(_p99(rounds, case)) if is_spread else ""
        table.add_row(case, _number(p50), p99, measures.UNITS[case], isolation)
    return table


def _promises(rounds: list[Round]) -> Table:
    table = _table("promises (benchmarks/SPECIFICATION.md)", "promise", "at most", "")
    for promise in PROMISES:
        table.add_row(str(promise), f"{promise.at_most:g}", _VERDICTS[kept(promise, rounds)])
    return table


def _table(title: str, *columns: str) -> Table:
    return Table(*columns, title=title, title_justify="left", title_style="bold", box=None)


def _p99(rounds: list[Round], case: str) -> float:
    """Of all rounds together; below a hundred values that is the largest."""
    values = sorted(value for one in rounds for value in one[case])
    return values[min(len(values) - 1, int(len(values) * 0.99))]


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"
