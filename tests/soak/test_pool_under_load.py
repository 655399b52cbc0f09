"""Functions of all tempers at once, from many clients: what the daemon counts is what they see.

``LAMBDAD_SOAK_SEED`` repeats what was asked for, ``LAMBDAD_SOAK_LOAD_S`` asks for longer.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import pytest
from botocore.exceptions import BotoCoreError, ClientError
from scenario.program import PATIENCE, START_S_MAX

pytestmark = [pytest.mark.root, pytest.mark.cgroup, pytest.mark.slow]

CLIENTS = 16
LOAD_S = 2.0
LOOK_EACH_S = 0.02
REFUSED_WAIT_S = 0.005  # of a client that was throttled: the others are to have their turn
MIB = 1 << 20

# What each does with its event, and what its invoker gets: an errorType, or the event itself.
TEMPERS = {
    "quick": ("def handler(event, context): return event", {}, None),
    "busy": (
        """
        import time

        def handler(event, context):
            time.sleep(0.05)
            return event
        """,
        {},
        None,
    ),
    "slow-to-begin": (
        """
        import time
        time.sleep(0.3)

        def handler(event, context): return event
        """,
        {},
        None,
    ),
    "fails": ("def handler(event, context): 1 / 0", {}, "ZeroDivisionError"),
    "crashes": (
        """
        import os

        def handler(event, context): os._exit(1)
        """,
        {},
        "Runtime.ExitError",
    ),
    "hangs": (
        """
        import time

        def handler(event, context): time.sleep(1000)
        """,
        {"Timeout": PATIENCE},
        "Sandbox.Timedout",
    ),
    "eats-memory": (
        "def handler(event, context): return len(bytearray(400 << 20))",
        {"MemorySize": 128},
        "Runtime.ExitError",
    ),
    "never-begins": ("import no_such_module", {}, "Runtime.ImportModuleError"),
}
# Those that take long come seldom: the others are to be disturbed, not held up.
WEIGHTS = {"quick": 8, "busy": 6, "fails": 3}
REASONS = {
    "ConcurrentInvocationLimitExceeded",
    "ReservedFunctionConcurrentInvocationLimitExceeded",
}


class Watch:
    """Asks for the census again and again; what is wrong with one is kept.

    Args:
        own: the daemon.
        steady: whether nobody changes what functions may use: what runs already may be more.

    Attributes:
        most: the highest figures seen.
        provisioned: the ids of all environments seen that were provisioned.
    """

    def __init__(self, own, *, steady=True):
        self._own, self._steady = own, steady
        self.wrong, self.looks, self.most, self.provisioned = [], 0, Counter(), set()
        self._before = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look_on)
        self._thread.start()

    def census(self):
        with urlopen(f"{self._own.url}/lambdad/census", timeout=START_S_MAX) as answer:
            return json.load(answer)

    def end(self):
        self._stop.set()
        self._thread.join()

    def _look_on(self):
        while not self._stop.wait(LOOK_EACH_S):
            try:
                census = self.census()
            except OSError:
                return  # The daemon ends.
            self.wrong += self._flaws(census)
            self.looks += 1

    def _flaws(self, census):
        """What must never be, and is."""
        concurrency, pools = census["concurrency"], census["functions"]
        everybody = [one for pool in pools for one in pool["environments"] if one["id"]]
        running = sum(map(under_way, pools))
        figures = concurrency["running"], len(everybody), census["memory"]["charged_bytes"] // MIB
        for name, figure in zip(("running", "environments", "MiB"), figures, strict=True):
            self.most[name] = max(self.most[name], figure)
        self.provisioned |= {one["id"] for one in everybody if one["provisioned"]}
        if concurrency["running"] > concurrency["limit"]:
            yield f"{concurrency['running']} run of {concurrency['limit']}"
        # Whoever is refused in the queue is counted until the refusal has been heard.
        if running > concurrency["running"]:
            yield f"{running} run in pools, {concurrency['running']} in the account"
        ids = Counter(one["id"] for one in everybody)
        yield from (f"{count} environments {one}" for one, count in ids.items() if count > 1)
        for pool in pools:
            if not pool["restored"] <= pool["invocations"] >= pool["cold"]:
                yield f"{pool['cold']} cold starts for {pool['invocations']} invocations"
        if self._steady:
            yield from shares_exceeded(concurrency, pools)
        yield from self._went_back(totals(census))

    def _went_back(self, counted):
        for name, counts in self._before.items():
            for kind, count in counts.items():
                if name in counted and counted[name][kind] < count:
                    yield f"{name} has fewer {kind} than before"
        self._before = counted


def under_way(pool):
    """Invocations that count: an environment need not have been found for them."""
    return pool["running"] + pool["waiting"]


def shares_exceeded(concurrency, pools):
    """Where more runs than was reserved, or is left for those that have reserved nothing."""
    reserved = concurrency["reserved"]
    running = Counter()
    for pool in pools:
        running[pool["function"] if pool["function"] in reserved else None] += under_way(pool)
    for name, limit in (*reserved.items(), (None, concurrency["unreserved"])):
        if running[name] > limit:
            yield f"{running[name]} run of {limit} that {name or 'all others'} may"


class Load:
    """So many clients, each of which asks for something, waits for the answer and asks again.

    Args:
        own: the daemon.
        names: of its functions, by temper.
        seed: of what is asked when.

    Attributes:
        accepted, throttled: by name, how many calls were answered so.
        cut_off: how many got no answer, since the daemon ended.
    """

    def __init__(self, own, names, seed):
        self._own, self._names = own, names
        self.accepted, self.throttled, self.cut_off = Counter(), Counter(), 0
        self._lock, self._stop = threading.Lock(), threading.Event()
        self.ending = threading.Event()
        self._clients = ThreadPoolExecutor(CLIENTS)
        self._running = [
            self._clients.submit(self._client, random.Random(f"{seed} {number}"))
            for number in range(CLIENTS)
        ]

    def end(self):
        """Every client has its last answer; the first that got a wrong one speaks."""
        self._stop.set()
        self._clients.shutdown()
        for client in self._running:
            client.result()

    def insist(self, temper):
        """One more client, which asks for one thing until it is served."""
        last = time.monotonic() + START_S_MAX
        while not self._call(temper, 0):
            assert time.monotonic() < last, f"{temper} is starved"

    def _client(self, chance):
        tempers = list(TEMPERS)
        weights = [WEIGHTS.get(temper, 1) for temper in tempers]
        while not self._stop.is_set():
            (temper,) = chance.choices(tempers, weights)
            try:
                self._call(temper, chance.randrange(1 << 30))
            except (BotoCoreError, ClientError):
                if not self.ending.is_set():
                    raise
                with self._lock:
                    self.cut_off += 1
                return

    def _call(self, temper, event):
        """Whether it was served, and not throttled."""
        name = self._names[temper]
        try:
            answer = self._own.invoke(name, event)
        except self._own.client.exceptions.TooManyRequestsException as error:
            reason = error.response["Reason"]
        else:
            reason = None
        if reason is not None:
            assert reason in REASONS
            with self._lock:
                self.throttled[name] += 1
            self._stop.wait(REFUSED_WAIT_S)
            return False
        expected = TEMPERS[temper][2]
        if not self.ending.is_set():
            assert answer.error == (None if expected is None else "Unhandled"), answer
            got = answer.payload if expected is None else answer.payload["errorType"]
            assert got == (event if expected is None else expected), answer
        with self._lock:
            self.accepted[name] += 1
        return True


def totals(census):
    """What the daemon has counted, by function."""
    counted = {}
    for pool in census["functions"]:
        counts = counted.setdefault(pool["function"], Counter())
        counts.update({kind: pool[kind] for kind in ("invocations", "cold", "throttled")})
    return counted


def load_for_a_while():
    threading.Event().wait(float(os.environ.get("LAMBDAD_SOAK_LOAD_S", LOAD_S)))


def look_at_counts(census, load, names):
    """The daemon has counted each call once, as what its client saw."""
    counted = totals(census)
    for name in names.values():
        assert counted[name]["invocations"] == load.accepted[name]
        assert counted[name]["throttled"] == load.throttled[name]


@pytest.fixture
def seed(say):
    chosen = os.environ.get("LAMBDAD_SOAK_SEED") or secrets.token_hex(4)
    say(f"LAMBDAD_SOAK_SEED={chosen}")
    return chosen


@pytest.fixture
def deployed():
    """One function of each temper; their names."""

    def made(own):
        settings = {"MemorySize": 256}
        return {
            temper: own.deploy(code, **{**settings, **more})
            for temper, (code, more, _) in TEMPERS.items()
        }

    return made


def settled(watch):
    """The census of a daemon that has nothing to do any more."""
    last = time.monotonic() + START_S_MAX
    while (census := watch.census())["concurrency"]["running"]:
        assert time.monotonic() < last, "an invocation never ends"
        time.sleep(LOOK_EACH_S)
    return census


# The third reservation is one that nothing fits into.
RESERVED = {"busy": 3, "hangs": 2, "crashes": 1, "slow-to-begin": 0}


@pytest.mark.parametrize(
    ("flags", "reserved"),
    [
        (["--concurrency", "6"], {}),
        (["--concurrency", "110", "--idle-s", "0.2"], RESERVED),
    ],
    ids=["the account is small, and all is kept", "functions have shares, and nothing is kept"],
)
def test_what_is_counted_is_what_clients_see(*, start, deployed, seed, say, flags, reserved):
    own = start(*flags)
    names = deployed(own)
    for temper, count in reserved.items():
        own.client.put_function_concurrency(
            FunctionName=names[temper], ReservedConcurrentExecutions=count
        )
    census = Watch(own)
    load = Load(own, names, seed)
    for temper in names:
        if reserved.get(temper) != 0:
            load.insist(temper)
    load_for_a_while()
    load.end()
    census.end()
    now = settled(census)
    say(f"{load.accepted.total()} answers, {load.throttled.total()} throttled, "
        f"{census.looks} looks, at most {dict(census.most)}")  # fmt: skip
    assert census.wrong == []
    assert census.looks > 10
    look_at_counts(now, load, names)
    shut = [names[temper] for temper, count in reserved.items() if count == 0]
    assert all(load.accepted[name] == 0 for name in shut)
    own.stop()


def test_what_is_provisioned_stays_while_all_else_is_evicted(start, deployed, seed, say):
    own = start("--idle-s", "0.1", "--memory-budget", "100MiB")
    names = deployed(own)
    place = {"FunctionName": names["quick"]}
    own.client.publish_version(**place)
    place["Qualifier"] = "1"
    own.client.put_provisioned_concurrency_config(**place, ProvisionedConcurrentExecutions=2)
    census = Watch(own)
    ready(census, names["quick"], 2)
    load = Load(own, names, seed)
    for number in range(20):
        answer = own.client.invoke(**place, Payload=str(number).encode())
        assert json.load(answer["Payload"]) == number
    load_for_a_while()
    load.end()
    census.end()
    say(f"{load.accepted.total()} answers, at most {dict(census.most)}")
    assert census.wrong == []
    assert len(census.provisioned) == 2
    own.stop()


def ready(watch, name, count):
    """Wait until so many environments of a function are provisioned and have nothing to do."""
    last = time.monotonic() + START_S_MAX
    while True:
        environments = [
            one
            for pool in watch.census()["functions"]
            for one in pool["environments"]
            if pool["function"] == name and one["provisioned"] and one["state"] == "idle"
        ]
        if len(environments) == count:
            return
        assert time.monotonic() < last, "provisioned environments never come"
        time.sleep(LOOK_EACH_S)


def test_an_operator_may_change_everything_meanwhile(start, deployed, seed, say):
    own = start("--concurrency", "112")
    names = deployed(own)
    census, load = Watch(own, steady=False), Load(own, names, seed)
    chance, deeds = random.Random(seed), 0
    last = time.monotonic() + LOAD_S
    while time.monotonic() < last:
        operate(own, chance, chance.choice(list(names.values())))
        deeds += 1
    load.end()
    census.end()
    now = settled(census)
    say(f"{deeds} deeds, {load.accepted.total()} answers, {load.throttled.total()} throttled")
    assert census.wrong == []
    look_at_counts(now, load, names)
    own.stop()


def operate(own, chance, name):
    """One thing that an operator may do at any time."""
    match chance.randrange(5):
        case 0:
            own.client.put_function_concurrency(
                FunctionName=name, ReservedConcurrentExecutions=chance.randrange(2)
            )
        case 1 | 2:
            own.client.delete_function_concurrency(FunctionName=name)
        case 3:
            own.client.update_function_configuration(
                FunctionName=name, Description=str(chance.random())
            )
            own.wait("function_updated_v2", name)
        case 4:
            another = own.deploy("def handler(event, context): return event")
            assert own.invoke(another, 1).payload == 1
            own.client.delete_function(FunctionName=another)


def test_sigterm_amid_all_that_ends_everything(start, deployed, seed, say):
    own = start()
    names = deployed(own)
    census, load = Watch(own), Load(own, names, seed)
    threading.Event().wait(random.Random(seed).uniform(0.5, 2.5))
    load.ending.set()
    own.stop()
    load.end()
    census.end()
    say(f"{load.accepted.total()} answers, {load.cut_off} cut off")
    assert census.wrong == []
    assert load.cut_off <= CLIENTS
