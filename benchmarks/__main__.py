"""One run: refuses what would falsify it, measures, reports.

``python -m benchmarks`` measures everything, ``python -m benchmarks goals [G6 ...]`` only the
goals of the pool, all or those that are named.

Exit status: 0 when every promise and every goal that was measured is kept, 1 when one is not, 2
when nothing was measured.
"""

from __future__ import annotations

import sys

import uvloop

from benchmarks import host, measures, report
from benchmarks.goals import run
from benchmarks.promises import PROMISES, kept


def main(words: list[str]) -> int:
    refusal = host.refusal() or _misunderstood(words)
    if refusal:
        print(refusal, file=sys.stderr)
        return 2
    all_kept = [_goals(words[1:] or run.NAMES)] if words else [_promises(), _goals(run.NAMES)]
    return 0 if all(all_kept) else 1


def _misunderstood(words: list[str]) -> str | None:
    if words and (words[0] != "goals" or not set(words[1:]) <= set(run.NAMES)):
        return f"usage: python -m benchmarks [goals [{'|'.join(run.NAMES)} ...]]"
    return None


def _promises() -> bool:
    facts, before = host.facts(), host.pressure()
    rounds = uvloop.run(measures.rounds())
    pressures = before, host.pressure()
    report.record(facts, pressures, rounds)
    report.show(facts, pressures, rounds)
    return all(kept(promise, rounds) is not False for promise in PROMISES)


def _goals(wanted: list[str] | tuple[str, ...]) -> bool:
    facts, before = host.facts() | run.facts(), host.pressure()
    findings = uvloop.run(run.measured(wanted))
    pressures = before, host.pressure()
    run.record(facts, pressures, findings)
    run.show(facts, pressures, findings)
    return all(finding.kept is not False for finding in findings)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
