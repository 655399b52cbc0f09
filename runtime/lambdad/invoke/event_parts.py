"""What platform events are made of: outcomes, times, sizes and traces, and how each is shown.

Pure. The events themselves are in `platform_events`. Durations are seconds here and
milliseconds in every form.

Source: runtime-protocol 3.3 and 6.2;
https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from lambdad.model.clock import iso_milliseconds
from lambdad.model.limits import MIB


class InitType(StrEnum):
    """``AWS_LAMBDA_INITIALIZATION_TYPE``."""

    ON_DEMAND = "on-demand"
    PROVISIONED_CONCURRENCY = "provisioned-concurrency"
    SNAP_START = "snap-start"
    MANAGED_INSTANCES = "lambda-managed-instances"


class Phase(StrEnum):
    """In which phase an init ran: its own, the first invoke, or a version's publishing."""

    INIT = "init"
    INVOKE = "invoke"
    SNAP_START = "snap-start"


class Status(StrEnum):
    """How something ended; an error is the function's, a failure the platform's."""

    SUCCESS = "success"
    ERROR = "error"
    FAILURE = "failure"
    TIMEOUT = "timeout"


class SpanName(StrEnum):
    RESPONSE_LATENCY = "responseLatency"
    RESPONSE_DURATION = "responseDuration"
    RUNTIME_OVERHEAD = "runtimeOverhead"
    EXTENSION_OVERHEAD = "extensionOverhead"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How something ended, and why: a timeout shows no error type."""

    status: Status
    error_type: str | None = None

    def fields(self) -> dict[str, object]:
        """Its part of a record."""
        shown = None if self.status is Status.TIMEOUT else self.error_type
        return known(status=self.status, errorType=shown)

    def columns(self) -> list[str]:
        """Its part of a text line: nothing when all went well."""
        if self.status is Status.SUCCESS:
            return []
        shown = [f"Status: {self.status}"]
        if self.error_type and self.status is not Status.TIMEOUT:
            shown.append(f"Error Type: {self.error_type}")
        return shown


SUCCESS = Outcome(Status.SUCCESS)
TIMEOUT = Outcome(Status.TIMEOUT)


def failed(error_type: str) -> Outcome:
    """The outcome that *error_type* stands for: ``Sandbox.*`` is the platform's (4.6)."""
    if error_type == "Sandbox.Timedout":
        return TIMEOUT
    if error_type.startswith("Sandbox."):
        return Outcome(Status.FAILURE, error_type)
    return Outcome(Status.ERROR, error_type)


@dataclass(frozen=True, slots=True)
class Span:
    """A part of an event's time; ``start_s`` is seconds of the epoch."""

    name: SpanName
    start_s: float
    duration_s: float

    def record(self) -> dict[str, object]:
        start = iso_milliseconds(self.start_s)
        return {"name": self.name, "start": start, "durationMs": ms(self.duration_s)}


@dataclass(frozen=True, slots=True)
class ResponseTimes:
    """When a response was on its way, in seconds of the monotonic clock; ``None``: never.

    Attributes:
        released_s: the runtime was given the event.
        first_byte_s: the first byte of its response came.
        last_byte_s: the last one came.
        back_s: the runtime asked for the next event.
        epoch_s: what makes seconds of the epoch of the others, by addition.
    """

    released_s: float
    first_byte_s: float | None
    last_byte_s: float | None
    back_s: float | None
    epoch_s: float

    def spans(self) -> list[Span]:
        """The spans between them, of those that are known at both ends."""
        ends = (
            (SpanName.RESPONSE_LATENCY, self.released_s, self.first_byte_s),
            (SpanName.RESPONSE_DURATION, self.first_byte_s, self.last_byte_s),
            (SpanName.RUNTIME_OVERHEAD, self.last_byte_s, self.back_s),
        )
        return [
            Span(name, self.epoch_s + start_s, end_s - start_s)
            for name, start_s, end_s in ends
            if start_s is not None and end_s is not None
        ]


@dataclass(frozen=True, slots=True)
class Tracing:
    """The trace of a sampled event; ``value`` is that of ``X-Amzn-Trace-Id``."""

    value: str
    span_id: str | None = None

    def record(self) -> dict[str, object]:
        return known(spanId=self.span_id, type="X-Amzn-Trace-Id", value=self.value)

    def line(self) -> str:
        """What stands below REPORT."""
        parts = _trace_parts(self.value)
        root, parent = parts.get("Root", ""), parts.get("Parent", "")
        return f"XRAY TraceId: {root}\tSegmentId: {parent}\tSampled: true\t\n"


def tracing_of(header: str, span_id: str | None = None) -> Tracing | None:
    """The tracing that ``X-Amzn-Trace-Id`` asks for: none unless it is rooted and sampled."""
    parts = _trace_parts(header)
    if parts.get("Root") and parts.get("Sampled") == "1":
        return Tracing(header, span_id)
    return None


def _trace_parts(header: str) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return {name: value for name, _, value in pairs}


@dataclass(frozen=True, slots=True)
class Metrics:
    """What REPORT counts.

    Attributes:
        duration_s: from the event's delivery until everybody was back.
        memory_mb: MemorySize; ``None`` in managed instances, which report their duration only.
        memory_used_bytes: the environment's high-water mark.
        init_s: how long init took, in the first invocation of an environment only.
        restore_s: how long the restore of a snapshot took, likewise.
        billed_restore_s: the part of it that is paid for; goes with ``restore_s``.
    """

    duration_s: float
    memory_mb: int | None = None
    memory_used_bytes: int = 0
    init_s: float | None = None
    restore_s: float | None = None
    billed_restore_s: float = 0.0

    @property
    def billed_ms(self) -> int:
        """Init is paid for with the invocation; a restore is rounded up by itself (6.2)."""
        billed = whole_ms(self.duration_s + (self.init_s or 0.0))
        return billed if self.restore_s is None else billed + self.billed_restore_ms

    @property
    def billed_restore_ms(self) -> int:
        return whole_ms(self.billed_restore_s)

    def used_mb(self, memory_mb: int) -> int:
        """Whole megabytes, rounded up, and never more than were bought."""
        return min(memory_mb, math.ceil(self.memory_used_bytes / MIB))

    def record(self) -> dict[str, object]:
        shown: dict[str, object] = {"durationMs": ms(self.duration_s)}
        if self.memory_mb is not None:
            shown["billedDurationMs"] = self.billed_ms
            shown["memorySizeMB"] = self.memory_mb
            shown["maxMemoryUsedMB"] = self.used_mb(self.memory_mb)
        if self.init_s is not None:
            shown["initDurationMs"] = ms(self.init_s)
        if self.restore_s is not None:
            shown["restoreDurationMs"] = ms(self.restore_s)
            shown["billedRestoreDurationMs"] = self.billed_restore_ms
        return shown

    def columns(self) -> str:
        """Its part of the REPORT line, each column with the tab behind it."""
        shown = f"Duration: {self.duration_s * 1000:.2f} ms\t"
        if self.memory_mb is not None:
            shown += (
                f"Billed Duration: {self.billed_ms} ms\tMemory Size: {self.memory_mb} MB\t"
                f"Max Memory Used: {self.used_mb(self.memory_mb)} MB\t"
            )
        if self.init_s is not None:
            shown += f"Init Duration: {self.init_s * 1000:.2f} ms\t"
        if self.restore_s is not None:
            shown += (
                f"Restore Duration: {self.restore_s * 1000:.2f} ms\t"
                f"Billed Restore Duration: {self.billed_restore_ms} ms\t"
            )
        return shown


def known(**fields: object) -> dict[str, object]:
    """A record without what is not known."""
    return {name: value for name, value in fields.items() if value is not None}


def ms(duration_s: float) -> float:
    """Milliseconds, to the microsecond."""
    return round(duration_s * 1000, 3)


def whole_ms(duration_s: float) -> int:
    """Whole milliseconds, rounded up: counted in nanoseconds, where floats are still exact."""
    return -(-round(duration_s * 1_000_000_000) // 1_000_000)
