"""Spare sandboxes, seen from outside: what stands by in one is confined, and is what then runs."""

from __future__ import annotations

import json
import time
from urllib.request import urlopen

import psutil
import pytest
from scenario.program import PATIENCE, fields_of

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

NOTHING = "0000000000000000"
WHO = """
    import os, socket
    count = 0

    def handler(event, context):
        global count
        count += 1
        if event == "exit":
            os._exit(1)
        return [count, os.getpid(), os.listdir("/var/task"), os.environ["AWS_LAMBDA_FUNCTION_NAME"]]
"""
SLOW_TO_START = """
    import os
    if os.path.exists("/tmp/began"):
        first = False
    else:
        first = True
        open("/tmp/began", "w").close()
        os._exit(3)

    def handler(event, context):
        return first
"""


def spares_of(program):
    """What stands by in each spare sandbox: the process that will run the client."""
    zygotes = psutil.Process(program.process.pid).children()
    inits = {init for zygote in zygotes for init in zygote.children()}
    return [child for init in inits - set(program.environments()) for child in init.children()]


def standing(program):
    """The one, as soon as the daemon can give it to a function."""
    last = time.monotonic() + 10 * PATIENCE
    while True:
        with urlopen(f"{program.url}/lambdad/census", timeout=30 * PATIENCE) as answer:
            ready = sum(json.load(answer)["spares"].values())
        if ready and (found := spares_of(program)):
            return found[0]
        assert time.monotonic() < last, "no runtime ever stands by"
        time.sleep(0.01)


@pytest.fixture
def own(start):
    return start("--spares", "1")


def test_what_stands_by_has_no_rights_and_a_user_of_its_own(own):
    own.deploy(WHO)
    status = fields_of(standing(own).pid)
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert status[kind] == NOTHING
    assert status["NoNewPrivs"] == "1"
    assert status["Groups"] == ""
    assert "0" not in status["Uid"].split() + status["Gid"].split()


def test_what_stood_by_is_what_runs_the_function(own):
    name = own.deploy(WHO)
    stood_by = standing(own)
    assert own.invoke(name).payload == [1, 2, ["lambda_function.py"], name]
    (init,) = own.environments()
    assert init.children() == [stood_by]
    assert own.invoke(name).payload[0] == 2


def test_two_functions_never_have_the_same(own):
    names = own.deploy(WHO), own.deploy(WHO)
    for name in names:
        standing(own)
        assert own.invoke(name).payload == [1, 2, ["lambda_function.py"], name]
    first, second = own.environments()
    assert first.uids().real != second.uids().real


def test_one_whose_first_runtime_ended_is_given_another(own):
    name = own.deploy(WHO)
    standing(own)
    assert own.invoke(name, "exit").error == "Unhandled"
    count, pid, *_ = own.invoke(name).payload
    assert count == 1
    assert pid > 2


def test_an_init_that_fails_in_what_stood_by_runs_again(own):
    name = own.deploy(SLOW_TO_START)
    standing(own)
    assert own.invoke(name).payload is False


def test_one_that_was_killed_while_it_stood_by_is_missed_by_nobody(own):
    name = own.deploy(WHO)
    standing(own).kill()
    assert own.invoke(name).payload[0] == 1
