"""The real program: a function that attacks its own API costs its own environment, and no more."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

ATTACKER = Path(__file__).parent / "attacker"
ECHO = "def handler(event, context): return event"
ATTACK_S, ROUNDS = 2, 4
SAID_MIN, SERVED_MIN = 50, 5  # of an attack that is one, and of invocations meanwhile
# What the daemon may grow by: the largest bodies that were on their way, for the allocator's sake.
GROWTH_BYTES_MAX = 32 * 1024 * 1024
# Who says to its own API that it has answered, and asks for the next event, takes that with it
# into its grave; its environment is made anew for the one after.
LOST_MAX = 2


def attacked(daemon, attacker, neighbour, seed, *, own_id):
    """Attack, and invoke somebody else all the while; what came of both."""
    attack = {"seed": seed, "seconds": ATTACK_S, "own_id": own_id}
    served = 0
    with ThreadPoolExecutor(1) as executor:
        attacking = executor.submit(daemon.invoke, attacker, attack)
        while not attacking.done() or served < SERVED_MIN:
            assert daemon.invoke(neighbour, served).payload == served
            served += 1
    return attacking.result(), served


def recovered(daemon, attacker):
    """Whether the function works, now or as soon as its environment is another."""
    nothing = {"seed": 0, "seconds": 0, "own_id": False}
    return any(daemon.invoke(attacker, nothing).payload == 0 for _ in range(LOST_MAX + 1))


def test_an_attack_from_inside_costs_its_own_environment_only(start):
    daemon = start()
    attacker = daemon.deploy(ATTACKER, Timeout=20)
    neighbour = daemon.deploy(ECHO)
    memory = []
    for seed in range(ROUNDS):
        own_id = seed % 2 == 1
        answer, served = attacked(daemon, attacker, neighbour, seed, own_id=own_id)
        assert answer.status == 200
        if not own_id:
            assert answer.payload > SAID_MIN, answer.lines
            assert served > SERVED_MIN
        assert recovered(daemon, attacker)
        memory.append(psutil.Process(daemon.process.pid).memory_info().rss)
    # One round of each kind shows how much there is on its way at most; then it stays like that.
    assert memory[-1] - max(memory[:2]) < GROWTH_BYTES_MAX, memory
    assert "Traceback" not in daemon.said()
