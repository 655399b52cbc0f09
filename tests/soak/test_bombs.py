"""A function that takes whatever it gets harms itself alone, and is well again at its next invoke.

How much slower a neighbour gets is measured by ``benchmarks/containment.py``; here it answers.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from scenario.program import PATIENCE, wait_until_ended, watch

pytestmark = [pytest.mark.root, pytest.mark.cgroup, pytest.mark.slow]

BOMBS = Path(__file__).parent / "functions/bombs"
SECONDS = 1.0  # that a bomb goes on while a neighbour is asked
NEIGHBOURS_ANSWERS = 10
LIMIT = 1_024  # of processes and of descriptors in an environment, as on AWS


@pytest.fixture
def neighbour(deploy, invoke):
    """Another function, with an environment that has answered before."""
    name = deploy("def handler(event, context): return event", MemorySize=128)
    assert invoke(name, 0).payload == 0
    return name


@pytest.fixture
def bombed(daemon, deploy, invoke, neighbour):
    """The answer of a bomb, during which the neighbour has answered, too.

    What it was given to do next, it did.
    """

    def answer(bomb, **settings):
        name = deploy(BOMBS, **{"Timeout": 20 * PATIENCE, **settings})
        assert invoke(name).payload == "well"
        with ThreadPoolExecutor(1) as caller:
            call = caller.submit(invoke, name, {"bomb": bomb, "seconds": SECONDS})
            daemon.wait_for_log(name, "going\n")
            answers = [invoke(neighbour, number).payload for number in range(NEIGHBOURS_ANSWERS)]
        assert answers == list(range(NEIGHBOURS_ANSWERS))
        assert invoke(name).payload == "well"
        return call.result()

    return answer


def test_forks_stop_at_the_limit_of_the_environment(bombed):
    assert bombed("forks").payload == "EAGAIN"


def test_threads_stop_at_the_limit_of_the_environment(bombed):
    assert LIMIT - 100 < bombed("threads").payload < LIMIT


def test_processes_that_flee_by_forking_are_caught(bombed):
    answer = bombed("relay")
    assert answer.payload["errorType"] == "Runtime.ExitError"


@pytest.mark.parametrize("bomb", ["memory", "shared_memory"])
def test_memory_stops_at_memory_size(bombed, bomb):
    answer = bombed(bomb, MemorySize=256)
    assert answer.payload["errorType"] == "Runtime.ExitError"
    assert answer.lines[-1].endswith("\tError Type: Runtime.OutOfMemory")


def test_memory_of_a_child_stops_at_memory_size(bombed):
    answer = bombed("child_memory", MemorySize=256)
    assert answer.error == "Unhandled" or answer.payload == [-9]


def test_tmp_stops_at_its_size(bombed):
    assert bombed("tmp").payload == "ENOSPC"


def test_tmp_beyond_memory_size_is_filled_or_ends_the_function_alone(bombed):
    """Where /tmp has no disk of its own, its files are the function's memory."""
    answer = bombed("tmp", MemorySize=256)
    if answer.error is None:
        assert answer.payload == "ENOSPC"
    else:
        assert answer.lines[-1].endswith("\tError Type: Runtime.OutOfMemory")


def test_descriptors_stop_at_the_limit_of_the_process(bombed):
    taken, refusal = bombed("descriptors").payload
    assert LIMIT - 100 < taken < LIMIT
    assert refusal == "EMFILE"


def test_inotify_instances_stop_at_the_limit_of_the_user(bombed):
    of_a_user = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
    taken, refusal = bombed("inotify").payload
    assert taken <= min(of_a_user, LIMIT)
    assert refusal == "EMFILE"


def test_there_are_no_terminals_to_exhaust(bombed):
    taken, _ = bombed("terminals").payload
    assert taken == 0


def test_50_mb_without_a_newline_are_cut_and_bounded(daemon, bombed):
    before = psutil.Process(daemon.process.pid).memory_info().rss
    assert bombed("log").payload == 50 << 20
    after = psutil.Process(daemon.process.pid).memory_info().rss
    assert after - before < 32 << 20
    for group in (daemon.state_dir / "logs").iterdir():
        assert sum(file.stat().st_size for file in group.iterdir()) < 34 << 20


@pytest.mark.parametrize("bomb", ["stop", "spin", "backtrack"])
def test_what_never_ends_ends_with_its_timeout(bombed, bomb):
    answer = bombed(bomb, Timeout=2 * PATIENCE)
    assert answer.payload["errorType"] == "Sandbox.Timedout"


def test_a_double_forked_daemon_ends_with_its_environment(daemon, deploy, invoke, neighbour):
    name = deploy(BOMBS)
    others = daemon.environments()
    assert invoke(name, {"bomb": "daemons", "seconds": SECONDS}).payload == "left"
    assert invoke(neighbour, 1).payload == 1
    assert invoke(name).payload == "well"
    (init,) = [one for one in daemon.environments() if one not in others]
    assert len(init.children()) == 2, "there is the runtime, and what it left behind"
    left = watch([init, *init.children()])
    daemon.client.update_function_configuration(FunctionName=name, Description="another")
    wait_until_ended(left)
    daemon.wait("function_updated_v2", name)
    assert invoke(name).payload == "well"
