"""A cold start as a case: what is kept of it, and its parts as steps. Used by G6 to G8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.goals.findings import Round, median, ms, p99
from benchmarks.goals.interleaving import Case
from benchmarks.goals.stage import Stage, Target
from benchmarks.leaves import Unsettled


def cold_start(name: str, stage: Stage, target: Target) -> Case:
    """One sporadic cold start of *target*; *name* is its whole, seen by the client."""

    async def case() -> Mapping[str, float]:
        try:
            times = await stage.cold(target)
        except Unsettled as reason:
            raise Unsettled(f"{name}: {reason}") from reason
        return {
            name: times.total,
            to_handler(name): times.to_handler,
            _to_import(name): times.to_import,
            _to_answer(name): times.total - times.to_handler,
        }

    return case


def to_handler(name: str) -> str:
    """Its part until the handler's first line."""
    return f"{name}, to handler"


def _to_import(name: str) -> str:
    return f"{name}, to import"


def _to_answer(name: str) -> str:
    return f"{name}, to answer"


def parts(rounds: Sequence[Round], name: str) -> dict[str, str]:
    """Where it went: an import that was before it does not show."""
    importing = median(rounds, _to_import(name))
    handling = median(rounds, to_handler(name))
    before = {
        "sent to import of the handler": importing,
        "import to the handler's first line": handling - importing,
    }
    return {
        **({step: ms(value) for step, value in before.items()} if importing > 0 else {}),
        "sent to the handler's first line": ms(handling),
        "the handler's first line to the answer": ms(median(rounds, _to_answer(name))),
        "the whole, p99": ms(p99(rounds, name)),
    }
