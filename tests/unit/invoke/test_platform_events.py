"""Every event in text logs. Golden lines come from CloudWatch Logs."""

import pytest

from lambdad.invoke import platform_events
from lambdad.invoke.event_parts import (
    SUCCESS,
    TIMEOUT,
    InitType,
    Metrics,
    Phase,
    Tracing,
    failed,
)
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

ID = "8f507cfc-xmpl-4697-b07a-ac58fc914c95"
MIB = 1024 * 1024
NOON_S = 1_795_253_400.0
STREAM = "2026/11/21/[$LATEST]0123456789abcdef0123456789abcdef"
ARN = "arn:aws:lambda:eu-west-1::runtime:0cdcfbdefbc5e7d3343f73c2e2dd3cba"
VERSION = "python:3.12.v7"
MEMORY = "Memory Size: 128 MB\tMax Memory Used: 36 MB"
TRACE = "Root=1-62e900b2-710d76f009d6e7785905449a;Parent=0efbd19962d95b05;Sampled=1"
ON_DEMAND, INIT = InitType.ON_DEMAND, Phase.INIT
FACTS = ("fn", "$LATEST", STREAM, 256)
CRASH = failed("Runtime.ExitError")


def report(outcome=SUCCESS, init_s=None, **values):
    return Report(ID, outcome, Metrics(0.00301, 128, 36 * MIB, init_s), **values)


TEXTS = [
    (
        InitStart(ON_DEMAND, INIT, *FACTS, VERSION, ARN),
        f"INIT_START Runtime Version: python:3.12.v7\tRuntime Version ARN: {ARN}\n",
    ),
    (InitStart(ON_DEMAND, INIT, *FACTS), ""),
    (InitRuntimeDone(ON_DEMAND, INIT, CRASH), ""),
    (InitReport(ON_DEMAND, INIT, SUCCESS, 0.2), ""),
    (
        InitReport(InitType.SNAP_START, Phase.SNAP_START, SUCCESS, 13.31604),
        "INIT_REPORT Init Duration: 13316.04 ms\n",
    ),
    (
        InitReport(InitType.PROVISIONED_CONCURRENCY, INIT, SUCCESS, 13.31604),
        "INIT_REPORT Init Duration: 13316.04 ms\n",
    ),
    (
        InitReport(ON_DEMAND, INIT, failed("Runtime.ImportModuleError"), 1.88255),
        (
            "INIT_REPORT Init Duration: 1882.55 ms\tPhase: init\tStatus: error\t"
            "Error Type: Runtime.ImportModuleError\n"
        ),
    ),
    (
        InitReport(ON_DEMAND, INIT, TIMEOUT, 9.99956),
        "INIT_REPORT Init Duration: 9999.56 ms\tPhase: init\tStatus: timeout\n",
    ),
    (
        InitReport(ON_DEMAND, Phase.INVOKE, TIMEOUT, 2.0),
        "INIT_REPORT Init Duration: 2000.00 ms\tPhase: invoke\tStatus: timeout\n",
    ),
    (
        RestoreStart(*FACTS, "java:21.v38", ARN),
        f"RESTORE_START Runtime Version: java:21.v38\tRuntime Version ARN: {ARN}\n",
    ),
    (RestoreStart(*FACTS), ""),
    (RestoreRuntimeDone(SUCCESS), ""),
    (RestoreReport(SUCCESS, 0.39897), "RESTORE_REPORT Restore Duration: 398.97 ms\n"),
    (
        RestoreReport(TIMEOUT, 10.0),
        "RESTORE_REPORT Restore Duration: 10000.00 ms\tStatus: timeout\n",
    ),
    (
        RestoreReport(failed("Runtime.RestoreError"), 0.39897),
        (
            "RESTORE_REPORT Restore Duration: 398.97 ms\tStatus: error\t"
            "Error Type: Runtime.RestoreError\n"
        ),
    ),
    (
        ExtensionReady("cw.sh", "Ready", ("INVOKE", "SHUTDOWN")),
        "EXTENSION\tName: cw.sh\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n",
    ),
    (
        ExtensionReady("x", "Registered", ()),
        "EXTENSION\tName: x\tState: Registered\tEvents: []\n",
    ),
    (
        ExtensionReady("x", "LaunchError", (), "PermissionDenied"),
        "EXTENSION\tName: x\tState: LaunchError\tEvents: []\tError Type: PermissionDenied\n",
    ),
    (
        TelemetrySubscription("x", {"extension", "platform", "function"}),
        "TELEMETRY\tName: x\tState: Subscribed\tTypes: [Platform, Function, Extension]\n",
    ),
    (
        TelemetrySubscription("x", ["platform"], again=True),
        "TELEMETRY\tName: x\tState: Already subscribed\tTypes: [Platform]\n",
    ),
    (
        LogsSubscription("x", frozenset({"platform"})),
        "LOGS\tName: x\tState: Subscribed\tTypes: [Platform]\n",
    ),
    (LogsDropped(10, 1), ""),
    (Start(ID, "$LATEST", "arn"), f"START RequestId: {ID} Version: $LATEST\n"),
    (RuntimeDone(ID, SUCCESS, 0.003), ""),
    (
        Fault(ID, "Runtime exited with error: signal: killed", "Runtime.ExitError"),
        f"RequestId: {ID} Error: Runtime exited with error: signal: killed\nRuntime.ExitError\n",
    ),
    (
        Fault("", "exit code 0", "Extension.Crash"),
        "Error: exit code 0\nExtension.Crash\n",
    ),
    (
        TaskTimedOut(NOON_S + 0.123, ID, 3),
        f"2026-11-21T09:30:00.123Z {ID} Task timed out after 3.00 seconds\n",
    ),
    (End(ID), f"END RequestId: {ID}\n"),
    (
        report(),
        f"REPORT RequestId: {ID}\tDuration: 3.01 ms\tBilled Duration: 4 ms\t{MEMORY}\t\n",
    ),
    (
        report(init_s=0.1101),
        (
            f"REPORT RequestId: {ID}\tDuration: 3.01 ms\tBilled Duration: 114 ms\t{MEMORY}\t"
            "Init Duration: 110.10 ms\t\n"
        ),
    ),
    (
        report(TIMEOUT, init_s=0.16466),
        (
            f"REPORT RequestId: {ID}\tDuration: 3.01 ms\tBilled Duration: 168 ms\t{MEMORY}\t"
            "Init Duration: 164.66 ms\tStatus: timeout\n"
        ),
    ),
    (
        report(failed("Runtime.OutOfMemory")),
        (
            f"REPORT RequestId: {ID}\tDuration: 3.01 ms\tBilled Duration: 4 ms\t{MEMORY}\t"
            "Status: error\tError Type: Runtime.OutOfMemory\n"
        ),
    ),
    (
        report(tracing=Tracing(TRACE)),
        (
            f"REPORT RequestId: {ID}\tDuration: 3.01 ms\tBilled Duration: 4 ms\t{MEMORY}\t\n"
            "XRAY TraceId: 1-62e900b2-710d76f009d6e7785905449a\tSegmentId: 0efbd19962d95b05\t"
            "Sampled: true\t\n"
        ),
    ),
]


@pytest.mark.parametrize(("event", "text"), TEXTS)
def test_text_logs_show_each_event_byte_for_byte(event, text):
    assert event.text() == text


def test_every_event_is_tried_in_text():
    kinds = {
        kind
        for name, kind in vars(platform_events).items()
        if isinstance(kind, type) and issubclass(kind, PlatformEvent) and not name.startswith("_")
    }
    assert {type(event) for event, _ in TEXTS} == kinds - {PlatformEvent}
