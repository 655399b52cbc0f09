"""Every event in telemetry and JSON logs, and its level there."""

import pytest

from lambdad.invoke import platform_events
from lambdad.invoke.event_parts import (
    SUCCESS,
    TIMEOUT,
    InitType,
    Metrics,
    Phase,
    ResponseTimes,
    Span,
    SpanName,
    Tracing,
    failed,
)
from lambdad.invoke.log_level import Level
from lambdad.invoke.platform_events import (
    End,
    ExtensionReady,
    Fault,
    InitReport,
    InitRuntimeDone,
    InitStart,
    LogsDropped,
    LogsSubscription,
    PlatformEvent,
    Report,
    RestoreReport,
    RestoreRuntimeDone,
    RestoreStart,
    RuntimeDone,
    Start,
    TaskTimedOut,
    TelemetrySubscription,
)
from lambdad.invoke.subscription import SCHEMAS, Api, Destination, Protocol, Subscription

ID = "8f507cfc-xmpl-4697-b07a-ac58fc914c95"
MIB = 1024 * 1024
NOON_S = 1_795_253_400.0
STREAM = "2026/11/21/[$LATEST]0123456789abcdef0123456789abcdef"
ARN = "arn:aws:lambda:eu-west-1::runtime:0cdcfbdefbc5e7d3343f73c2e2dd3cba"
VERSION = "python:3.12.v7"
TRACE = "Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1"
ON_DEMAND, INIT = InitType.ON_DEMAND, Phase.INIT
FACTS = ("fn", "$LATEST", STREAM, 256)
CRASH = failed("Runtime.ExitError")


def subscription(api, schema):
    return Subscription(api, schema, frozenset({"platform"}), Destination(Protocol.TCP, 80))


NEWEST = {api: subscription(api, SCHEMAS[api][-1]) for api in Api}


def report(outcome=SUCCESS, init_s=None, **values):
    return Report(ID, outcome, Metrics(0.00301, 128, 36 * MIB, init_s), **values)


TRACING = {"spanId": "54565fb41ac79632", "type": "X-Amzn-Trace-Id", "value": TRACE}
IN_INIT = {"initializationType": "on-demand", "phase": "init"}
ERROR = {"status": "error", "errorType": "Runtime.ExitError"}
TIMES = ResponseTimes(0.0, 0.5, 0.75, 1.75, NOON_S)
RECORDS = [
    (
        InitStart(ON_DEMAND, INIT, *FACTS, VERSION, ARN),
        "platform.initStart",
        {
            "initializationType": "on-demand",
            "phase": "init",
            "runtimeVersion": VERSION,
            "runtimeVersionArn": ARN,
            "functionName": "fn",
            "functionVersion": "$LATEST",
            "instanceId": STREAM,
            "instanceMaxMemory": 268_435_456,
        },
    ),
    (
        InitStart(InitType.MANAGED_INSTANCES, INIT, *FACTS),
        "platform.initStart",
        {
            "initializationType": "lambda-managed-instances",
            "phase": "init",
            "functionName": "fn",
            "functionVersion": "$LATEST",
            "instanceId": STREAM,
            "instanceMaxMemory": 268_435_456,
        },
    ),
    (
        InitRuntimeDone(ON_DEMAND, INIT, SUCCESS, Tracing(TRACE, "54565fb41ac79632")),
        "platform.initRuntimeDone",
        IN_INIT | {"status": "success", "tracing": TRACING},
    ),
    (InitRuntimeDone(ON_DEMAND, INIT, CRASH), "platform.initRuntimeDone", IN_INIT | ERROR),
    (
        InitRuntimeDone(ON_DEMAND, Phase.INVOKE, TIMEOUT),
        "platform.initRuntimeDone",
        {
            "initializationType": "on-demand",
            "phase": "invoke",
            "status": "timeout",
            "errorType": "Runtime.Unknown",
        },
    ),
    (
        InitReport(ON_DEMAND, INIT, SUCCESS, 0.1253301),
        "platform.initReport",
        IN_INIT | {"status": "success", "metrics": {"durationMs": 125.33}},
    ),
    (
        InitReport(ON_DEMAND, INIT, CRASH, 0.125),
        "platform.initReport",
        IN_INIT | ERROR | {"metrics": {"durationMs": 125.0}},
    ),
    (
        RestoreStart(*FACTS, "java:21.v38", ARN),
        "platform.restoreStart",
        {
            "functionName": "fn",
            "functionVersion": "$LATEST",
            "instanceId": STREAM,
            "instanceMaxMemory": 268_435_456,
            "runtimeVersion": "java:21.v38",
            "runtimeVersionArn": ARN,
        },
    ),
    (RestoreRuntimeDone(CRASH), "platform.restoreRuntimeDone", ERROR),
    (
        RestoreReport(SUCCESS, 0.39897),
        "platform.restoreReport",
        {"status": "success", "metrics": {"durationMs": 398.97}},
    ),
    (
        ExtensionReady("cw.sh", "Ready", ("INVOKE", "SHUTDOWN")),
        "platform.extension",
        {"name": "cw.sh", "state": "Ready", "events": ["INVOKE", "SHUTDOWN"]},
    ),
    (
        ExtensionReady("x", "LaunchError", (), "PermissionDenied"),
        "platform.extension",
        {"name": "x", "state": "LaunchError", "events": [], "errorType": "PermissionDenied"},
    ),
    (
        TelemetrySubscription("x", {"function", "platform"}),
        "platform.telemetrySubscription",
        {"name": "x", "state": "Subscribed", "types": ["platform", "function"]},
    ),
    (
        LogsSubscription("x", {"platform"}),
        "platform.logsSubscription",
        {"name": "x", "state": "Subscribed", "types": ["platform"]},
    ),
    (
        LogsDropped(12_345, 123),
        "platform.logsDropped",
        {
            "droppedBytes": 12_345,
            "droppedRecords": 123,
            "reason": (
                "Some logs were dropped because the downstream consumer is slower than the logs "
                "production rate"
            ),
        },
    ),
    (Start(ID, "7"), "platform.start", {"requestId": ID, "version": "7"}),
    (
        Start(ID, "7", "arn", Tracing(TRACE, "54565fb41ac79632"), "tenant"),
        "platform.start",
        {
            "requestId": ID,
            "functionArn": "arn",
            "version": "7",
            "tracing": TRACING,
            "tenantId": "tenant",
        },
    ),
    (RuntimeDone(ID, TIMEOUT), "platform.runtimeDone", {"requestId": ID, "status": "timeout"}),
    (
        RuntimeDone(ID, SUCCESS, 1.75, 23, TIMES, Tracing(TRACE, "54565fb41ac79632"), "tenant"),
        "platform.runtimeDone",
        {
            "requestId": ID,
            "status": "success",
            "metrics": {"durationMs": 1750.0, "producedBytes": 23},
            "spans": [
                {
                    "name": "responseLatency",
                    "start": "2026-11-21T09:30:00.000Z",
                    "durationMs": 500.0,
                },
                {
                    "name": "responseDuration",
                    "start": "2026-11-21T09:30:00.500Z",
                    "durationMs": 250.0,
                },
                {
                    "name": "runtimeOverhead",
                    "start": "2026-11-21T09:30:00.750Z",
                    "durationMs": 1000.0,
                },
            ],
            "tracing": TRACING,
            "tenantId": "tenant",
        },
    ),
    (
        RuntimeDone(ID, CRASH, 0.003),
        "platform.runtimeDone",
        {"requestId": ID, **ERROR, "metrics": {"durationMs": 3.0}},
    ),
    (
        Report(ID, SUCCESS, Metrics(1.23396, 256, 123 * MIB, 0.463512)),
        "platform.report",
        {
            "requestId": ID,
            "metrics": {
                "durationMs": 1233.96,
                "billedDurationMs": 1698,
                "memorySizeMB": 256,
                "maxMemoryUsedMB": 123,
                "initDurationMs": 463.512,
            },
            "status": "success",
        },
    ),
    (
        Report(
            ID,
            CRASH,
            Metrics(0.25),
            Span(SpanName.EXTENSION_OVERHEAD, NOON_S, 0.001),
            ResponseTimes(0.0, 0.5, None, None, NOON_S),
            Tracing(TRACE, "54565fb41ac79632"),
        ),
        "platform.report",
        {
            "requestId": ID,
            **ERROR,
            "metrics": {"durationMs": 250.0},
            "spans": [
                {
                    "name": "responseLatency",
                    "start": "2026-11-21T09:30:00.000Z",
                    "durationMs": 500.0,
                },
                {
                    "name": "extensionOverhead",
                    "start": "2026-11-21T09:30:00.000Z",
                    "durationMs": 1.0,
                },
            ],
            "tracing": TRACING,
        },
    ),
]


@pytest.mark.parametrize(("event", "kind", "record"), RECORDS)
def test_the_telemetry_api_shows_what_is_known(event, kind, record):
    assert event.type == kind
    assert event.record_for(NEWEST[Api.TELEMETRY]) == record
    assert event.record() == record


NOT_FOR_TELEMETRY = {Fault, End, TaskTimedOut}
KINDS = {
    kind
    for name, kind in vars(platform_events).items()
    if isinstance(kind, type) and issubclass(kind, PlatformEvent) and not name.startswith("_")
} - {PlatformEvent}


def test_every_event_is_tried_as_a_record():
    tried = {type(event) for event, _, _ in RECORDS}
    assert tried == KINDS - NOT_FOR_TELEMETRY


@pytest.mark.parametrize(
    "event", [Fault(ID, "exit code 0", "Extension.Crash"), End(ID), TaskTimedOut(NOON_S, ID, 3)]
)
def test_the_telemetry_api_and_json_logs_do_not_know_what_is_for_text_logs(event):
    assert event.record_for(NEWEST[Api.TELEMETRY]) is None
    assert event.record() is None


@pytest.mark.parametrize(
    ("event", "record"),
    [
        (End(ID), {"requestId": ID}),
        (
            Fault(ID, "Runtime exited with error: exit status 255", "Runtime.ExitError"),
            f"RequestId: {ID} Error: Runtime exited with error: exit status 255\nRuntime.ExitError",
        ),
        (
            InitReport(ON_DEMAND, INIT, SUCCESS, 0.12533),
            IN_INIT
            | {"status": "success", "metrics": {"durationMs": 125.33, "billedDurationMs": 126}},
        ),
        (
            LogsDropped(12_345, 123),
            {
                "droppedBytes": 12_345,
                "droppedRecords": 123,
                "reason": (
                    "Consumer seems to have fallen behind as it has not acknowledged receipt of "
                    "logs."
                ),
            },
        ),
        (RuntimeDone(ID, SUCCESS, 0.5, 3, TIMES), {"requestId": ID, "status": "success"}),
        (RuntimeDone(ID, CRASH, 0.5), {"requestId": ID, "status": "failure"}),
        (
            RuntimeDone(ID, failed("Sandbox.Failure"), 0.5),
            {"requestId": ID, "status": "failure"},
        ),
        (RuntimeDone(ID, TIMEOUT, 0.5), {"requestId": ID, "status": "timeout"}),
        (Start(ID, "7"), {"requestId": ID, "version": "7"}),
        (TaskTimedOut(NOON_S, ID, 3), None),
    ],
)
def test_the_logs_api_has_forms_of_its_own(event, record):
    assert event.record_for(NEWEST[Api.LOGS]) == record


def test_the_first_schema_of_the_logs_api_knows_no_runtime_done():
    first = subscription(Api.LOGS, "2020-08-15")
    assert RuntimeDone(ID, SUCCESS).record_for(first) is None
    assert End(ID).record_for(first) == {"requestId": ID}


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (InitStart(ON_DEMAND, INIT, *FACTS, VERSION, ARN), Level.INFO),
        (InitStart(ON_DEMAND, INIT, *FACTS), Level.DEBUG),
        (InitRuntimeDone(ON_DEMAND, INIT, SUCCESS), Level.DEBUG),
        (InitRuntimeDone(ON_DEMAND, INIT, TIMEOUT), Level.WARN),
        (InitReport(ON_DEMAND, INIT, SUCCESS, 0.1), Level.DEBUG),
        (InitReport(InitType.PROVISIONED_CONCURRENCY, INIT, SUCCESS, 0.1), Level.INFO),
        (InitReport(InitType.SNAP_START, Phase.SNAP_START, SUCCESS, 0.1), Level.INFO),
        (InitReport(InitType.MANAGED_INSTANCES, INIT, SUCCESS, 0.1), Level.INFO),
        (InitReport(ON_DEMAND, INIT, CRASH, 0.1), Level.WARN),
        (RestoreStart(*FACTS, VERSION, ARN), Level.DEBUG),
        (RestoreRuntimeDone(SUCCESS), Level.DEBUG),
        (RestoreRuntimeDone(CRASH), Level.WARN),
        (RestoreReport(SUCCESS, 0.1), Level.INFO),
        (RestoreReport(CRASH, 0.1), Level.WARN),
        (ExtensionReady("x", "Ready", ()), Level.INFO),
        (TelemetrySubscription("x", ()), Level.INFO),
        (LogsSubscription("x", ()), Level.INFO),
        (LogsDropped(1, 1), Level.WARN),
        (Start(ID, "1"), Level.INFO),
        (RuntimeDone(ID, SUCCESS), Level.DEBUG),
        (RuntimeDone(ID, CRASH), Level.WARN),
        (report(), Level.INFO),
        (report(TIMEOUT), Level.WARN),
        (report(failed("Sandbox.Failure")), Level.WARN),
    ],
)
def test_each_event_has_the_level_of_the_table(event, level):
    assert event.level is level
