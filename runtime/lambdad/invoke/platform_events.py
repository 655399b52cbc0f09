"""What the platform itself says of an environment: one class for each event. Pure.

An event knows its forms and nothing else: its record in telemetry and JSON logs, its line in
text logs, its level. Nothing is rendered before somebody reads it. Durations are seconds here
and milliseconds in every form. What becomes of an event is the business of `journal`.

Source: runtime-protocol 3.3, 3.4 and 6.1 to 6.3; recorded from CloudWatch Logs;
https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import ClassVar

from lambdad.invoke.event_parts import (
    InitType,
    Metrics,
    Outcome,
    Phase,
    ResponseTimes,
    Span,
    Status,
    Tracing,
    known,
    ms,
    whole_ms,
)
from lambdad.invoke.log_level import Level
from lambdad.invoke.platform_words import fault_text, timeout_text
from lambdad.invoke.subscription import TYPES, Api, Subscription
from lambdad.model.clock import iso_milliseconds
from lambdad.model.limits import MIB

Record = Mapping[str, object] | str


class PlatformEvent:
    """What all events have in common; what one of them does not say stays as it is here.

    Attributes:
        type: its name in telemetry; empty for what is a line of text logs only.
        logs_schema_min: the oldest schema of the Logs API that has it.
    """

    __slots__ = ()
    type: ClassVar[str] = ""
    logs_schema_min: ClassVar[str] = ""

    @property
    def level(self) -> Level:
        """How much it matters; JSON logs leave out what is below the system log level."""
        return Level.INFO

    def text(self) -> str:
        """What text logs show, with its newline; empty if nothing."""
        return ""

    def record(self) -> Record | None:
        """What JSON logs and the Telemetry API show; ``None`` if nothing."""
        return None

    def logs_record(self) -> Record | None:
        """What the Logs API shows; ``None`` if nothing."""
        return self.record()

    def record_for(self, subscription: Subscription) -> Record | None:
        """What a subscriber gets; ``None`` if nothing."""
        if subscription.api is Api.TELEMETRY:
            return self.record()
        return self.logs_record() if subscription.schema >= self.logs_schema_min else None


# --- init ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InitStart(PlatformEvent):
    """Init begins.

    Attributes:
        instance_id: the name of the log stream.
        runtime_version: see ``runtime_version``; ``None`` together with its ARN.
    """

    type: ClassVar[str] = "platform.initStart"
    init_type: InitType
    phase: Phase
    function_name: str
    function_version: str
    instance_id: str
    memory_mb: int
    runtime_version: str | None = None
    runtime_version_arn: str | None = None

    @property
    def level(self) -> Level:
        return Level.DEBUG if self.runtime_version is None else Level.INFO

    def text(self) -> str:
        return _version_line("INIT_START", self.runtime_version, self.runtime_version_arn)

    def record(self) -> Record:
        return known(
            initializationType=self.init_type,
            phase=self.phase,
            runtimeVersion=self.runtime_version,
            runtimeVersionArn=self.runtime_version_arn,
            functionName=self.function_name,
            functionVersion=self.function_version,
            instanceId=self.instance_id,
            instanceMaxMemory=self.memory_mb * MIB,
        )


@dataclass(frozen=True, slots=True)
class InitRuntimeDone(PlatformEvent):
    """The runtime asked for its first event, or will not."""

    type: ClassVar[str] = "platform.initRuntimeDone"
    init_type: InitType
    phase: Phase
    outcome: Outcome
    tracing: Tracing | None = None

    @property
    def level(self) -> Level:
        return _level(self.outcome, Level.DEBUG)

    def record(self) -> Record:
        shown = {"initializationType": self.init_type, "phase": self.phase} | self.outcome.fields()
        if self.outcome.status is Status.TIMEOUT:
            shown["errorType"] = "Runtime.Unknown"
        return shown | _tracing(self.tracing)


@dataclass(frozen=True, slots=True)
class InitReport(PlatformEvent):
    """Init is over, extensions included."""

    type: ClassVar[str] = "platform.initReport"
    init_type: InitType
    phase: Phase
    outcome: Outcome
    duration_s: float

    @property
    def level(self) -> Level:
        on_demand = self.init_type is InitType.ON_DEMAND
        return _level(self.outcome, Level.DEBUG if on_demand else Level.INFO)

    def text(self) -> str:
        line = f"INIT_REPORT Init Duration: {self.duration_s * 1000:.2f} ms"
        if self.outcome.status is not Status.SUCCESS:
            return "\t".join([line, f"Phase: {self.phase}", *self.outcome.columns()]) + "\n"
        return "" if self.init_type is InitType.ON_DEMAND else line + "\n"

    def record(self) -> Record:
        return self._record({"durationMs": ms(self.duration_s)})

    def logs_record(self) -> Record:
        billed_ms = whole_ms(self.duration_s)
        return self._record({"durationMs": ms(self.duration_s), "billedDurationMs": billed_ms})

    def _record(self, metrics: dict[str, object]) -> Record:
        shown = {"initializationType": self.init_type, "phase": self.phase} | self.outcome.fields()
        return shown | {"metrics": metrics}


# --- restore ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RestoreStart(PlatformEvent):
    """A snapshot is about to be restored; the attributes are those of ``InitStart``."""

    type: ClassVar[str] = "platform.restoreStart"
    function_name: str
    function_version: str
    instance_id: str
    memory_mb: int
    runtime_version: str | None = None
    runtime_version_arn: str | None = None

    @property
    def level(self) -> Level:
        return Level.DEBUG

    def text(self) -> str:
        return _version_line("RESTORE_START", self.runtime_version, self.runtime_version_arn)

    def record(self) -> Record:
        return known(
            functionName=self.function_name,
            functionVersion=self.function_version,
            instanceId=self.instance_id,
            instanceMaxMemory=self.memory_mb * MIB,
            runtimeVersion=self.runtime_version,
            runtimeVersionArn=self.runtime_version_arn,
        )


@dataclass(frozen=True, slots=True)
class RestoreRuntimeDone(PlatformEvent):
    """The runtime asked for its first event after a restore, or will not."""

    type: ClassVar[str] = "platform.restoreRuntimeDone"
    outcome: Outcome

    @property
    def level(self) -> Level:
        return _level(self.outcome, Level.DEBUG)

    def record(self) -> Record:
        return self.outcome.fields()


@dataclass(frozen=True, slots=True)
class RestoreReport(PlatformEvent):
    """A restore is over."""

    type: ClassVar[str] = "platform.restoreReport"
    outcome: Outcome
    duration_s: float

    @property
    def level(self) -> Level:
        return _level(self.outcome, Level.INFO)

    def text(self) -> str:
        line = f"RESTORE_REPORT Restore Duration: {self.duration_s * 1000:.2f} ms"
        return "\t".join([line, *self.outcome.columns()]) + "\n"

    def record(self) -> Record:
        return self.outcome.fields() | {"metrics": {"durationMs": ms(self.duration_s)}}


# --- extensions ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ExtensionReady(PlatformEvent):
    """Where an extension stood when init ended: ready, most often.

    Attributes:
        state: as the Extensions API names it, such as ``Ready`` or ``LaunchError``.
        events: those it asked for, in its own order.
    """

    type: ClassVar[str] = "platform.extension"
    name: str
    state: str
    events: tuple[str, ...]
    error_type: str | None = None

    def text(self) -> str:
        line = f"EXTENSION\tName: {self.name}\tState: {self.state}\tEvents: "
        line += f"[{', '.join(self.events)}]"
        return f"{line}\tError Type: {self.error_type}\n" if self.error_type else line + "\n"

    def record(self) -> Record:
        shown = {"name": self.name, "state": self.state, "events": list(self.events)}
        return shown | known(errorType=self.error_type)


@dataclass(frozen=True, slots=True)
class _Subscribed(PlatformEvent):
    """An extension asked for telemetry; ``again`` when it had done so before."""

    heading: ClassVar[str]
    name: str
    types: Collection[str]
    again: bool = False

    @property
    def state(self) -> str:
        return "Already subscribed" if self.again else "Subscribed"

    def text(self) -> str:
        types = ", ".join(name.capitalize() for name in self._types())
        return f"{self.heading}\tName: {self.name}\tState: {self.state}\tTypes: [{types}]\n"

    def record(self) -> Record:
        return {"name": self.name, "state": self.state, "types": self._types()}

    def _types(self) -> list[str]:
        return [name for name in TYPES if name in self.types]


@dataclass(frozen=True, slots=True)
class TelemetrySubscription(_Subscribed):
    """An extension subscribed to the Telemetry API."""

    type: ClassVar[str] = "platform.telemetrySubscription"
    heading: ClassVar[str] = "TELEMETRY"


@dataclass(frozen=True, slots=True)
class LogsSubscription(_Subscribed):
    """An extension subscribed to the Logs API."""

    type: ClassVar[str] = "platform.logsSubscription"
    heading: ClassVar[str] = "LOGS"


@dataclass(frozen=True, slots=True)
class LogsDropped(PlatformEvent):
    """A subscriber was too slow; only that one is told."""

    type: ClassVar[str] = "platform.logsDropped"
    dropped_bytes: int
    dropped_records: int

    @property
    def level(self) -> Level:
        return Level.WARN

    def record(self) -> Record:
        return self._record(
            "Some logs were dropped because the downstream consumer is slower than the logs "
            "production rate"
        )

    def logs_record(self) -> Record:
        return self._record(
            "Consumer seems to have fallen behind as it has not acknowledged receipt of logs."
        )

    def _record(self, reason: str) -> Record:
        counts = {"droppedBytes": self.dropped_bytes, "droppedRecords": self.dropped_records}
        return counts | {"reason": reason}


# --- an invocation ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Start(PlatformEvent):
    """An event goes to the runtime and the extensions."""

    type: ClassVar[str] = "platform.start"
    request_id: str
    version: str
    function_arn: str | None = None
    tracing: Tracing | None = None
    tenant_id: str | None = None

    def text(self) -> str:
        return f"START RequestId: {self.request_id} Version: {self.version}\n"

    def record(self) -> Record:
        shown = known(
            requestId=self.request_id, functionArn=self.function_arn, version=self.version
        )
        return shown | _tracing(self.tracing) | known(tenantId=self.tenant_id)


@dataclass(frozen=True, slots=True)
class RuntimeDone(PlatformEvent):
    """The runtime asked for the next event, or will not.

    Attributes:
        outcome: a success, too, when the runtime reported an error of the function.
        duration_s: from the event's delivery until now; ``None`` if it was never delivered.
        produced_bytes: the size of the response, if there was one.
    """

    type: ClassVar[str] = "platform.runtimeDone"
    logs_schema_min: ClassVar[str] = "2021-03-18"
    request_id: str
    outcome: Outcome
    duration_s: float | None = None
    produced_bytes: int | None = None
    times: ResponseTimes | None = None
    tracing: Tracing | None = None
    tenant_id: str | None = None

    @property
    def level(self) -> Level:
        return _level(self.outcome, Level.DEBUG)

    def record(self) -> Record:
        shown: dict[str, object] = {"requestId": self.request_id} | self.outcome.fields()
        if self.duration_s is not None:
            shown["metrics"] = known(
                durationMs=ms(self.duration_s), producedBytes=self.produced_bytes
            )
        spans = [] if self.times is None else self.times.spans()
        return shown | _spans(spans) | _tracing(self.tracing) | known(tenantId=self.tenant_id)

    def logs_record(self) -> Record:
        """The Logs API has three statuses only: whatever went wrong is a failure."""
        status = self.outcome.status
        shown = Status.FAILURE if status is Status.ERROR else status
        return {"requestId": self.request_id, "status": shown}


@dataclass(frozen=True, slots=True)
class Fault(PlatformEvent):
    """What ended an invocation before its time; ``request_id`` is empty outside of one."""

    type: ClassVar[str] = "platform.fault"
    request_id: str
    message: str
    error_type: str

    def text(self) -> str:
        return f"{fault_text(self.request_id, self.message)}\n{self.error_type}\n"

    def logs_record(self) -> Record:
        return self.text().removesuffix("\n")


@dataclass(frozen=True, slots=True)
class TaskTimedOut(PlatformEvent):
    """The line that stands before END when time was up; ``now_s`` is seconds of the epoch."""

    now_s: float
    request_id: str
    timeout_s: int

    def text(self) -> str:
        return f"{iso_milliseconds(self.now_s)} {self.request_id} {timeout_text(self.timeout_s)}\n"


@dataclass(frozen=True, slots=True)
class End(PlatformEvent):
    """An invocation is over; the Telemetry API and JSON logs know nothing of it."""

    type: ClassVar[str] = "platform.end"
    request_id: str

    def text(self) -> str:
        return f"END RequestId: {self.request_id}\n"

    def logs_record(self) -> Record:
        return {"requestId": self.request_id}


@dataclass(frozen=True, slots=True)
class Report(PlatformEvent):
    """What an invocation took, once everybody is back.

    Attributes:
        times: for the spans of managed instances, which have no ``RuntimeDone``.
        extensions: the span in which only extensions were busy, if any ran.
    """

    type: ClassVar[str] = "platform.report"
    request_id: str
    outcome: Outcome
    metrics: Metrics
    extensions: Span | None = None
    times: ResponseTimes | None = None
    tracing: Tracing | None = None

    @property
    def level(self) -> Level:
        return _level(self.outcome, Level.INFO)

    def text(self) -> str:
        """A report of a success ends in a tab."""
        line = f"REPORT RequestId: {self.request_id}\t{self.metrics.columns()}"
        if self.outcome.status is not Status.SUCCESS:
            line += "\t".join(self.outcome.columns())
        return line + "\n" if self.tracing is None else f"{line}\n{self.tracing.line()}"

    def record(self) -> Record:
        shown: dict[str, object] = {
            "requestId": self.request_id,
            "metrics": self.metrics.record(),
            **self.outcome.fields(),
        }
        spans = [] if self.times is None else self.times.spans()
        if self.extensions is not None:
            spans.append(self.extensions)
        return shown | _spans(spans) | _tracing(self.tracing)


# --- small things ---------------------------------------------------------------------


def _version_line(heading: str, version: str | None, arn: str | None) -> str:
    if version is None:
        return ""
    return f"{heading} Runtime Version: {version}\tRuntime Version ARN: {arn}\n"


def _level(outcome: Outcome, usual: Level) -> Level:
    return usual if outcome.status is Status.SUCCESS else Level.WARN


def _spans(spans: list[Span]) -> dict[str, object]:
    return {"spans": [span.record() for span in spans]} if spans else {}


def _tracing(tracing: Tracing | None) -> dict[str, object]:
    return {} if tracing is None else {"tracing": tracing.record()}
