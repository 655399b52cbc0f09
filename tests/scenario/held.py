"""Functions that wait, inside, until a test lets them go: how many run at a time is no guess.

A handler waits for a file in its ``/tmp`` that has the name of its event; the test makes it there
from outside, which takes root. It returns a name that each environment has for itself.
"""

from __future__ import annotations

import time
from pathlib import Path

from scenario.program import START_S_MAX, Program

AT_ONCE = "."  # an event that is not waited for: there is one in every folder

SOURCE = """
    import os, time

    def handler(event, context):
        print(f"waits for {event}")
        open(f"/tmp/{event}.awaited", "w").close()
        pause = 0.01
        while not os.path.exists(f"/tmp/{event}"):
            time.sleep(pause)
            pause = min(2 * pause, 2.0)  # There may be a thousand that look.
        return context.log_stream_name
"""


def wait_until_held(
    program: Program, event: str, count: int, within_s: float = START_S_MAX
) -> list[Path]:
    """Until handlers wait for such an event in so many environments: the ``/tmp`` of each."""
    last = time.monotonic() + within_s
    held: dict[str, Path] = {}
    while len(held) < count:
        assert time.monotonic() < last, f"only {len(held)} of {count} have begun"
        for leaf in program.leaves():
            tmp = _tmp_of(leaf) if leaf.name not in held else None
            if tmp is not None and (tmp / f"{event}.awaited").exists():
                held[leaf.name] = tmp
        time.sleep(0.01 + count / 1_000)
    return list(held.values())


def let_go(program: Program, event: str, count: int, within_s: float = START_S_MAX) -> None:
    """Once handlers wait in so many environments, make the file for each of them."""
    for tmp in wait_until_held(program, event, count, within_s):
        (tmp / event).touch()


def _tmp_of(leaf: Path) -> Path | None:
    """What the processes of a cgroup have there; none if there is no process any more."""
    try:
        pids = (leaf / "cgroup.procs").read_text().split()
    except FileNotFoundError:
        return None
    return Path(f"/proc/{pids[0]}/root/tmp") if pids else None
