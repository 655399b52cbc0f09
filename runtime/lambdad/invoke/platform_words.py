"""How the platform words what went wrong, and what it calls runtimes. Pure.

Lines and records that these words stand in are made in `platform_events`.

Source: runtime-protocol 4.6 and 6.1; recorded from the service.
"""

from __future__ import annotations

import os
import re
from errno import ENOENT
from functools import cache


def timeout_text(timeout_s: int) -> str:
    """``Task timed out after 3.00 seconds``: the configured time, never the elapsed one."""
    return f"Task timed out after {timeout_s:.2f} seconds"


def fault_text(request_id: str, message: str) -> str:
    """How faults begin, and the whole errorMessage that an invoker sees (4.6)."""
    return f"RequestId: {request_id} Error: {message}" if request_id else f"Error: {message}"


def not_started_text(command: tuple[str, ...], errno: int, *, has_bootstrap: bool) -> str:
    """Why a runtime could not be executed (4.6); an empty command is ours, and is found."""
    if errno == ENOENT and not has_bootstrap:
        return "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"
    return f"fork/exec {' '.join(command[:1])}: {os.strerror(errno).lower()}"


_MANAGED = re.compile(r"(?P<language>[a-z]+)(?P<version>[0-9.]+?)(?:\.x|\.al2)?")


@cache
def runtime_version(runtime: str) -> str | None:
    """The version that INIT_START names, such as ``python:3.12.v1``; none if OS-only.

    AWS counts the releases of each runtime; this host has one of each, the first.
    """
    found = _MANAGED.fullmatch(runtime)
    return f"{found['language']}:{found['version']}.v1" if found else None


# Names as Go's os.ProcessState prints them; the platform's texts come from there.
_SIGNALS = {
    1: "hangup", 2: "interrupt", 3: "quit", 4: "illegal instruction", 5: "trace/breakpoint trap",
    6: "aborted", 7: "bus error", 8: "floating point exception", 9: "killed",
    10: "user defined signal 1", 11: "segmentation fault", 12: "user defined signal 2",
    13: "broken pipe", 14: "alarm clock", 15: "terminated", 16: "stack fault",
    24: "CPU time limit exceeded", 25: "file size limit exceeded", 26: "virtual timer expired",
    27: "profiling timer expired", 29: "I/O possible", 30: "power failure",
    31: "bad system call",
}  # fmt: skip


def exit_words(status: int) -> str:
    """How a process ended, such as ``exit status 1``; ``status`` is wait(2)'s."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        dumped = " (core dumped)" if os.WCOREDUMP(status) else ""
        return f"signal: {_SIGNALS.get(number, f'signal {number}')}{dumped}"
    return f"exit status {os.waitstatus_to_exitcode(status)}"


def exit_text(status: int) -> str:
    """How a runtime ended, which it never does when all is well."""
    if status == 0:
        return "Runtime exited without providing a reason"
    return f"Runtime exited with error: {exit_words(status)}"


def extension_exit_text(status: int) -> str:
    """How an extension ended."""
    return "exit code 0" if status == 0 else exit_words(status)


def no_clones(reason: str) -> str:
    """Why environments of a version with SnapStart begin with an init of their own; ours."""
    return f"The snapshot cannot be cloned: {reason}. Each environment runs init itself."
