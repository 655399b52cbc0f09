"""The reference of the goals: the same interpreter, executed to run the same handler once.

Not isolated, and without a runtime client: the least that a start costs where nothing is forked.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.goals.packages import Package

# It says what came of the handler, and stays until its standard input ends.
_PROGRAM = """
import json, sys
sys.path.insert(0, sys.argv[1])
import lambda_function
print(json.dumps(lambda_function.lambda_handler({}, None)), flush=True)
sys.stdin.read()
"""
# A shell enters the cgroup, and becomes the interpreter: what it had itself is gone by then.
_ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"'


def first_answer_ms(package: Package) -> float:
    """Milliseconds from before it is executed until the handler's answer was there."""
    since_ns = time.monotonic_ns()
    with _answered(package, []):
        return (time.monotonic_ns() - since_ns) / 1e6


@contextmanager
def in_cgroup(package: Package, directory: Path) -> Iterator[dict[str, Any]]:
    """One that has answered, in a cgroup of its own, for as long as that is looked at."""
    with _answered(package, ["sh", "-c", _ENTER, str(directory)]) as answer:
        yield answer


@contextmanager
def _answered(package: Package, before: list[str]) -> Iterator[dict[str, Any]]:
    command = [str(package.python.executable), "-I", "-c", _PROGRAM, str(package.folder)]
    process = subprocess.Popen(
        [*before, *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False
    )
    try:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())
    finally:
        process.communicate()
