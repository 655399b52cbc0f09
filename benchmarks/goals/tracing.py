"""Every system call of some processes and of what they start, as the kernel's tracer times them.

Not by ptrace(2), which lambdad itself needs for templates, and which would make every call look
slow. The tracer's files are reached through a mount that stands nowhere, and everything happens
in an instance of its own. See the kernel's Documentation/trace/ftrace.rst and events.rst.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.goals.findings import Unmeasured
from lambdad_sandbox import syscalls
from lambdad_sandbox.seccomp.arch import this_machine

_EVENTS = ("events/raw_syscalls/sys_enter/enable", "events/raw_syscalls/sys_exit/enable")
_BUFFER_KB = 8192  # for each processor
# "  python3-1234    [001] .....  17.123456: sys_enter: NR 202 (...)"; names may have blanks.
_LINE = re.compile(r"-(\d+) +\[\d+\] \S+ +([0-9.]+): sys_(enter|exit): NR (-?\d+)")


@dataclass(frozen=True)
class Called:
    """A system call that has returned, by the clock that ``time.monotonic`` has.

    Attributes:
        task: the thread.
    """

    name: str
    task: int
    began_s: float
    ended_s: float

    @property
    def took_ms(self) -> float:
        return (self.ended_s - self.began_s) * 1e3


class Tracer:
    """An instance of the tracer."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names = {number: name for name, number in this_machine().numbers.items()}

    def follow(self, pid: int) -> None:
        """From now on this process, its descendants, and those they will have."""
        process = psutil.Process(pid)
        followed = [process, *process.children(recursive=True)]
        tasks = [int(task.name) for one in followed for task in _tasks(one.pid)]
        self._write("set_event_pid", " ".join(map(str, tasks)))

    def calls(self) -> list[Called]:
        """Those that have returned since the last time, or since the beginning."""
        trace = (self._folder / "trace").read_text(encoding="utf-8", errors="replace")
        self._write("trace", "")
        return list(self._paired(trace.splitlines()))

    def _paired(self, lines: Iterable[str]) -> Iterator[Called]:
        began: dict[int, tuple[int, float]] = {}
        for line in lines:
            match = _LINE.search(line)
            if match is None:
                continue
            task, at_s, number = int(match[1]), float(match[2]), int(match[4])
            if match[3] == "enter":
                began[task] = (number, at_s)
            elif began.get(task, (None, 0))[0] == number:
                name = self._names.get(number, f"system call {number}")
                yield Called(name, task, began.pop(task)[1], at_s)

    def set_up(self) -> None:
        """Raises OSError: this kernel does not trace system calls."""
        self._write("trace_clock", "mono")
        self._write("options/event-fork", "1")
        self._write("buffer_size_kb", str(_BUFFER_KB))
        self._write("set_event_pid", str(os.getpid()))  # Not everybody, until it is said whom.
        for event in _EVENTS:
            self._write(event, "1")

    def _write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(text, encoding="ascii")


def _tasks(pid: int) -> list[Path]:
    try:
        return list(Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        return []


@contextmanager
def tracer() -> Iterator[Tracer]:
    """A tracer for as long as it is needed; nothing is left of it.

    Raises:
        Unmeasured: this kernel has none, or only for others.
    """
    with ExitStack() as stack:
        try:
            context = syscalls.fsopen("tracefs")
            stack.callback(os.close, context)
            syscalls.fsconfig_create(context)
            root = syscalls.fsmount(context, 0)
            stack.callback(os.close, root)
            folder = Path(f"/proc/self/fd/{root}/instances/lambdad-bench-{os.getpid()}")
            folder.mkdir()
            stack.callback(folder.rmdir)
            found = Tracer(folder)
            found.set_up()
        except OSError as error:
            raise Unmeasured(f"the kernel's tracer cannot be had: {error.strerror}") from error
        yield found
