"""The daemon is killed at any moment: the next one keeps what was promised, sweeps what was the
killed one's, and touches nothing else.

``LAMBDAD_SOAK_KILLS`` says how often, ``LAMBDAD_SOAK_SEED`` at which moments.
"""

from __future__ import annotations

import os
import random
import secrets
import statistics
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from scenario.program import Program, wait_until_ended, watch

pytestmark = [pytest.mark.root, pytest.mark.cgroup, pytest.mark.slow]

KILLS = 6
MOMENT_S_MAX = 0.8  # of a daemon's life under load, when it is killed
CREATED_MAX = 3  # in each of its lives
ASKED_MAX = 12  # of all those functions, in each life; in the end each of them is
WARM = 2  # functions that are invoked again and again
IDLE = 3  # functions that have answered once and are left alone
BUSY_S = 0.2

# Each function has code of its own: the mark stands in it.
SOURCE = """
    import time, uuid
    here = str(uuid.uuid4())

    def handler(event, context):
        time.sleep(event or 0)
        return ["%s", here]
"""
CUT_OFF = (BotoCoreError, ClientError)  # of a daemon that is being killed


class Life(Program):
    """One life of a daemon.

    Attributes:
        ready_s: how long it took to its ready line.
        created: names of functions whose creation it has answered, as clients saw it.
        deleted: names of those whose deletion it has answered.
        to_be_killed: set before it is; what fails earlier has no excuse.
    """

    def __init__(self, *arguments):
        self.created, self.deleted = set(), set()
        self.to_be_killed = threading.Event()
        self._since = time.monotonic()
        super().__init__(*arguments)

    def _ready_url(self):
        url = super()._ready_url()
        self.ready_s = time.monotonic() - self._since
        return url

    def create(self, kind):
        """A function that is Active; its name ends with the mark in its code."""
        mark = secrets.token_hex(8)
        return self.deploy(SOURCE % mark, FunctionName=f"{kind}-{mark}", MemorySize=512)

    def wait(self, waiter, name):
        self.created.add(name)  # A waiter waits for what is promised already.
        super().wait(waiter, name)

    def delete(self, name):
        """From the moment that it is asked for, nothing is promised; once answered, it is gone."""
        self.created.discard(name)
        self.client.delete_function(FunctionName=name)
        self.deleted.add(name)

    def names(self):
        pages = self.client.get_paginator("list_functions").paginate()
        return {function["FunctionName"] for page in pages for function in page["Functions"]}

    def keeps(self, name):
        """Whether a function is there with its code, and works."""
        super().wait("function_active_v2", name)
        return self.invoke(name).payload[0] == name.partition("-")[2]


class Load:
    """What clients do to a daemon until it is killed.

    Args:
        own: the daemon.
        warm: functions that are invoked again and again.
        seed: of what is done when.
    """

    CLIENTS = 5

    def __init__(self, own, warm, seed):
        self._own, self._warm = own, warm
        self._to_create = iter(range(CREATED_MAX))
        self._clients = ThreadPoolExecutor(self.CLIENTS)
        self._running = [
            self._clients.submit(self._client, random.Random(f"{seed} {number}"))
            for number in range(self.CLIENTS)
        ]

    def ended(self):
        """Once the daemon is dead and every client has seen it."""
        for client in self._running:
            client.result()
        self._clients.shutdown()

    def _client(self, chance):
        deeds = (self._warm_invoke, self._warm_invoke, self._busy, self._cold, self._come_and_go)
        try:
            while True:
                chance.choice(deeds)(chance)
        except CUT_OFF:
            if not self._own.to_be_killed.is_set():
                raise

    def _warm_invoke(self, chance):
        self._own.invoke(chance.choice(self._warm))

    def _busy(self, chance):
        self._own.invoke(chance.choice(self._warm), BUSY_S)

    def _cold(self, _):
        """A function that is to stay."""
        if next(self._to_create, None) is not None:
            self._own.invoke(self._own.create("new"))

    def _come_and_go(self, _):
        self._own.delete(self._own.create("gone"))


def killed(own):
    """SIGKILL; descriptors of every process that came of it, which end now or are swept."""
    left = watch(own.descendants())
    own.to_be_killed.set()
    own.process.kill()
    own._reap()
    return left


@pytest.fixture
def begin(programs):
    """Begins a life on a state directory; what still lives after the test is ended."""
    with ExitStack() as stack:

        def begun(state_dir):
            programs.append(Life(state_dir))
            stack.callback(end, programs[-1])
            return programs[-1]

        yield begun


def end(life):
    """Also one that was killed and has no successor, as when a test fails: that sweeps."""
    if life.running:
        life.stop()
    elif life.cgroups():
        Life(life.state_dir).stop()


@pytest.fixture
def beside(tmp_path, begin):
    """Another daemon, with an environment; that environment has to answer to the end."""
    other = begin(tmp_path / "beside")
    name = other.create("kept")
    environment = other.invoke(name).payload
    leaves = set(other.leaves())
    inits = [init.pid for init in other.environments()]

    def lives_on():
        assert other.invoke(name).payload == environment
        assert leaves <= set(other.leaves())
        assert [init.pid for init in other.environments()] == inits

    return lives_on


@pytest.fixture
def strangers(beside, programs):
    """Cgroups whose name begins as ours do, and that are nobody's."""
    leaves = []
    for subtree in programs[0].cgroups():
        leaf = subtree.with_name(f"lambdad-other-{secrets.token_hex(4)}") / "leaf"
        leaf.mkdir(parents=True)
        leaves.append(leaf)
    yield leaves
    for leaf in leaves:
        leaf.rmdir()
        leaf.parent.rmdir()


@pytest.fixture
def moments(say):
    """When to kill, in seconds after the load began; the same for the same seed."""
    seed = os.environ.get("LAMBDAD_SOAK_SEED") or secrets.token_hex(4)
    say(f"LAMBDAD_SOAK_SEED={seed}")
    return random.Random(seed)


def test_a_daemon_killed_at_any_moment_loses_nothing_and_leaves_nothing(
    *, tmp_path, begin, counted, say, beside, strangers, moments
):
    own = begin(tmp_path / "state")
    kept = [own.create("kept") for _ in range(WARM + IDLE)]
    promised, restarts_s, swept = set(kept), [], []
    for _ in counted("LAMBDAD_SOAK_KILLS", KILLS):
        asked = moments.sample(sorted(promised), min(ASKED_MAX, len(promised)))
        assert all(own.keeps(name) for name in {*asked, *kept})
        load = Load(own, kept[:WARM], moments.random())
        threading.Event().wait(moments.uniform(0, MOMENT_S_MAX))
        leaves, left = own.leaves(), killed(own)
        load.ended()
        promised |= own.created
        deleted = own.deleted
        own = begin(tmp_path / "state")
        restarts_s.append(own.ready_s)
        swept.append(len({leaf.name for leaf in leaves}))
        wait_until_ended(left)
        assert [leaf for leaf in leaves if leaf.exists()] == []
        assert own.mounts() == []
        assert promised <= own.names()
        assert own.names() & deleted == set()
        assert all(stranger.is_dir() for stranger in strangers)
        beside()
    assert all(own.keeps(name) for name in promised)
    say(
        f"{len(restarts_s)} kills, {len(promised)} functions promised and there; ready again in "
        f"{min(restarts_s):.2f} to {max(restarts_s):.2f} s, "
        f"p50 {statistics.median(restarts_s):.2f} s, after {min(swept)} to {max(swept)} "
        "environments of the killed one"
    )
