import signal

import pytest

from lambdad.invoke import report

ID = "8f507cfc-xmpl-4697-b07a-ac58fc914c95"
MIB = 1024 * 1024


def line(**values):
    usual = {"duration_s": 0.00301, "memory_mb": 128, "memory_used_bytes": 36 * MIB}
    return report.report_line(ID, **{**usual, **values})


def test_start_and_end():
    assert report.start_line(ID, "$LATEST") == f"START RequestId: {ID} Version: $LATEST\n"
    assert report.end_line(ID) == f"END RequestId: {ID}\n"


def test_a_report_ends_in_a_tab():
    assert line() == (
        f"REPORT RequestId: {ID}\tDuration: 3.01 ms\tBilled Duration: 4 ms\tMemory Size: 128 MB\t"
        "Max Memory Used: 36 MB\t\n"
    )


def test_the_first_report_of_an_environment_shows_its_init():
    assert line(init_s=0.1101) == (
        f"REPORT RequestId: {ID}\tDuration: 3.01 ms\tBilled Duration: 114 ms\t"
        "Memory Size: 128 MB\tMax Memory Used: 36 MB\tInit Duration: 110.10 ms\t\n"
    )


def test_a_report_of_a_failure_ends_in_its_status():
    assert line(status="timeout").endswith("Max Memory Used: 36 MB\tStatus: timeout\n")
    assert line(status="error", error_type="Runtime.OutOfMemory").endswith(
        "Max Memory Used: 36 MB\tStatus: error\tError Type: Runtime.OutOfMemory\n"
    )
    assert line(status="timeout", init_s=0.16466).endswith(
        "Max Memory Used: 36 MB\tInit Duration: 164.66 ms\tStatus: timeout\n"
    )


def test_a_timeout_shows_no_error_type():
    assert "Error Type" not in line(status="timeout", error_type="Sandbox.Timedout")


@pytest.mark.parametrize(
    ("duration_s", "init_s", "billed_ms"),
    [
        (1.23396, 0.463512, 1698),
        (0.13361, 0.08, 214),
        (5.0, 0.57807, 5579),
        (3.0, None, 3000),
        (0.0000001, None, 1),
    ],
)
def test_what_is_billed_is_duration_and_init_rounded_up(duration_s, init_s, billed_ms):
    assert f"\tBilled Duration: {billed_ms} ms\t" in line(duration_s=duration_s, init_s=init_s)


@pytest.mark.parametrize(
    ("used_bytes", "shown_mb"), [(1, 1), (36 * MIB, 36), (36 * MIB + 1, 37), (130 * MIB, 128)]
)
def test_memory_is_rounded_up_and_never_above_what_was_bought(used_bytes, shown_mb):
    assert f"\tMax Memory Used: {shown_mb} MB\t" in line(memory_used_bytes=used_bytes)


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (
            (1.88255, "init", "error", "Runtime.ImportModuleError"),
            (
                "INIT_REPORT Init Duration: 1882.55 ms\tPhase: init\tStatus: error\t"
                "Error Type: Runtime.ImportModuleError\n"
            ),
        ),
        (
            (9.99956, "init", "timeout", None),
            "INIT_REPORT Init Duration: 9999.56 ms\tPhase: init\tStatus: timeout\n",
        ),
        (
            (2.0, "invoke", "timeout", "Runtime.Unknown"),
            "INIT_REPORT Init Duration: 2000.00 ms\tPhase: invoke\tStatus: timeout\n",
        ),
    ],
)
def test_a_failed_init_is_reported(arguments, shown):
    assert report.init_report_line(*arguments) == shown


@pytest.mark.parametrize(
    ("timeout_s", "text"),
    [(1, "Task timed out after 1.00 seconds"), (900, "Task timed out after 900.00 seconds")],
)
def test_a_timeout_names_the_configured_time(timeout_s, text):
    assert report.timeout_text(timeout_s) == text
    shown = report.timeout_line(1_795_253_400.123, ID, timeout_s)
    assert shown == f"2026-11-21T09:30:00.123Z {ID} {text}\n"


def test_a_fault_stands_on_two_lines():
    shown = report.fault_line(ID, "Runtime exited with error: signal: killed", "Runtime.ExitError")
    assert shown == (
        f"RequestId: {ID} Error: Runtime exited with error: signal: killed\nRuntime.ExitError\n"
    )


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "Runtime exited without providing a reason"),
        (1 << 8, "Runtime exited with error: exit status 1"),
        (127 << 8, "Runtime exited with error: exit status 127"),
        (signal.SIGKILL, "Runtime exited with error: signal: killed"),
        (signal.SIGTERM, "Runtime exited with error: signal: terminated"),
        (signal.SIGSEGV, "Runtime exited with error: signal: segmentation fault"),
        (signal.SIGABRT, "Runtime exited with error: signal: aborted"),
        (signal.SIGSYS, "Runtime exited with error: signal: bad system call"),
        (signal.SIGABRT | 0x80, "Runtime exited with error: signal: aborted (core dumped)"),
        (40, "Runtime exited with error: signal: signal 40"),
    ],
)
def test_an_exit_is_told_in_the_platforms_words(status, text):
    assert report.exit_text(status) == text
