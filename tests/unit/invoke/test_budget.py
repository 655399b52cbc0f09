"""Memory as it is counted, with environments that are but figures."""

import pytest

from lambdad.invoke.budget import Budget, sample_every_s, samples_at_a_time
from lambdad.invoke.keep_alive import Candidate
from lambdad.invoke.lifecycle import State
from lambdad.invoke.pool_policy import Room

pytestmark = pytest.mark.asyncio

MIB = 1024 * 1024


class Figure:
    """An environment that holds memory, and counts how often it was asked how much."""

    def __init__(self, held_mib, *, state=State.INVOKE, max_concurrency=None):
        self.held_mib, self.state, self.uses, self.asked = held_mib, state, 1, 0
        self.max_concurrency = max_concurrency

    @property
    def function(self):
        return self

    def memory_bytes(self):
        self.asked += 1
        return self.held_mib * MIB

    def retire(self):
        self.state = State.SHUTDOWN
        self.budget.release(self)


class Keeper:
    """Idle environments, each worth as much as its place in the list."""

    def __init__(self, budget, *environments):
        self.budget, self.environments = budget, environments
        for environment in environments:
            environment.budget = budget
            budget.charge(environment, environment.held_mib * MIB)
        budget.keepers.add(self)

    def evictable(self):
        for worth, one in enumerate(self.environments):
            if one.state is State.IDLE:
                yield Candidate(float(worth), self.budget.bytes_of(one), one)


@pytest.fixture
def new_budget(stage):
    """On a stage, whose time passes when the test says so."""
    del stage
    return lambda mib=100, **more: Budget(mib * MIB, **more)


async def test_what_starts_counts_as_expected_until_it_is_known_better(stage, new_budget):
    budget, one = new_budget(), Figure(8)
    budget.charge(one, 32 * MIB)
    assert budget.charged_bytes == 32 * MIB
    stage.clock.advance(sample_every_s)
    assert budget.charged_bytes == budget.bytes_of(one) == 8 * MIB
    budget.release(one)
    budget.release(one)
    assert (budget.charged_bytes, budget.bytes_of(one)) == (0, 0)


@pytest.mark.parametrize("environments_max", [2, 100])
async def test_it_is_crowded_where_what_ends_and_what_stands_are_too_much(
    new_budget, environments_max
):
    """Too much memory, or too many."""
    budget = new_budget(100 if environments_max > 2 else 1_000, environments_max=environments_max)
    ending, one, other = Figure(40), Figure(50), Figure(50)
    budget.charge(ending, 40 * MIB)
    budget.charge(one, 50 * MIB)
    budget.ends(ending)
    assert budget.charged_bytes == 50 * MIB
    assert budget.bytes_of(ending) == 40 * MIB
    assert not budget.is_crowded()
    budget.charge(other, 50 * MIB)
    assert budget.is_crowded()
    budget.release(ending)
    assert not budget.is_crowded()
    assert budget.bytes_of(ending) == 0


async def test_who_has_gone_is_not_charged_again(stage, new_budget):
    budget, one = new_budget(), Figure(8)
    budget.charge(one, MIB)
    budget.release(one)
    assert budget.sample(one) == 0
    stage.clock.advance(1)
    assert (budget.charged_bytes, one.asked) == (0, 0)


async def test_what_grows_is_seen_and_what_is_frozen_is_not_asked_again(stage, new_budget):
    budget, busy, frozen = new_budget(), Figure(8), Figure(8, state=State.IDLE)
    several = Figure(8, state=State.IDLE, max_concurrency=4)
    for one in (busy, frozen, several):
        budget.charge(one, MIB)
    stage.clock.advance(10 * sample_every_s)
    assert (busy.asked, frozen.asked, several.asked) == (10, 1, 10)
    frozen.uses, frozen.held_mib = 2, 9
    stage.clock.advance(sample_every_s)
    assert budget.charged_bytes == 25 * MIB


async def test_only_some_are_asked_at_a_time_and_all_in_turn(stage, new_budget):
    budget, many = new_budget(10_000), [Figure(1) for _ in range(3 * samples_at_a_time)]
    for one in many:
        budget.charge(one, MIB)
    stage.clock.advance(sample_every_s)
    assert sum(one.asked for one in many) == samples_at_a_time
    stage.clock.advance(2 * sample_every_s)
    assert {one.asked for one in many} == {1}


async def test_there_is_room_or_there_is_when_others_go_or_there_is_none(new_budget):
    budget = new_budget(100)
    idle, busy = Figure(30, state=State.IDLE), Figure(60)
    Keeper(budget, idle, busy)
    rooms = {mib: budget.room(mib * MIB) for mib in (10, 11, 40, 41)}
    assert rooms == {10: Room.FREE, 11: Room.EVICTABLE, 40: Room.EVICTABLE, 41: Room.NONE}


async def test_the_least_worth_go_of_whichever_pool_and_no_more_than_needed(new_budget):
    budget = new_budget(100)
    first = [Figure(20, state=State.IDLE) for _ in range(3)]
    second = [Figure(20, state=State.IDLE) for _ in range(2)]
    Keeper(budget, *first)
    Keeper(budget, *second)
    budget.make_room(30 * MIB)
    assert [one.state for one in (*first, *second)].count(State.SHUTDOWN) == 2
    assert {first[0].state, second[0].state} == {State.SHUTDOWN}
    assert budget.charged_bytes == 60 * MIB
    budget.make_room(30 * MIB)
    assert budget.charged_bytes == 60 * MIB


async def test_what_went_raises_the_clock(new_budget):
    budget = new_budget(100)
    Keeper(budget, *(Figure(30, state=State.IDLE) for _ in range(3)))
    budget.make_room(90 * MIB)
    assert budget.clock == 2.0


async def test_there_may_be_no_more_environments_than_so_many(new_budget):
    budget = new_budget(100, environments_max=2)
    idle, busy = Figure(1, state=State.IDLE), Figure(1)
    Keeper(budget, busy)
    assert budget.room(MIB) is Room.FREE
    Keeper(budget, idle)
    assert budget.room(MIB) is Room.EVICTABLE
    budget.make_room(MIB)
    assert (idle.state, busy.state) == (State.SHUTDOWN, State.INVOKE)
    Keeper(budget, Figure(1))
    assert budget.room(MIB) is Room.NONE


async def test_idle_ones_go_when_what_runs_has_grown(stage, new_budget):
    budget = new_budget(100)
    idle, busy = Figure(30, state=State.IDLE), Figure(60)
    Keeper(budget, idle, busy)
    busy.held_mib = 80
    stage.clock.advance(sample_every_s)
    assert (idle.state, budget.charged_bytes) == (State.SHUTDOWN, 80 * MIB)
