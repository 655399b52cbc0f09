"""Functions come, run, fail and go, thousands of them: nothing of them is left.

``LAMBDAD_SOAK_CYCLES`` says how many.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from scenario.program import PATIENCE
from soak import census
from soak.census import MIB

pytestmark = [pytest.mark.root, pytest.mark.cgroup, pytest.mark.slow]

CYCLES = 60
CLIENTS = 4
WARM_UP = 20
DAEMON_GROWTH_BYTES_MAX = 64 * MIB
ZYGOTE_GROWTH_BYTES_MAX = 8 * MIB

# Each function has code of its own: the number stands in it.
SOURCE = """
    import os, signal, time

    def handler(event, context):
        if event == "exit":
            os._exit(1)
        if event == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if event == "sleep":
            time.sleep(100)
        return %d
"""
FAILURES = {"exit": "Runtime.ExitError", "kill": "Runtime.ExitError", "sleep": "Sandbox.Timedout"}


def event_of(number):
    """Four of five functions do well; few of the others take their time to fail."""
    if number % 5:
        return "well"
    return "sleep" if number % 50 == 0 else ("exit", "kill")[number % 2]


def cycle(own, number):
    """One function, from its creation to its end."""
    event = event_of(number)
    name = own.deploy(SOURCE % number, Timeout=PATIENCE)
    answer = own.invoke(name, event)
    if event == "well":
        assert answer.payload == number
    else:
        assert answer.payload["errorType"] == FAILURES[event]
    own.client.delete_function(FunctionName=name)


def cycled(own, numbers):
    """Run one cycle for each number, from several clients; how many there were."""
    lock = threading.Lock()

    def client(_):
        done = 0
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return done
            cycle(own, number)
            done += 1

    with ThreadPoolExecutor(CLIENTS) as clients:
        done = sum(clients.map(client, range(CLIENTS)))
    own.client.close()  # Its connections are not the daemon's to close.
    return done


def standing(own):
    """What there is when nothing is under way: a zygote and what it has in reserve."""
    return census.settled(own, lambda _: not own.environments())


@pytest.mark.parametrize("idle_s", ["600", "0"], ids=["kept when idle", "ended when idle"])
def test_functions_that_come_and_go_leave_nothing_behind(start, counted, say, idle_s):
    own = start("--idle-s", idle_s)
    cycled(own, iter(range(WARM_UP)))
    before, was = standing(own), census.weighed(own)
    done = cycled(own, counted("LAMBDAD_SOAK_CYCLES", CYCLES))
    after = census.settled(own, lambda one: one == before)
    is_now = census.weighed(own)
    say(f"{done} cycles; before: {was}; after: {is_now}")
    assert after == before
    assert is_now.daemon - was.daemon < DAEMON_GROWTH_BYTES_MAX
    assert is_now.zygotes - was.zygotes < ZYGOTE_GROWTH_BYTES_MAX
    own.stop()
    assert census.weighed(start()).trees == 0


def test_a_function_that_is_deleted_after_its_environments_leaves_nothing_behind(start):
    own = start("--idle-s", "0")
    cycled(own, iter(range(WARM_UP)))
    before = standing(own)
    for number in range(3):
        name = own.deploy(SOURCE % number)
        assert own.invoke(name, "well").payload == number
        standing(own)
        own.client.delete_function(FunctionName=name)
    own.client.close()
    assert census.settled(own, lambda one: one == before) == before
