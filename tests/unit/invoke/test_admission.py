"""Turns and places of starts, without any environment: starters that say what they were granted."""

import asyncio

import pytest
import pytest_asyncio

from lambdad.invoke import admission
from lambdad.invoke.admission import Admission

pytestmark = pytest.mark.asyncio


class Start:
    """One environment that starts; ``busy`` is the share of a processor that it uses."""

    def __init__(self, clock, busy):
        self.clock, self.since, self.busy = clock, clock.monotonic(), busy

    def cpu_s(self):
        return (self.clock.monotonic() - self.since) * self.busy


class Starter:
    """Wants to start some, one at a turn."""

    def __init__(self, admission, clock, wanted, busy=1.0, weight=1.0):
        self.admission, self.clock, self.wanted = admission, clock, wanted
        self.busy, self.weight, self.starts = busy, weight, []

    def ask(self):
        if self.wanted:
            self.admission.ask(self)

    def granted(self):
        if not self.wanted:
            return
        self.wanted -= 1
        start = Start(self.clock, self.busy)
        self.starts.append(start)
        self.admission.hold(start, self.weight)
        self.ask()

    def end(self):
        self.admission.release(self.starts.pop(0))


@pytest_asyncio.fixture
async def starter(stage):
    """Makes starters that share two processors."""
    shared = Admission(2, lambda: False)
    return lambda wanted, **how: Starter(shared, stage.clock, wanted, **how)


async def test_as_many_start_as_there_are_processors_and_the_next_when_one_is_done(starter):
    one = starter(5)
    one.ask()
    assert len(one.starts) == 2
    one.end()
    assert (len(one.starts), one.wanted) == (2, 2)


async def test_starts_that_are_known_to_be_half_idle_take_half_a_place(starter):
    one = starter(9, weight=0.5)
    one.ask()
    assert len(one.starts) == 4


async def test_one_starts_however_much_it_takes(stage):
    one = Starter(Admission(0.5, lambda: False), stage.clock, 2)
    one.ask()
    assert len(one.starts) == 1


async def test_turns_go_round(starter):
    greedy, modest = starter(100), starter(3)
    greedy.ask()
    modest.ask()
    for _ in range(6):
        (greedy if greedy.starts else modest).end()
    assert modest.wanted == 0


async def test_a_start_that_sleeps_gives_its_place_to_the_next(stage, starter):
    sleeper, other = starter(2, busy=0.0), starter(1)
    sleeper.ask()
    other.ask()
    assert (len(sleeper.starts), len(other.starts)) == (2, 0)
    stage.clock.advance(admission.look_s)
    assert len(other.starts) == 1


async def test_a_start_that_computes_keeps_its_place_but_not_for_ever(stage, starter):
    busy, other = starter(2), starter(1)
    busy.ask()
    other.ask()
    stage.clock.advance(admission.hold_s_max - 2 * admission.look_s)
    assert not other.starts
    stage.clock.advance(3 * admission.look_s)
    assert len(other.starts) == 1


async def test_starts_that_wait_for_starts_come_to_their_end(stage, starter):
    """Each start asks for another one, and is over when that is: nobody holds up anybody."""
    starters = [starter(1, busy=0.0) for _ in range(50)]
    for one in starters:
        one.ask()
    stage.clock.advance(50 * admission.look_s)
    assert all(one.starts for one in starters)


async def test_a_place_is_given_back_once(stage, starter):
    one = starter(2, busy=0.0)
    one.ask()
    stage.clock.advance(admission.look_s)
    one.end()
    one.end()
    busy = starter(5)
    busy.ask()
    assert len(busy.starts) == 2


async def test_who_leaves_has_no_turn(starter):
    first, second = starter(2), starter(1)
    first.ask()
    second.ask()
    first.admission.leave(second)
    first.end()
    assert not second.starts


@pytest.mark.parametrize(
    ("cpu_s", "start_s", "weight"),
    [(0.0, 0.0, 1.0), (0.0, 1.0, 0.125), (0.5, 1.0, 0.5), (2.0, 1.0, 1.0)],
)
async def test_a_start_weighs_what_it_took_of_a_processor(cpu_s, start_s, weight):
    assert admission.weight(cpu_s, start_s) == weight
    await asyncio.sleep(0)


async def test_beside_starts_that_sleep_the_next_counts_less_but_never_nothing():
    weights = [admission.weight_beside(1.0, asleep) for asleep in (0, 1, 3, 100)]
    assert weights == [1.0, 0.5, 0.25, admission.weight_min]


async def test_who_sleeps_does_so_until_its_start_is_over(stage, starter):
    one = starter(1, busy=0.0)
    one.ask()
    [start] = one.starts
    assert not one.admission.sleeps(start)
    stage.clock.advance(admission.look_s)
    assert one.admission.sleeps(start)
    one.end()
    assert not one.admission.sleeps(start)


async def test_where_it_is_crowded_nobody_starts_until_something_has_gone(stage):
    crowd = {"it"}
    one = Starter(Admission(2, lambda: bool(crowd)), stage.clock, 1)
    one.ask()
    assert not one.starts
    crowd.clear()
    one.admission.look_again()
    assert len(one.starts) == 1


async def test_there_is_a_processor():
    assert admission.processors() >= 1
