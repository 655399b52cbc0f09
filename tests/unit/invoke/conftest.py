"""A stage on which environments live without a kernel: time, sandboxes, cgroups, door and logs
are played, everything else is real.
"""

import asyncio
import math
import os
from pathlib import Path

import pytest
import pytest_asyncio
from unit.invoke.fakes import (
    FakeClock,
    FakeDoor,
    FakeHolder,
    FakeKeeper,
    FakeLogs,
    FakeSandbox,
    FakeZygotes,
)

from lambdad.invoke import host as host_module
from lambdad.invoke.account import Account
from lambdad.invoke.admission import Admission
from lambdad.invoke.budget import Budget
from lambdad.invoke.environment import Environment
from lambdad.invoke.host import Host, Parts
from lambdad.invoke.invocation import Invocation
from lambdad.invoke.kinds import made
from lambdad.invoke.lifecycle import State
from lambdad.invoke.pool import Means, Pool
from lambdad.invoke.preloading import Preloading
from lambdad.invoke.runtime_state import Call
from lambdad.invoke.subscription import TYPES, Api, Destination, Protocol, Subscription
from lambdad.model.errors import FunctionError
from lambdad.model.function import Function
from lambdad_sandbox.features import HostFeatures


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


class NoTemplates:
    """No snapshot can be cloned: each environment runs its own init."""

    def ready(self, function):
        return "there are none here"

    def forget(self, function):
        """There is none to forget."""

    def stop(self):
        """There is none to let go of."""


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
            preloading=Preloading((), self.zygotes),
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
        self.host.templates = NoTemplates()

    def forget_code(self, tree):
        self.forgotten.append(tree)

    def function(self, **values):
        return make_function(**values)

    def invocation(self, request_id="r-1", payload=b"{}"):
        return Invocation(request_id, payload, "arn:aws:lambda:eu-west-1:123456789012:function:fn",
                          "Root=1-0-0", tail=True)  # fmt: skip

    def pool(self, means=None, **values):
        means = means or self.means()
        return Pool(self.function(**values), means, self.emptied.append)

    def means(self, account=None, idle_s=60.0, ahead=0, cpus=100, budget_bytes=math.inf):
        """What pools share; more processors than starts, and more memory than they need."""
        account, budget = account or Account(10), Budget(budget_bytes)
        starts = Admission(cpus, budget.is_crowded)
        return Means(self.host, account, starts, budget, idle_s, ahead)

    async def settle(self):
        """Let everything happen that waits for nothing."""
        for _ in range(12):
            await asyncio.sleep(0)

    async def pass_s(self, duration_s):
        """Time passes, and whoever waits for a moment of it goes on at that moment."""
        for _ in range(round(duration_s * 20)):
            self.clock.advance(0.05)
            await self.settle()

    async def ended(self):
        """Whatever is under way has come to its end; nothing takes a minute."""
        for _ in range(60):
            await self.settle()
            if not self.host._tasks:
                return
            await self.pass_s(1)
        raise AssertionError("something never ends")

    # --- an environment in each state -------------------------------------------------

    async def starting(self, **values):
        environment = made(self.function(**values), self.host, self.holder)
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

    async def in_init_with(self, *names, **values):
        """Its external extensions have started, and said nothing yet."""
        self.host.extensions_of = lambda _: names
        return await self.in_init(**values)

    async def idle_with(self, extensions, **values):
        """Each extension has subscribed to its events, and waits for one."""
        environment = await self.in_init_with(*extensions, **values)
        for name, events in extensions.items():
            register_in(environment, name, *events)
        self.event = environment.next_event()
        self.polls = {name: poll_in(environment, name) for name in extensions}
        await self.start
        return environment

    async def running_with(self, extensions, **values):
        environment = await self.idle_with(extensions, **values)
        self.run = environment.invoke(self.invocation())
        return environment

    async def managed(self, polls, **values):
        """Several events at a time; so many workers wait."""
        environment = await self.in_init(**{"max_concurrency": 2, **values})
        self.polls = [environment.next_event() for _ in range(polls)]
        await self.start
        return environment

    def subscribed(self, environment, name):
        """An extension takes the telemetry; gives what brings it."""
        destination = Destination(Protocol.TCP, 4_243)
        wanted = Subscription(Api.TELEMETRY, "2022-12-13", frozenset(TYPES), destination)
        environment.subscribe(extension_in(environment, name), wanted)
        return self.door.couriers[-1]

    async def snapshot(self, **values):
        values = {"version": "1", "snap_start": "PublishedVersions", **values}
        environment = await self.in_init(**values)
        self.restored = environment.restore_next()
        await self.start
        return environment

    async def in_restore(self, **values):
        environment = await self.snapshot(**values)
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
            State.SNAPSHOT: self.snapshot,
            State.RESTORE: self.in_restore,
            State.INVOKE: self.running,
            State.RESET: self.in_reset,
            State.NEEDS_INIT: self.needing_init,
        }
        environment = await makers[state]()
        assert environment.state is state
        return environment

    def sandbox_of(self, environment):
        return next(sandbox for sandbox in self.sandboxes if sandbox.name == environment.id)


def extension_in(environment, name):
    return next(one for one in environment.extensions.all if one.name == name)


def register_in(environment, name, *events):
    return environment.extensions.register(name, events)


def poll_in(environment, name):
    identifier = extension_in(environment, name).identifier
    return environment.extensions.next_event(identifier, lambda: True)


def answer_to(environment, payload=b"null", request_id="r-1"):
    """The runtime answers; it has not yet come back for more."""
    run = environment.begin_answer(request_id, Call.RESPONSE)
    environment.answer(run, payload)


def error_to(environment, payload=b"{}", request_id="r-1"):
    run = environment.begin_answer(request_id, Call.ERROR)
    environment.answer_error(run, FunctionError("Runtime.Unknown", payload, status=None))


class Played:
    """A pool, and the runtimes in its environments."""

    def __init__(self, stage, pool, account):
        self.stage, self.pool, self.account = stage, pool, account
        self.ids = iter(range(1, 1_000))

    async def arrive(self):
        """An invocation comes; gives its task and its id."""
        request_id = f"r-{next(self.ids)}"
        task = asyncio.ensure_future(self.pool.invoke(self.stage.invocation(request_id)))
        await self.stage.settle()
        return task, request_id

    @property
    def newest(self):
        return self.stage.sandboxes[-1].owner

    async def pass_s(self, duration_s):
        """Time passes for the pool."""
        await self.stage.pass_s(duration_s)

    async def come_up(self):
        """The newest environment starts and asks for an event."""
        self.newest.entered("listener")
        self.newest.next_event()
        await self.stage.settle()
        return self.newest

    async def cold(self):
        """An invocation under way in a new environment."""
        task, request_id = await self.arrive()
        environment = await self.come_up()
        return environment, await task, request_id

    async def finish(self, environment, request_id):
        answer_to(environment, request_id=request_id)
        environment.next_event()
        await self.stage.settle()

    async def idle(self, count):
        """As many idle environments, in the order in which they were last used."""
        under_way = [await self.cold() for _ in range(count)]
        for environment, _, request_id in under_way:
            await self.finish(environment, request_id)
        return [environment for environment, _, _ in under_way]


@pytest.fixture
def new_function():
    return make_function


@pytest.fixture
def answer():
    return answer_to


@pytest.fixture
def answer_error():
    return error_to


@pytest.fixture
def register():
    return register_in


@pytest.fixture
def poll():
    return poll_in


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
        monkeypatch.setattr(loop, "call_at", clock.call_at, raising=False)
        monkeypatch.setattr(loop, "time", clock.monotonic, raising=False)
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
        await stage.ended()


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


@pytest.fixture
def play(stage):
    def make(means=None, limit=10, idle_s=60.0, **values):
        means = means or stage.means(Account(limit), idle_s)
        return Played(stage, stage.pool(means, **values), means.account)

    return make
