import pytest

from lambdad.invoke.event_parts import (
    SUCCESS,
    TIMEOUT,
    Metrics,
    Outcome,
    ResponseTimes,
    Span,
    SpanName,
    Status,
    Tracing,
    failed,
    tracing_of,
)

MIB = 1024 * 1024
ROOT = "1-62e900b2-710d76f009d6e7785905449a"
NOON_S = 1_795_253_400.0


@pytest.mark.parametrize(
    ("error_type", "outcome"),
    [
        ("Runtime.ExitError", Outcome(Status.ERROR, "Runtime.ExitError")),
        ("Extension.Crash", Outcome(Status.ERROR, "Extension.Crash")),
        ("Function.ResponseSizeTooLarge", Outcome(Status.ERROR, "Function.ResponseSizeTooLarge")),
        ("Sandbox.Failure", Outcome(Status.FAILURE, "Sandbox.Failure")),
        ("Sandbox.Timedout", Outcome(Status.TIMEOUT)),
    ],
)
def test_an_error_type_says_whose_fault_it_was(error_type, outcome):
    assert failed(error_type) == outcome


@pytest.mark.parametrize(
    ("outcome", "fields", "columns"),
    [
        (SUCCESS, {"status": "success"}, []),
        (
            failed("Runtime.OutOfMemory"),
            {"status": "error", "errorType": "Runtime.OutOfMemory"},
            ["Status: error", "Error Type: Runtime.OutOfMemory"],
        ),
        (
            failed("Sandbox.Failure"),
            {"status": "failure", "errorType": "Sandbox.Failure"},
            ["Status: failure", "Error Type: Sandbox.Failure"],
        ),
        (TIMEOUT, {"status": "timeout"}, ["Status: timeout"]),
        (
            Outcome(Status.TIMEOUT, "Sandbox.Timedout"),
            {"status": "timeout"},
            ["Status: timeout"],
        ),
    ],
)
def test_an_outcome_shows_its_error_type_unless_time_was_up(outcome, fields, columns):
    assert outcome.fields() == fields
    assert outcome.columns() == columns


@pytest.mark.parametrize(
    ("duration_s", "init_s", "billed_ms"),
    [
        (1.23396, 0.463512, 1698),
        (0.13361, 0.08, 214),
        (5.0, 0.57807, 5579),
        (3.0, None, 3000),
        (0.07, None, 70),  # 0.07 * 1000 is more than 70
        (0.1, 0.2, 300),  # 0.1 + 0.2 is more than 0.3
        (0.0000001, None, 1),
    ],
)
def test_what_is_billed_is_duration_and_init_rounded_up(duration_s, init_s, billed_ms):
    metrics = Metrics(duration_s, 128, 36 * MIB, init_s)
    assert f"\tBilled Duration: {billed_ms} ms\t" in metrics.columns()
    assert metrics.record()["billedDurationMs"] == billed_ms


def test_a_restore_is_rounded_up_by_itself():
    metrics = Metrics(0.14953, 512, 99 * MIB, restore_s=0.39897, billed_restore_s=0.1627)
    assert metrics.columns() == (
        "Duration: 149.53 ms\tBilled Duration: 313 ms\tMemory Size: 512 MB\t"
        "Max Memory Used: 99 MB\tRestore Duration: 398.97 ms\tBilled Restore Duration: 163 ms\t"
    )
    assert metrics.record() == {
        "durationMs": 149.53,
        "billedDurationMs": 313,
        "memorySizeMB": 512,
        "maxMemoryUsedMB": 99,
        "restoreDurationMs": 398.97,
        "billedRestoreDurationMs": 163,
    }


@pytest.mark.parametrize(
    ("used_bytes", "shown_mb"), [(1, 1), (36 * MIB, 36), (36 * MIB + 1, 37), (130 * MIB, 128)]
)
def test_memory_is_rounded_up_and_never_above_what_was_bought(used_bytes, shown_mb):
    metrics = Metrics(0.003, 128, used_bytes)
    assert f"\tMax Memory Used: {shown_mb} MB\t" in metrics.columns()
    assert metrics.record()["maxMemoryUsedMB"] == shown_mb


def test_a_duration_has_two_digits_in_text_and_three_in_json():
    metrics = Metrics(1.2345678, 128, MIB, 0.4635123)
    assert metrics.columns().startswith("Duration: 1234.57 ms\t")
    assert metrics.columns().endswith("\tInit Duration: 463.51 ms\t")
    record = metrics.record()
    assert (record["durationMs"], record["initDurationMs"]) == (1234.568, 463.512)


def test_managed_instances_report_their_duration_only():
    assert Metrics(0.003).record() == {"durationMs": 3.0}
    assert Metrics(0.003).columns() == "Duration: 3.00 ms\t"


def test_a_span_is_dated():
    assert Span(SpanName.EXTENSION_OVERHEAD, NOON_S + 0.1236, 0.0015).record() == {
        "name": "extensionOverhead",
        "start": "2026-11-21T09:30:00.123Z",
        "durationMs": 1.5,
    }


@pytest.mark.parametrize(
    ("times", "spans"),
    [
        (
            (10.0, 10.5, 10.75, 11.75),
            [
                (SpanName.RESPONSE_LATENCY, 0.0, 0.5),
                (SpanName.RESPONSE_DURATION, 0.5, 0.25),
                (SpanName.RUNTIME_OVERHEAD, 0.75, 1.0),
            ],
        ),
        (
            (10.0, 10.5, 10.75, None),
            [(SpanName.RESPONSE_LATENCY, 0.0, 0.5), (SpanName.RESPONSE_DURATION, 0.5, 0.25)],
        ),
        ((10.0, 10.5, None, None), [(SpanName.RESPONSE_LATENCY, 0.0, 0.5)]),
        ((10.0, None, None, 11.0), []),
    ],
)
def test_a_response_has_the_spans_whose_ends_are_known(times, spans):
    found = ResponseTimes(*times, epoch_s=NOON_S - 10.0).spans()
    assert found == [Span(name, NOON_S + start_s, took_s) for name, start_s, took_s in spans]


@pytest.mark.parametrize(
    ("header", "traced"),
    [
        (f"Root={ROOT};Parent=0efbd19962d95b05;Sampled=1", True),
        (f"Root={ROOT};Parent=0efbd19962d95b05;Sampled=1;Lineage=1:a:0", True),
        (f"Sampled=1; Root={ROOT}", True),
        (f"Root={ROOT};Parent=0efbd19962d95b05;Sampled=0", False),
        (f"Root={ROOT};Parent=0efbd19962d95b05", False),
        ("Sampled=1", False),
        ("Root=;Sampled=1", False),
        ("no header", False),
        ("", False),
    ],
)
def test_only_what_is_rooted_and_sampled_is_traced(header, traced):
    assert tracing_of(header, "ab") == (Tracing(header, "ab") if traced else None)


def test_a_trace_stands_in_records_and_below_the_report():
    value = f"Root={ROOT};Parent=0efbd19962d95b05;Sampled=1"
    assert Tracing(value, "54565fb41ac79632").record() == {
        "spanId": "54565fb41ac79632",
        "type": "X-Amzn-Trace-Id",
        "value": value,
    }
    assert Tracing(value).record() == {"type": "X-Amzn-Trace-Id", "value": value}
    assert Tracing(value).line() == (
        f"XRAY TraceId: {ROOT}\tSegmentId: 0efbd19962d95b05\tSampled: true\t\n"
    )
