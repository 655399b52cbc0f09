"""The platform's own log lines, as AWS writes them. Pure.

Source: runtime-protocol 6.1 and 6.2; recorded from CloudWatch Logs.
"""

from __future__ import annotations

import math
import os

from lambdad.model.clock import iso_milliseconds


def start_line(request_id: str, version: str) -> str:
    return f"START RequestId: {request_id} Version: {version}\n"


def end_line(request_id: str) -> str:
    return f"END RequestId: {request_id}\n"


def report_line(
    request_id: str,
    *,
    duration_s: float,
    memory_mb: int,
    memory_used_bytes: int,
    init_s: float | None = None,
    status: str | None = None,
    error_type: str | None = None,
) -> str:
    """The REPORT line.

    Args:
        request_id: of the invocation.
        duration_s: from the event's delivery until the runtime asked for the next.
        memory_mb: MemorySize.
        memory_used_bytes: the environment's high-water mark.
        init_s: how long init took, in the first invocation of an environment only.
        status: ``error`` or ``timeout``; ``None`` when all went well.
        error_type: goes with ``error``.
    """
    duration_ms = duration_s * 1000
    init_ms = (init_s or 0) * 1000
    used_mb = min(memory_mb, math.ceil(memory_used_bytes / (1024 * 1024)))
    fields = [
        f"REPORT RequestId: {request_id}",
        f"Duration: {duration_ms:.2f} ms",
        f"Billed Duration: {math.ceil(duration_ms + init_ms)} ms",
        f"Memory Size: {memory_mb} MB",
        f"Max Memory Used: {used_mb} MB",
    ]
    if init_s is not None:
        fields.append(f"Init Duration: {init_ms:.2f} ms")
    if status is None:
        fields.append("")  # The line ends in a tab.
    else:
        fields.append(f"Status: {status}")
        if error_type and status == "error":
            fields.append(f"Error Type: {error_type}")
    return "\t".join(fields) + "\n"


def init_report_line(init_s: float, phase: str, status: str, error_type: str | None) -> str:
    """The INIT_REPORT line of an init that failed."""
    fields = [f"INIT_REPORT Init Duration: {init_s * 1000:.2f} ms", f"Phase: {phase}"]
    fields.append(f"Status: {status}")
    if error_type and status == "error":
        fields.append(f"Error Type: {error_type}")
    return "\t".join(fields) + "\n"


def timeout_text(timeout_s: int) -> str:
    return f"Task timed out after {timeout_s:.2f} seconds"


def timeout_line(now: float, request_id: str, timeout_s: int) -> str:
    return f"{iso_milliseconds(now)} {request_id} {timeout_text(timeout_s)}\n"


def fault_line(request_id: str, text: str, error_type: str) -> str:
    return f"RequestId: {request_id} Error: {text}\n{error_type}\n"


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


def exit_text(status: int) -> str:
    """How a runtime ended, in the platform's words; ``status`` is wait(2)'s."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        dumped = " (core dumped)" if os.WCOREDUMP(status) else ""
        name = _SIGNALS.get(number, f"signal {number}")
        return f"Runtime exited with error: signal: {name}{dumped}"
    code = os.waitstatus_to_exitcode(status)
    if code == 0:
        return "Runtime exited without providing a reason"
    return f"Runtime exited with error: exit status {code}"
