"""What a function and the platform log, as the invoker and the log file show it."""

from __future__ import annotations

import re

import pytest

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

ID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
REPORT = re.compile(
    rf"REPORT RequestId: ({ID})\tDuration: \d+\.\d\d ms\tBilled Duration: \d+ ms\t"
    r"Memory Size: (\d+) MB\tMax Memory Used: (\d+) MB\t(Init Duration: \d+\.\d\d ms\t)?\n"
)

PRINTER = """
    import os, sys

    def handler(event, context):
        os.write(1, event["stdout"].encode())
        os.write(2, event.get("stderr", "").encode())
"""
HOARDER = """
    kept = []

    def handler(event, context):
        kept.append(b"x" * (event << 20))
"""


def test_a_tail_has_start_prints_end_and_report(deploy, invoke):
    name = deploy("def handler(event, context): print('one'); print('two', 'three')")
    cold, warm = invoke(name), invoke(name)
    for answer, is_cold in ((cold, True), (warm, False)):
        before, report = answer.log.split("REPORT", 1)
        assert before == (
            f"START RequestId: {answer.request_id} Version: $LATEST\n"
            "one\ntwo three\n"
            f"END RequestId: {answer.request_id}\n"
        )
        found = REPORT.fullmatch("REPORT" + report)
        assert found, report
        assert found[1] == answer.request_id
        assert (found[4] is not None) == is_cold


def test_memory_used_is_plausible_and_grows_with_what_is_allocated(deploy, invoke):
    name = deploy(HOARDER, MemorySize=256)
    before, after = (int(REPORT.search(invoke(name, mb).log)[3]) for mb in (0, 60))
    assert 1 <= before <= 60
    assert before + 55 <= after <= before + 80


def test_stderr_is_logged_too(deploy, invoke):
    answer = invoke(deploy(PRINTER), {"stdout": "to stdout\n", "stderr": "to stderr\n"})
    assert answer.lines[1:3] == ["to stdout", "to stderr"]


def test_a_line_without_newline_is_logged_with_its_own_invoke(deploy, invoke):
    name = deploy(PRINTER)
    first, second = invoke(name, {"stdout": "no newline"}), invoke(name, {"stdout": "again"})
    for answer, text, other in ((first, "no newline", "again"), (second, "again", "no newline")):
        assert text in answer.log.partition("END RequestId")[0]
        assert other not in answer.log


def test_a_tail_is_the_last_4_kb(deploy, invoke):
    answer = invoke(deploy(PRINTER), {"stdout": "".join(f"{n:09}\n" for n in range(1_000))})
    assert len(answer.log) == 4_096
    assert "START" not in answer.log
    assert "\n000000999\nEND" in answer.log
    assert answer.log.endswith("\t\n")


def test_a_megabyte_of_output_is_logged_in_full(daemon, deploy, invoke):
    name = deploy("def handler(event, context): print('\\n'.join([127 * 'x'] * 8192))")
    answer = invoke(name)
    assert answer.error is None
    assert len(answer.log) == 4_096
    assert daemon.log_of(name).count(127 * "x" + "\n") == 8_192


def test_output_that_is_no_utf_8_does_no_harm(deploy, daemon):
    name = deploy("import os\ndef handler(event, context): os.write(1, bytes([255, 10]))")
    said = daemon.client.invoke(FunctionName=name, LogType="None")
    assert "LogResult" not in said
    assert "FunctionError" not in said
    said["Payload"].close()


def test_what_init_prints_stands_before_start_in_the_log_of_the_function(daemon, deploy, invoke):
    name = deploy("print('in init')\ndef handler(event, context): print('in invoke')")
    answer = invoke(name)
    begin, log = daemon.log_of(name).split("\n", 1)
    assert begin.startswith("INIT_START Runtime Version: python:3.")
    assert log == "in init\n" + answer.log
