"""The commands that end by themselves: ``lambdad invoke`` and ``lambdad doctor``."""

from __future__ import annotations

import json
import subprocess

import pytest
from scenario.program import LAMBDAD, PATIENCE

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

HANDLER = "def {}(event, context):\n    print('logged')\n    return {{'got': 1 / event['by']}}\n"


def lambdad(*arguments, stdin=""):
    return subprocess.run(
        [LAMBDAD, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
        check=False,
    )


def test_a_folder_is_invoked_as_often_as_asked(tmp_path):
    (tmp_path / "lambda_function.py").write_text(HANDLER.format("lambda_handler"))
    done = lambdad("invoke", tmp_path, "--event", '{"by": 4}', "--times", "2")
    assert done.returncode == 0, done.stderr
    assert [json.loads(line) for line in done.stdout.splitlines()] == [{"got": 0.25}] * 2
    assert done.stderr.count("logged\n") == 2
    assert done.stderr.count("Init Duration") == 1


def test_a_file_is_invoked_with_its_handler_or_another(tmp_path):
    file = tmp_path / "app.py"
    file.write_text(HANDLER.format("handler") + HANDLER.format("other"))
    for target in (str(file), f"{file}:app.other"):
        done = lambdad("invoke", target, "--event", "-", stdin='{"by": 2}')
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == {"got": 0.5}


def test_a_handler_that_fails_gives_exit_status_1(tmp_path):
    (tmp_path / "app.py").write_text(HANDLER.format("handler"))
    done = lambdad("invoke", tmp_path / "app.py", "--event", '{"by": 0}')
    assert done.returncode == 1
    assert json.loads(done.stdout)["errorType"] == "ZeroDivisionError"
    assert "[ERROR] ZeroDivisionError: division by zero" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["/no/such/folder"],
        ["{file}", "--event", "no json"],
        ["{file}", "--timeout", "0"],
        ["{file}", "--memory", "64"],
        ["{file}", "--env", "=value"],
        ["{file}", "--event", "@/no/such/file"],
        ["{file}", "--no-such-option"],
        [],
    ],
    ids=" ".join,
)
def test_a_wrong_call_gives_exit_status_2(tmp_path, arguments):
    file = tmp_path / "app.py"
    file.write_text(HANDLER.format("handler"))
    done = lambdad("invoke", *(argument.format(file=file) for argument in arguments))
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Usage:" in done.stderr


def test_doctor_is_content_with_this_host():
    done = lambdad("doctor")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "seccomp" in done.stdout
