"""SAM CLI, in its own virtual environment."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from clients.installed import installed
from scenario.program import PATIENCE

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

COMMAND_S_MAX = 120 * PATIENCE
PRINTER = "def handler(event, context): print('sold', event); return event"
# It would ask PyPI for a newer version of itself, had it not done so this week.
ITS_SETTINGS = {"telemetryEnabled": False, "lastVersionCheck": 4_102_444_800.0}


@pytest.fixture
def sam(daemon, tmp_path):
    """What a command of SAM prints."""
    program = installed("sam") / "bin/sam"
    (tmp_path / "metadata.json").write_text(json.dumps(ITS_SETTINGS))
    variables = {
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": daemon.url,
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "SAM_CLI_TELEMETRY": "0",
        "__SAM_CLI_APP_DIR": str(tmp_path),
    }

    def ran(*arguments):
        ended = subprocess.run(
            [program, *arguments],
            cwd=tmp_path,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_S_MAX,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    return ran


def test_sam_logs_prints_the_log(deploy, invoke, sam):
    name = deploy(PRINTER)
    answers = [invoke(name, number) for number in (1, 2)]
    said = sam("logs", "--cw-log-group", f"/aws/lambda/{name}")
    for number, answer in enumerate(answers, 1):
        assert said.count(f"sold {number}\n") == 1, said
        assert f"START RequestId: {answer.request_id}" in said
        assert f"REPORT RequestId: {answer.request_id}" in said


def test_sam_logs_prints_what_a_filter_lets_through(deploy, invoke, sam):
    name = deploy(PRINTER)
    for number in (1, 2):
        invoke(name, number)
    said = sam("logs", "--cw-log-group", f"/aws/lambda/{name}", "--filter", '"sold 2"')
    assert "sold 2" in said
    assert "sold 1" not in said
    assert "START" not in said


def test_sam_remote_invoke_prints_the_answer(daemon, deploy, sam):
    name = deploy(PRINTER)
    arn = f"arn:aws:lambda:us-east-1:123456789012:function:{name}"
    assert json.loads(sam("remote", "invoke", arn, "--event", '{"n": 1}')) == {"n": 1}
