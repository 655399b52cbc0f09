import os

import pytest

from lambdad.invoke.guests import RUNTIME, Guests, extension_of, process_of
from lambdad.invoke.journal import Source
from lambdad.model.clock import SystemClock
from lambdad_sandbox.messages import StartProcess

pytestmark = pytest.mark.asyncio


class FakeJournal:
    def __init__(self):
        self.lines, self.frames = [], []

    def wrote(self, source, lines):
        self.lines.append((source, lines))

    def framed(self, frame):
        self.frames.append(frame)


class FakeSandbox:
    def __init__(self):
        self.started, self.signals = [], []

    def start_process(self, wanted, descriptors):
        self.started.append((wanted, descriptors))

    def signal_process(self, name, number):
        self.signals.append((name, number))


@pytest.fixture
def journal():
    return FakeJournal()


@pytest.fixture
def sandbox():
    return FakeSandbox()


@pytest.fixture
def new_guests(journal, sandbox):
    made = []

    def make(*, log=False):
        guests = Guests(journal, SystemClock())
        made.append(guests)
        if log:
            guests.open_log()
        guests.enter(sandbox)
        return guests

    yield make
    for guests in made:
        guests.close()


async def test_the_process_of_an_extension_is_named_after_it():
    assert extension_of(process_of("a.sh")) == "a.sh"
    assert process_of("runtime") != RUNTIME


async def test_only_the_runtime_has_the_descriptor_for_framed_logs(new_guests, sandbox):
    guests = new_guests(log=True)
    guests.start(process_of("a"), ("/opt/extensions/a",), {}, "/")
    guests.start(RUNTIME, (), {"A": "1"}, "/var/task")
    (extension, _), (runtime, descriptors) = sandbox.started
    assert extension.descriptors == ("stdout",)
    assert runtime == StartProcess(RUNTIME, (), {"A": "1"}, "/var/task", ("stdout", "log"))
    assert len(set(descriptors)) == 2


async def test_without_framed_logs_the_runtime_has_its_output_only(new_guests, sandbox):
    new_guests().start(RUNTIME, (), {}, "/var/task")
    assert sandbox.started[0][0].descriptors == ("stdout",)


async def test_what_an_extension_writes_is_an_extensions(new_guests, sandbox, journal):
    guests = new_guests()
    guests.start(process_of("a"), (), {}, "/")
    guests.start(RUNTIME, (), {}, "/")
    for (_, descriptors), text in zip(sandbox.started, (b"one\n", b"two\n"), strict=True):
        os.write(descriptors[0], text)
    guests.drain()
    assert set(journal.lines) == {(Source.EXTENSION, b"one\n"), (Source.FUNCTION, b"two\n")}


async def test_a_line_without_an_end_is_one_when_its_writer_has_done(new_guests, sandbox, journal):
    guests = new_guests()
    guests.start(RUNTIME, (), {}, "/")
    os.write(sandbox.started[0][1][0], b"half")
    guests.drain()
    assert journal.lines == []
    guests.flush()
    assert journal.lines == [(Source.FUNCTION, b"half\n")]


async def test_a_process_that_starts_again_has_the_same_output(new_guests, sandbox):
    guests = new_guests()
    for _ in range(2):
        guests.start(RUNTIME, (), {}, "/")
        guests.ended(RUNTIME)
    (_, first), (_, second) = sandbox.started
    assert first == second


async def test_who_has_ended_gets_no_signal(new_guests, sandbox):
    guests = new_guests()
    guests.start(RUNTIME, (), {}, "/")
    guests.signal(RUNTIME, 15)
    assert guests.ended(RUNTIME)
    guests.signal(RUNTIME, 9)
    assert sandbox.signals == [(RUNTIME, 15)]


async def test_who_does_not_run_does_not_end(new_guests):
    guests = new_guests()
    assert not guests.ended(RUNTIME)
    guests.start(RUNTIME, (), {}, "/")
    assert guests.ended(RUNTIME)
    assert not guests.ended(RUNTIME)


async def test_a_wait_ends_with_the_last_of_those_that_are_waited_for(new_guests, stage):
    guests = new_guests()
    for name in (RUNTIME, process_of("a"), process_of("b")):
        guests.start(name, (), {}, "/")
    stage.host.background(guests.wait_ended([RUNTIME, process_of("a")], 5))
    await stage.settle()
    guests.ended(RUNTIME)
    await stage.settle()
    assert stage.host._tasks
    guests.ended(process_of("a"))
    await stage.settle()
    assert not stage.host._tasks
    assert guests.running == {process_of("b")}


async def test_a_wait_ends_with_its_time(new_guests, stage):
    guests = new_guests()
    guests.start(RUNTIME, (), {}, "/")
    stage.host.background(guests.wait_ended([RUNTIME], 5))
    await stage.settle()
    stage.clock.advance(4.9)
    await stage.settle()
    assert stage.host._tasks
    stage.clock.advance(0.1)
    await stage.settle()
    assert not stage.host._tasks
    assert guests._waiting == []


@pytest.mark.parametrize("within_s", [0, -1])
async def test_without_time_nobody_waits(new_guests, within_s):
    guests = new_guests()
    guests.start(RUNTIME, (), {}, "/")
    await guests.wait_ended([RUNTIME], within_s)


async def test_who_does_not_run_is_not_waited_for(new_guests):
    await new_guests().wait_ended([RUNTIME], 5)


async def test_when_all_have_ended_every_wait_is_over(new_guests, stage):
    guests = new_guests()
    for name in (RUNTIME, process_of("a")):
        guests.start(name, (), {}, "/")
        stage.host.background(guests.wait_ended([name], 5))
    await stage.settle()
    guests.all_ended()
    await stage.settle()
    assert not stage.host._tasks
    assert guests.running == frozenset()
