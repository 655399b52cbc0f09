"""What environments stand on, played: time, cgroups, sandboxes, the door, logs, the pool."""

import asyncio
import heapq
import itertools
import json

MIB = 1024 * 1024


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

    def call_later(self, delay_s, then, *arguments, context=None):
        return self.call_at(self._s + delay_s, then, *arguments)

    def call_at(self, when_s, then, *arguments, context=None):
        timer = Timer(then, arguments)
        heapq.heappush(self._timers, (when_s, next(self._number), timer))
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
        self.memory, self.cpu_us = 8 * MIB, 0

    def grow(self, memory_bytes, cpus):
        self.grown = memory_bytes, cpus

    def memory_bytes(self):
        return self.memory

    def memory_peak_bytes(self):
        return 36 * MIB

    def oom_kills(self):
        return self.killed_for_memory

    def cpu_usage_us(self):
        return self.cpu_us

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
        self.signals = []
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.made.append(self)

    def request(self, zygote, plan, confine, *, own_network, parked):
        self.zygote = zygote

    def become(self, plan, code, *, order_follows=True):
        if self.refusal is not None:
            raise self.refusal
        self.plan, self.code = plan, code

    def start_process(self, wanted, descriptors):
        assert not self.frozen, "a frozen init starts nothing"
        self.started.append(wanted)
        self.output = descriptors[0]

    def signal_process(self, name, number):
        assert not self.frozen, "a frozen init hears nothing"
        self.signals.append((name, number))

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


class FakeCourier:
    """Takes what it is to bring, if it may."""

    def __init__(self):
        self.events, self.closed = [], False
        self.may_deliver = asyncio.Event()
        self.may_deliver.set()

    async def deliver(self, events):
        await self.may_deliver.wait()
        self.events.extend(json.loads(event) for event in events)

    def close(self):
        self.closed = True

    @property
    def kinds(self):
        return [event["type"].removeprefix("platform.") for event in self.events]


class FakeDoor:
    def __init__(self):
        self.opened, self.closed, self.couriers = [], [], []

    def courier(self, destination, open_socket):
        self.couriers.append(FakeCourier())
        return self.couriers[-1]

    async def open(self, environment, listener):
        self.opened.append((environment, listener))

        async def close():
            self.closed.append(environment)

        return close


class FakeZygotes:
    def __init__(self):
        self.may_start = asyncio.Event()
        self.may_start.set()

    def ready(self, interpreter, packages=()):
        return "zygote" if self.may_start.is_set() else None

    async def of(self, interpreter, packages=()):
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

    def write(self, group, stream, timestamp_ms, messages):
        assert (group, timestamp_ms) == ("/aws/lambda/fn", int(timestamp_ms))
        self.text += b"".join(messages).decode()

    def close(self, group):
        self.closed.append(group)

    def remove(self, group):
        self.removed.append(group)


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


class PlayedKeeper:
    """As TemplateKeeper, without a process."""

    lives = True

    def __init__(self):
        self.forks, self.ended = [], lambda: None

    def fork_into(self, sandbox, outputs, variables):
        self.forks.append((sandbox, outputs, variables))

    def die(self):
        self.lives = False
        self.ended()
