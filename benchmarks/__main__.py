"""One run: refuses what would falsify it, measures, reports.

Exit status: 0 when every promise is kept, 1 when one is broken, 2 when nothing was measured.
"""

from __future__ import annotations

import sys

import uvloop

from benchmarks import host, measures, report
from benchmarks.promises import PROMISES, kept


def main() -> int:
    refusal = host.refusal()
    if refusal:
        print(refusal, file=sys.stderr)
        return 2
    facts, before = host.facts(), host.pressure()
    rounds = uvloop.run(measures.rounds())
    pressures = before, host.pressure()
    report.record(facts, pressures, rounds)
    report.show(facts, pressures, rounds)
    return 1 if any(kept(promise, rounds) is False for promise in PROMISES) else 0


if __name__ == "__main__":
    sys.exit(main())
