"""What goes wrong in a function: the invoker is told in AWS's words, and the next invoke works."""

from __future__ import annotations

import time

import pytest
from scenario.program import EMULATED, PATIENCE

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

# Does as it is told, and remembers in its module and in /tmp.
OBEDIENT = """
    import ctypes, os, pathlib, sys, time, uuid
    here, kept = str(uuid.uuid4()), pathlib.Path("/tmp/kept")

    def handler(event, context):
        if "write" in event:
            kept.write_text(event["write"])
        if "sleep_s" in event:
            time.sleep(event["sleep_s"])
        if "exit" in event:
            os._exit(event["exit"])
        if "sys.exit" in event:
            sys.exit(event["sys.exit"])
        if "segfault" in event:
            ctypes.string_at(0)
        if "allocate_mb" in event:
            bytearray(event["allocate_mb"] << 20)
        return {"here": here, "kept": kept.read_text() if kept.exists() else None}
"""


def message(answer, text):
    return f"RequestId: {answer.request_id} Error: {text}"


def test_an_exception_is_told_with_its_trace_and_the_environment_goes_on(deploy, invoke):
    source = """
        here = object()

        def deeper(event):
            raise LookupError(f"no {event}")

        def handler(event, context):
            if event == "well":
                return id(here)
            deeper(event)
    """
    name = deploy(source)
    before = invoke(name, "well").payload
    answer = invoke(name, "luck")
    assert answer.status == 200
    assert answer.error == "Unhandled"
    told = answer.payload
    trace = told.pop("stackTrace")
    assert told == {
        "errorMessage": "no luck",
        "errorType": "LookupError",
        "requestId": answer.request_id,
    }
    assert [line.splitlines()[0] for line in trace] == [
        '  File "/var/task/lambda_function.py", line 10, in handler',
        '  File "/var/task/lambda_function.py", line 5, in deeper',
    ]
    assert "[ERROR] LookupError: no luck" in answer.log
    assert "\tStatus:" not in answer.log
    assert invoke(name, "well").payload == before


def test_a_timed_out_invoke_is_told_in_time_and_keeps_tmp(deploy, invoke):
    timeout_s = 3 * PATIENCE
    name = deploy(OBEDIENT, MemorySize=128, Timeout=timeout_s)
    before = invoke(name, {}).payload
    began = time.monotonic()
    answer = invoke(name, {"write": "survives", "sleep_s": timeout_s + 1})
    took_s = time.monotonic() - began
    assert answer.status == 200
    assert answer.error == "Unhandled"
    text = f"Task timed out after {timeout_s}.00 seconds"
    assert answer.payload == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": message(answer, text),
    }
    assert answer.lines[-3].endswith(f"Z {answer.request_id} {text}")
    assert answer.lines[-1].endswith("\tStatus: timeout")
    assert f"\tDuration: {timeout_s * 1000}.00 ms\t" in answer.lines[-1]
    after = invoke(name, {}).payload
    assert after["kept"] == "survives"
    assert after["here"] != before["here"]
    if EMULATED:
        pytest.skip("an emulated machine cannot say whether half a second is kept")
    assert took_s < 3.5


def test_what_the_kernel_kills_for_memory_is_reported_so(deploy, invoke):
    name = deploy(OBEDIENT, MemorySize=128, Timeout=30 * PATIENCE)
    answer = invoke(name, {"allocate_mb": 300})
    assert answer.error == "Unhandled"
    assert answer.payload == {
        "errorType": "Runtime.ExitError",
        "errorMessage": message(answer, "Runtime exited with error: signal: killed"),
    }
    assert answer.lines[-1].endswith("\tStatus: error\tError Type: Runtime.OutOfMemory")
    assert "\tMax Memory Used: 128 MB\t" in answer.lines[-1]
    after = invoke(name, {})
    assert after.error is None
    assert "OutOfMemory" not in after.log


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"exit": 7}, "Runtime exited with error: exit status 7"),
        ({"exit": 0}, "Runtime exited without providing a reason"),
        ({"sys.exit": 4}, "Runtime exited with error: exit status 4"),
        ({"segfault": True}, "Runtime exited with error: signal: segmentation fault"),
    ],
    ids=["status", "no status", "sys.exit", "signal"],
)
def test_a_runtime_that_exits_is_one_failed_invoke(deploy, invoke, event, text):
    name = deploy(OBEDIENT)
    before = invoke(name, {}).payload
    answer = invoke(name, event)
    assert answer.error == "Unhandled"
    assert answer.payload == {
        "errorType": "Runtime.ExitError",
        "errorMessage": message(answer, text),
    }
    assert answer.lines[-4:-1] == [
        f"RequestId: {answer.request_id} Error: {text}",
        "Runtime.ExitError",
        f"END RequestId: {answer.request_id}",
    ]
    assert answer.lines[-1].endswith("\tStatus: error\tError Type: Runtime.ExitError")
    after = invoke(name, {})
    assert after.error is None
    assert after.payload["here"] != before["here"]


@pytest.mark.parametrize(
    ("source", "handler", "error_type", "text"),
    [
        (
            "import absent",
            "lambda_function.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'lambda_function': No module named 'absent'",
        ),
        (
            "def handler(:\n",
            "lambda_function.handler",
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module 'lambda_function': invalid syntax (lambda_function.py, line 1)",
        ),
        (
            "",
            "lambda_function.handler",
            "Runtime.HandlerNotFound",
            "Handler 'handler' missing on module 'lambda_function'",
        ),
        (
            "",
            "elsewhere.handler",
            "Runtime.ImportModuleError",
            "Unable to import module 'elsewhere': No module named 'elsewhere'",
        ),
        ("raise KeyError('key')", "lambda_function.handler", "KeyError", "'key'"),
    ],
    ids=["import", "syntax", "handler", "module", "exception"],
)
def test_an_init_that_fails_answers_as_the_runtime_reported(
    deploy, invoke, *, source, handler, error_type, text
):
    name = deploy(source, Handler=handler)
    answer = invoke(name)
    assert answer.status == 200
    assert answer.error == "Unhandled"
    assert list(answer.payload) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert answer.payload["errorType"] == error_type
    assert answer.payload["errorMessage"] == text
    assert answer.payload["requestId"] == ""
    shown = error_type if error_type.startswith("Runtime.") else "Runtime.Unknown"
    assert answer.lines[-1].endswith(f"\tStatus: error\tError Type: {shown}")
    assert invoke(name).payload == answer.payload


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("import sys; sys.exit(5)", "Runtime exited with error: exit status 5"),
        ("import sys; sys.exit()", "Runtime exited without providing a reason"),
        ("import os; os.kill(os.getpid(), 6)", "Runtime exited with error: signal: aborted"),
    ],
    ids=["status", "no status", "signal"],
)
def test_an_init_that_exits_is_told_as_an_exit(daemon, deploy, invoke, source, text):
    name = deploy(source)
    answer = invoke(name)
    assert answer.payload == {
        "errorType": "Runtime.ExitError",
        "errorMessage": message(answer, text),
    }
    ends = "\tPhase: {}\tStatus: error\tError Type: Runtime.ExitError\n"
    log = daemon.log_of(name)
    assert log.count(ends.format("init")) == 1
    assert log.count(ends.format("invoke")) == 1


def test_a_fault_that_passes_is_over_with_the_next_invoke(deploy, invoke):
    """Init fails as long as there is no file in /tmp, which it writes itself."""
    source = """
        import pathlib
        kept = pathlib.Path("/tmp/tried")
        tries = len(kept.read_text()) if kept.exists() else 0
        kept.write_text("x" * (tries + 1))
        assert tries >= 2

        def handler(event, context):
            return tries
    """
    name = deploy(source)
    assert invoke(name).payload["errorType"] == "AssertionError"
    assert invoke(name).payload == 2


def test_a_result_that_is_no_json_is_a_marshal_error(deploy, invoke):
    answer = invoke(deploy("def handler(event, context): return object()"))
    assert answer.error == "Unhandled"
    assert answer.payload["errorType"] == "Runtime.MarshalError"


def test_a_result_over_6_mb_is_refused_and_the_environment_goes_on(deploy, invoke):
    source = """
        import uuid
        here = str(uuid.uuid4())

        def handler(event, context):
            return "x" * event if event else here
    """
    name = deploy(source, Timeout=30 * PATIENCE)
    before = invoke(name, 0).payload
    answer = invoke(name, 6_291_556)
    assert answer.status == 200
    assert answer.error == "Unhandled"
    assert answer.payload == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size "
        "(6291556 bytes).",
    }
    assert invoke(name, 0).payload == before
