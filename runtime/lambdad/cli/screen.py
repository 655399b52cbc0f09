"""How ``lambdad top`` draws a daemon: a few lines about all of it, and tables below.

A screen that is too narrow loses columns, the least telling first; one that is too low loses the
functions that do the least. Nothing is asked for here, and no time is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from lambdad.cli.rates import Activity, Census, Deeds, Row, states
from lambdad.model.limits import MIB

_GAP = 2  # between columns
_BETWEEN_FACTS = "   "


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        title: stands above it.
        rank: when the screen is narrow, the column with the highest goes first.
        cell: what stands there for one row; empty where there is nothing to say.
        floor: of text, how much of it is enough; None for numbers, which are never cut.
        style: of what is there.
        seldom: whether it is left out where nothing stands in it.
    """

    title: str
    rank: int
    cell: Callable[[Any], str]
    floor: int | None = None
    style: str = ""
    seldom: bool = False


FUNCTIONS = (
    Column("function", 0, lambda row: row.name, 16),
    Column("running", 1, lambda row: _beside(row.running, row.reserved), style="bold"),
    Column("invokes/s", 2, lambda row: rate(row.deeds.invocations_per_s)),
    Column("cold", 4, lambda row: share(row.deeds.cold)),
    Column("restored", 8, lambda row: share(row.deeds.restored or None), seldom=True),
    Column("throttled/s", 6, lambda row: rate(row.deeds.throttled_per_s), style="red", seldom=True),
    Column("waiting", 7, lambda row: _beside(row.waiting, None), style="yellow", seldom=True),
    Column("provisioned", 9, lambda row: _provisioned(*row.provisioned), seldom=True),
    Column("memory", 5, lambda row: size(row.memory_bytes) if row.environments else ""),
    Column("environments", 3, lambda row: _counts(states(row.environments)), 12),
)
ENVIRONMENTS = (
    Column("environment", 0, lambda one: one["id"], 8),
    Column("state", 1, lambda one: one["state"], 10),
    Column("age", 5, lambda one: span(one["age_s"])),
    Column("idle", 4, lambda one: "" if one["idle_s"] is None else span(one["idle_s"])),
    Column("invokes", 3, lambda one: str(one["uses"])),
    Column("memory", 2, lambda one: size(one["memory_bytes"])),
    Column("initialization", 6, lambda one: one["init_type"], 14),
)


def frame(
    url: str,
    census: Census,
    activity: Activity,
    *,
    width: int,
    height: int | None,
    function: str = "",
    trouble: str = "",
) -> Text:
    """One picture of a daemon.

    Args:
        url: where it is.
        census: how it stands.
        activity: what it did.
        width: of the screen.
        height: of the screen; None if there is room for everything.
        function: show only this one, of all versions or the one behind a colon, with each of its
            environments.
        trouble: why there is no newer census; empty if this is the newest.
    """
    rows = [row for row in activity.rows if function in {"", row.name, row.name.split(":")[0]}]
    lines = [Text(trouble, "bold red")] if trouble else []
    lines += [line for facts in _head(url, census, activity) for line in flow(facts, width)]
    lines += [Text(), *_table(FUNCTIONS, rows, width, lambda row: "" if _is_busy(row) else "dim")]
    if function:
        environments = [one for row in rows for one in row.environments]
        lines += [Text(), *_table(ENVIRONMENTS, environments, width, lambda _: "")]
    if height is not None and len(lines) > height:
        hidden = len(lines) - height + 1
        lines[height - 1 :] = [Text(f"and {hidden} more", "dim")]
    return Text("\n", no_wrap=True, overflow="ellipsis").join(lines)


def fitting(columns: Sequence[Column], wanted: Sequence[int], width: int) -> dict[int, int]:
    """The columns that fit side by side, by their places, and how wide each is.

    Args:
        columns: of one table.
        wanted: how wide each would have to be to show all that stands in it.
        width: of the screen.
    """
    ranked = sorted(range(len(columns)), key=lambda place: columns[place].rank)
    widths = {place: min(wanted[place], columns[place].floor or wanted[place]) for place in ranked}
    while len(widths) > 1 and sum(widths.values()) + _GAP * (len(widths) - 1) > width:
        widths.popitem()
    spare = width - sum(widths.values()) - _GAP * (len(widths) - 1)
    for place, least in widths.items():  # Text gets the room that is left, the first in rank first.
        more = max(0, min(spare, wanted[place] - least))
        widths[place] = least + more
        spare -= more
    return dict(sorted(widths.items()))


def flow(facts: Sequence[Text], width: int) -> Iterator[Text]:
    """As many lines as it takes to say all of them, none of them broken."""
    line = Text()
    for fact in facts:
        if line and line.cell_len + len(_BETWEEN_FACTS) + fact.cell_len > width:
            yield line
            line = Text()
        line = Text.assemble(line, _BETWEEN_FACTS if line else "", fact)
    yield line


def rate(per_s: float) -> str:
    """So many a second; nothing for none."""
    if per_s >= 100:
        return f"{per_s:,.0f}"
    return "<0.1" if 0 < per_s < 0.1 else f"{per_s:.1f}" if per_s else ""


def share(fraction: float | None) -> str:
    """A fraction in percent; nothing where there is nothing to have a fraction of."""
    if fraction is None:
        return ""
    return "<1%" if 0 < fraction < 0.01 else f"{fraction:.0%}"


def size(amount_bytes: int) -> str:
    """An amount of memory."""
    mib = amount_bytes / MIB
    return f"{mib / 1024:.1f} GiB" if mib >= 1024 else f"{mib:.1f} MiB"


def span(seconds: float) -> str:
    """A length of time, in its two largest units."""
    minutes, hours, days = int(seconds / 60), int(seconds / 3_600), int(seconds / 86_400)
    if days:
        return f"{days} d {hours % 24} h"
    if hours:
        return f"{hours} h {minutes % 60} min"
    return f"{minutes} min {int(seconds) % 60} s" if minutes else f"{int(seconds)} s"


def _head(url: str, census: Census, activity: Activity) -> Iterator[list[Text]]:
    """What there is to say about all functions together, a line or more each."""
    over = "since its start" if activity.since_start else f"in the last {activity.over_s:.1f} s"
    yield [
        Text.assemble("lambdad at ", (url, "bold")),
        Text(f"up {span(census['up_s'])}"),
        *_all_deeds(activity.deeds),
        Text(over, "dim"),
    ]
    concurrency, rows = census["concurrency"], activity.rows
    provisioned = [sum(counts) for counts in zip(*(row.provisioned for row in rows), strict=True)]
    waiting = sum(row.waiting for row in rows)
    yield [
        Text.assemble((f"{concurrency['running']:,}", "bold"), f" of {concurrency['limit']:,} run"),
        *([Text(f"{waiting:,} of them waiting", "yellow")] if waiting else []),
        Text(f"{sum(concurrency['reserved'].values()):,} reserved"),
        Text(f"{concurrency['unreserved']:,} unreserved"),
        *([Text("{:,} of {:,} provisioned".format(*provisioned))] if any(provisioned) else []),
    ]
    environments = [one for row in rows for one in row.environments]
    memory, spares = census["memory"], _counts(census["spares"]) or "none"
    budget = memory["budget_bytes"]
    yield [
        Text(f"{len(environments):,} environments: {_counts(states(environments)) or 'none'}"),
        Text(f"memory {size(memory['charged_bytes'])}" + (f" of {size(budget)}" if budget else "")),
        Text(f"spares: {spares}"),
    ]


def _all_deeds(deeds: Deeds) -> Iterator[Text]:
    yield Text.assemble((rate(deeds.invocations_per_s) or "0", "bold"), " invokes/s")
    if deeds.cold is not None:
        yield Text(f"{share(deeds.cold)} cold")
    if deeds.restored:
        yield Text(f"{share(deeds.restored)} restored")
    if deeds.throttled_per_s:
        yield Text(f"{rate(deeds.throttled_per_s)} throttled/s", "red")


def _table(
    columns: Sequence[Column], rows: Sequence[Any], width: int, style: Callable[[Any], str]
) -> Iterator[Text]:
    """A line of titles, then one a row."""
    cells = {column: [column.cell(row) for row in rows] for column in columns}
    shown = [column for column in columns if any(cells[column]) or not column.seldom]
    wanted = [max(map(len, (column.title, *cells[column]))) for column in shown]
    widths = fitting(shown, wanted, width)
    yield _line(shown, [column.title for column in shown], widths, "underline", plain=True)
    for place, row in enumerate(rows):
        yield _line(shown, [cells[column][place] for column in shown], widths, style(row))


def _line(
    columns: Sequence[Column],
    cells: Sequence[str],
    widths: Mapping[int, int],
    style: str,
    *,
    plain: bool = False,
) -> Text:
    """Numbers stand to the right, text to the left and is cut where it must be."""
    line = Text(style=style)
    for place, wide in widths.items():
        column = columns[place]
        cell = Text(cells[place], "" if plain else column.style)
        if column.floor is None:
            cell.align("right", wide)
        else:
            cell.truncate(wide, overflow="ellipsis", pad=True)
        line.append_text(Text(" " * _GAP) if line else Text()).append_text(cell)
    line.rstrip()
    return line


def _is_busy(row: Row) -> bool:
    return bool(row.running or row.deeds.invocations_per_s or row.deeds.throttled_per_s)


def _beside(count: int, bound: int | None) -> str:
    """A count, and what it may be or was to be."""
    return f"{count}/{bound}" if bound is not None else str(count or "")


def _provisioned(ready: int, requested: int) -> str:
    return _beside(ready, requested) if ready or requested else ""


def _counts(named: Mapping[str, int]) -> str:
    """How many of what: ``2 invoke, 3 idle``."""
    return ", ".join(f"{count} {name}" for name, count in named.items())
