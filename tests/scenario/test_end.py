"""The daemon ends, asked to or not: nothing is left but what was entrusted to it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from scenario.program import LAMBDAD, PATIENCE, Program, wait_until_ended

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

# Ends by itself only when nothing is left to ask; its children do not care for SIGTERM.
STUBBORN = """
    import os, signal, subprocess, time, uuid
    here = str(uuid.uuid4())

    def handler(event, context):
        if event == "quick":
            return here
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        subprocess.Popen(["/usr/bin/setsid", "/bin/sleep", "1000"])
        print("busy", flush=True)
        time.sleep(1000)
"""


def busy(own, name, callers, number):
    """So many invokes that are under way, and will be cut off."""

    def call():
        try:
            return own.invoke(name, "slow")
        except (ClientError, BotoCoreError) as error:
            return error

    calls = [callers.submit(call) for _ in range(number)]
    own.wait_for_log(name, "busy\n", number)
    return calls


def test_sigterm_leaves_nothing_though_environments_are_idle(start):
    own = start()
    assert own.invoke(own.deploy(STUBBORN), "quick").error is None
    assert own.environments()
    own.stop()


@pytest.mark.slow
def test_sigterm_leaves_nothing_though_environments_are_busy(start):
    own = start()
    name = own.deploy(STUBBORN, Timeout=900)
    with ThreadPoolExecutor(2) as callers:
        calls = busy(own, name, callers, 2)
        assert len(own.environments()) == 2
        own.stop()
        assert [isinstance(call.result(), Exception) for call in calls] == [True, True]


def test_sigint_is_as_good_as_sigterm(start):
    start().stop(signal.SIGINT)


def test_a_killed_daemon_takes_its_processes_along_and_the_next_one_sweeps(start):
    own = start()
    name = own.deploy(STUBBORN, Timeout=900)
    idle = own.deploy(STUBBORN)
    own.invoke(idle, "quick")
    with ThreadPoolExecutor(2) as callers:
        calls = busy(own, name, callers, 2)
        ends = own.kill()
        assert [isinstance(call.result(), Exception) for call in calls] == [True, True]
    left = own.leaves()
    assert left
    again = start()
    wait_until_ended(ends)
    assert [leaf for leaf in left if leaf.exists()] == []
    assert again.mounts() == []
    assert again.invoke(name, "quick").error is None
    assert again.invoke(idle, "quick").error is None
    again.stop()


def test_functions_survive_a_restart_as_they_were(start):
    own = start()
    variables = {"Variables": {"COLOUR": "blue"}}
    name = own.deploy(STUBBORN, Description="as it was", Environment=variables, Tags={"c": "d"})
    before = own.client.get_function(FunctionName=name)
    own.stop()
    again = start()
    again.wait("function_active_v2", name)
    after = again.client.get_function(FunctionName=name)
    assert after["Configuration"] == before["Configuration"]
    assert after["Tags"] == before["Tags"]
    assert again.invoke(name, "quick").error is None


def test_a_killed_zygote_is_replaced_when_it_is_next_needed(start):
    own = start()
    name = own.deploy(STUBBORN)
    assert own.invoke(name, "quick").error is None
    ends = [os.pidfd_open(child.pid) for child in own.descendants()]
    for end in ends[:1]:
        signal.pidfd_send_signal(end, signal.SIGKILL)
    for end in ends:
        os.close(end)
    own.deploy(STUBBORN)
    assert [answer.error for answer in calls_until_well(own, name)][-1] is None


def calls_until_well(own, name):
    """One invoke may be lost to the environment that went with its zygote."""
    answers = []
    for _ in range(2):
        try:
            answers.append(own.invoke(name, "quick"))
        except ClientError as error:
            if error.response["Error"]["Code"] != "ServiceException":
                raise
    return answers


def test_a_second_daemon_on_the_same_state_is_refused(start):
    own = start()
    command = [LAMBDAD, "serve", "--port", "0", "--state-dir", own.state_dir]
    second = subprocess.run(
        command, capture_output=True, text=True, timeout=30 * PATIENCE, check=False
    )
    assert second.returncode == 1
    assert "another lambdad is running on it" in second.stderr
    assert own.client.list_functions()["Functions"] == []


def test_a_start_that_is_refused_leaves_nothing(tmp_path):
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("there is no setpriv to start it with fewer rights")
    command = [setpriv, "--bounding-set=-sys_admin", LAMBDAD, "serve", "--port", "0"]
    refused = subprocess.run(
        [*command, "--state-dir", tmp_path],
        capture_output=True,
        text=True,
        timeout=30 * PATIENCE,
        check=False,
    )
    assert refused.returncode == 1
    assert "need root" in refused.stderr
    assert Program.cgroups(SimpleNamespace(state_dir=tmp_path)) == []
