"""AWS CLI of version 2, as Debian has it."""

from __future__ import annotations

import base64
import json
import os
import select
import signal
import subprocess
import time

import pytest
from clients.installed import aws
from scenario.program import PATIENCE

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

COMMAND_S_MAX = 60 * PATIENCE
PRINTER = "def handler(event, context): print('sold', event); return event"


@pytest.fixture
def command(daemon, tmp_path):
    """The beginning of a command line, and the variables of its process."""
    variables = {
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_PAGER": "",
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "PYTHONUNBUFFERED": "1",
    }
    return [aws(), "--endpoint-url", daemon.url], variables


@pytest.fixture
def run(command):
    """What a command prints."""
    start, variables = command

    def ran(*arguments):
        ended = subprocess.run(
            [*start, *arguments],
            env=variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_S_MAX,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return ran


@pytest.fixture
def follow(command):
    """Starts a command that goes on; waits for texts among what it prints."""
    start, variables = command
    started = []

    def following(*arguments):
        process = subprocess.Popen(
            [*start, *arguments],
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        started.append(process)
        read = bytearray()

        def wait_for(text):
            last = time.monotonic() + COMMAND_S_MAX
            while text.encode() not in read:
                remaining = max(0, last - time.monotonic())
                ready, _, _ = select.select([process.stdout], [], [], remaining)
                chunk = os.read(process.stdout.fileno(), 65_536) if ready else b""
                assert chunk, f"{text!r} never came: {read.decode()}"
                read.extend(chunk)
            return read.decode()

        return process, wait_for

    yield following
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()


def test_lambda_invoke_prints_how_it_went_and_writes_what_came(deploy, run, tmp_path):
    name = deploy(PRINTER)
    answer = tmp_path / "answer"
    said = run("lambda", "invoke", "--function-name", name, "--log-type", "Tail",
               "--cli-binary-format", "raw-in-base64-out", "--payload", '{"n": 1}',
               answer)  # fmt: skip
    told = json.loads(said)
    assert told["StatusCode"] == 200
    assert told["ExecutedVersion"] == "$LATEST"
    assert "sold {'n': 1}\n" in base64.b64decode(told["LogResult"]).decode()
    assert json.loads(answer.read_text()) == {"n": 1}


def test_lambda_list_functions_lists_what_is_deployed(deploy, run):
    names = {deploy(PRINTER) for _ in range(3)}
    said = run(
        "lambda", "list-functions", "--page-size", "2", "--query", "Functions[].FunctionName"
    )
    assert names <= set(json.loads(said))


def test_logs_tail_prints_the_log(deploy, invoke, run):
    name = deploy(PRINTER)
    answer = invoke(name, 1)
    lines = run("logs", "tail", f"/aws/lambda/{name}", "--format", "short").splitlines()
    assert [line.split(" ", 1)[1] for line in lines if "sold" in line] == ["sold 1"]
    assert any(f"START RequestId: {answer.request_id}" in line for line in lines)
    assert any(f"REPORT RequestId: {answer.request_id}" in line for line in lines)


def test_logs_tail_follows_the_log(deploy, invoke, follow):
    name = deploy(PRINTER)
    invoke(name, 1)
    process, wait_for = follow("logs", "tail", f"/aws/lambda/{name}", "--follow")
    wait_for("sold 1")
    for number in (2, 3):
        invoke(name, number)
        wait_for(f"sold {number}")
    process.send_signal(signal.SIGINT)
    process.wait(COMMAND_S_MAX)
    printed = wait_for("sold 3") + process.stdout.read().decode()
    assert [printed.count(f"sold {number}") for number in (1, 2, 3)] == [1, 1, 1]
