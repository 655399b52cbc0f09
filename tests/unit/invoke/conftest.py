"""A stage on which environments live without a kernel: time, sandboxes, cgroups, door and logs
are played, everything else is real.
"""

import asyncio
import heapq
import itertools
import os
from pathlib import Path

import pytest
import pytest_asyncio

from lambdad.invoke import host as host_module
from lambdad.invoke.environment import Environment
from lambdad.invoke.host import Host, Parts
from lambdad.invoke.invocation import Invocation
from lambdad.invoke.lifecycle import State
from lambdad.invoke.pool import Account, Pool
from lambdad.invoke.runtime_state import Call
from lambdad.model.errors import FunctionError
from lambdad.model.function import Function
from lambdad_sandbox.features import HostFeatures

MIB = 1024 * 1024


def make_function(name="fn", **values):
    least = {
        "runtime": "provided.al2023",
        "handler": "app.handler",
        "role": "arn:aws:iam::123456789012:role/r",
        "code_sha256": "Zm9v",
        "code_bytes": 3,
        "tree": "0" * 64,
        "timeout_s": 3,
        "memory_mb": 128,
        "tmp_mb": 512,
        "architecture": "x86_64",
        "revision_id": "one",
        "last_modified": 1.5,
    }
    return Function(name, **{**least, **values})


class Timer:
    """As asyncio's TimerHandle."""

    def __init__(self, then, arguments):
        self.then, self.arguments, self.cancelled = then, arguments, False

    def cancel(self):
        self.cancelled = True


class FakeClock:
    """Passes when it is told to; takes the place of the loop's timers, too."""

    def __init__(self):
        self._s, self._timers, self._number = 1_000.0, [], itertools.count()

    def now(self):
        return 1_795_253_400.0 - 1_000.0 + self._s

    def monotonic(self):
        return self._s

    def call_later(self, delay_s, then, *arguments):
        timer = Timer(then, arguments)
        heapq.heappush(self._timers, (self._s + delay_s, next(self._number), timer))
        return timer

    def advance(self, delay_s):
        until = self._s + delay_s
        while self._timers and self._timers[0][0] <= until:
            self._s, _, timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                timer.then(*timer.arguments)
        self._s = until


class FakeCgroup:
    clone_fd, oom_fd, attach_fds = None, None, ()

    def __init__(self):
        self.killed_for_memory, self.caps, self.grown = 0, [], None

    def grow(self, memory_bytes, cpus):
        self.grown = memory_bytes, cpus

    def memory_peak_bytes(self):
        return 36 * MIB

    def oom_kills(self):
        return self.killed_for_memory

    def cpu_usage_us(self):
        return 0

    def cap_cpus(self, cpus):
        self.caps.append(cpus)


class FakeSandbox:
    """Keeps what it is asked; the test says through ``owner`` what happens."""

    made: list
    refusal = network = None
    disk = "a disk"
    runtime_api = "169.254.100.1:9001"

    def __init__(self, name, uid, cgroup, owner):
        self.name, self.uid, self.cgroup, self.owner = name, uid, cgroup, owner
        self.started, self.kills, self.removed, self.frozen = [], 0, False, False
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.made.append(self)

    def request(self, zygote, plan, *, own_network):
        self.zygote = zygote

    def become(self, plan, code):
        if self.refusal is not None:
            raise self.refusal
        self.plan, self.code = plan, code

    def start_process(self, wanted, output):
        assert not self.frozen, "a frozen init starts nothing"
        self.started.append(wanted)
        self.output = output

    def freeze(self):
        self.frozen = True

    def thaw(self):
        self.frozen = False

    def kill_all(self):
        assert not self.frozen, "frozen processes do not die"
        self.kills += 1

    async def remove(self, kernel):
        await self.may_go.wait()
        self.removed = True


class FakeDoor:
    def __init__(self):
        self.opened, self.closed = [], []

    async def open(self, environment, listener):
        self.opened.append((environment, listener))

        async def close():
            self.closed.append(environment)

        return close


class FakeZygotes:
    def __init__(self):
        self.may_start = asyncio.Event()
        self.may_start.set()

    def ready(self, interpreter):
        return "zygote" if self.may_start.is_set() else None

    async def of(self, interpreter):
        await self.may_start.wait()
        return "zygote"


class FakeKeeper:
    version = "v2"

    def __init__(self):
        self.limits, self.refusal = [], None

    def create(self, name, limits):
        if self.refusal is not None:
            raise self.refusal
        self.limits.append(limits)
        return FakeCgroup()


class FakeLogs:
    def __init__(self):
        self.text, self.closed, self.removed = "", [], []

    def write(self, function, lines):
        self.text += lines.decode()

    def close(self, function):
        self.closed.append(function)

    def remove(self, function):
        self.removed.append(function)


class FakeHolder:
    """Keeps what an environment tells its pool."""

    def __init__(self):
        self.told = []

    def freed(self, environment):
        self.told.append("freed")

    def answered(self, environment):
        self.told.append("answered")

    def withdrawn(self, environment):
        self.told.append("withdrawn")

    def gone(self, environment):
        self.told.append("gone")


class Stage:
    """What environments are made with, and the moves that a test makes with them."""

    def __init__(self, clock, sandboxes, code_path):
        self.clock, self.sandboxes = clock, sandboxes
        self.door, self.logs, self.keeper, self.zygotes = (
            FakeDoor(), FakeLogs(), FakeKeeper(), FakeZygotes()
        )  # fmt: skip
        self.holder = FakeHolder()
        self.errors, self.emptied, self.forgotten = [], [], []
        parts = Parts(
            keeper=self.keeper,
            zygotes=self.zygotes,
            features=HostFeatures((), root=True, cgroup_version="v2"),
            door=self.door,
            logs=self.logs,
            clock=clock,
            kernel=None,
            code_path=lambda _: code_path,
            code_root=code_path.parent,
            networks=None,
            disks=None,
            host_network=False,
            first_uid=1_879_048_192,
            forget_code=self.forget_code,
        )
        self.host = Host(parts, region="eu-west-1", account="123456789012", spares=0)

    def forget_code(self, tree):
        self.forgotten.append(tree)

    def function(self, **values):
        return make_function(**values)

    def invocation(self, request_id="r-1", payload=b"{}"):
        return Invocation(request_id, payload, "arn:aws:lambda:eu-west-1:123456789012:function:fn",
                          "Root=1-0-0")  # fmt: skip

    def pool(self, limit=10, idle_s=60.0, account=None, **values):
        account = account or Account(limit)
        return Pool(self.function(**values), self.host, account, idle_s, self.emptied.append)

    async def settle(self):
        """Let everything happen that waits for nothing."""
        for _ in range(12):
            await asyncio.sleep(0)

    # --- an environment in each state -------------------------------------------------

    async def starting(self, **values):
        environment = Environment(self.function(**values), self.host, self.holder)
        self.start = asyncio.ensure_future(environment.start())
        await self.settle()
        return environment

    async def in_init(self, **values):
        environment = await self.starting(**values)
        environment.entered("listener")
        await self.settle()
        return environment

    async def idle(self, **values):
        environment = await self.in_init(**values)
        self.event = environment.next_event()
        await self.start
        return environment

    async def running(self, **values):
        environment = await self.idle(**values)
        self.run = environment.invoke(self.invocation())
        return environment

    async def in_reset(self, **values):
        environment = await self.running(**values)
        self.clock.advance(environment.function.timeout_s)
        return environment

    async def needing_init(self, **values):
        environment = await self.in_reset(**values)
        environment.emptied()
        return environment

    async def in_state(self, state):
        makers = {
            State.STARTING: self.starting,
            State.INIT: self.in_init,
            State.IDLE: self.idle,
            State.INVOKE: self.running,
            State.RESET: self.in_reset,
            State.NEEDS_INIT: self.needing_init,
        }
        environment = await makers[state]()
        assert environment.state is state
        return environment

    def sandbox_of(self, environment):
        return next(sandbox for sandbox in self.sandboxes if sandbox.name == environment.id)


def answer_to(environment, payload=b"null", request_id="r-1"):
    """The runtime answers; it has not yet come back for more."""
    environment.begin_answer(request_id, Call.RESPONSE)
    environment.answer(payload)


def error_to(environment, payload=b"{}", request_id="r-1"):
    environment.begin_answer(request_id, Call.ERROR)
    environment.answer_error(FunctionError("Runtime.Unknown", payload, status=None))


@pytest.fixture
def new_function():
    return make_function


@pytest.fixture
def answer():
    return answer_to


@pytest.fixture
def answer_error():
    return error_to


@pytest_asyncio.fixture
async def new_stage(monkeypatch):
    """Makes stages; each takes the loop's timers and the sandboxes of what comes after."""
    loop = asyncio.get_running_loop()
    stages = []

    def make():
        clock, sandboxes = FakeClock(), []
        kind = type("StageSandbox", (FakeSandbox,), {"made": sandboxes})
        monkeypatch.setattr(host_module, "Sandbox", kind)
        monkeypatch.setattr(loop, "call_later", clock.call_later, raising=False)
        stage = Stage(clock, sandboxes, Path("/code"))
        loop.set_exception_handler(lambda _, context: stage.errors.append(context))
        stages.append(stage)
        return stage

    yield make
    for stage in stages:
        for sandbox in stage.sandboxes:
            sandbox.may_go.set()
            if isinstance(sandbox.owner, Environment):
                sandbox.owner.retire()
        await stage.host.settled()


@pytest_asyncio.fixture
async def stage(new_stage):
    """One stage; whatever was raised where nobody waits fails the test."""
    stage = new_stage()
    yield stage
    assert stage.errors == []


@pytest.fixture
def write(stage):
    """What a runtime prints."""
    return lambda environment, data: os.write(stage.sandbox_of(environment).output, data)
