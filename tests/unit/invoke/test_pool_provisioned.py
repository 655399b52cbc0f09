"""Environments that stand because they were provisioned."""

import pytest

from lambdad.invoke.account import Allocation
from lambdad.invoke.lifecycle import State

pytestmark = pytest.mark.asyncio

MIB = 1024 * 1024


@pytest.fixture
def told():
    return []


@pytest.fixture
def owners(stage):
    return lambda: [sandbox.owner for sandbox in stage.sandboxes]


@pytest.fixture
def all_come_up(stage, owners):
    """Lets everything that starts come up."""

    async def made():
        while starting := [one for one in owners() if one.state is State.STARTING]:
            for environment in starting:
                environment.entered("listener")
                environment.next_event()
            await stage.settle()

    return made


@pytest.fixture
def provisioned(play, told, all_come_up, stage):
    """A pool with so many that stand."""

    async def made(count, **how):
        played = play(**how)
        played.pool.provision(count, told.append)
        await stage.settle()
        await all_come_up()
        return played

    return made


async def test_as_many_are_started_as_are_asked_for_and_it_is_told_how_far_it_is(
    provisioned, told, owners
):
    await provisioned(3)
    assert told[0] == Allocation(3, 0, 0)
    assert told[-1] == Allocation(3, 3, 3)
    assert [one.init_type for one in owners()] == ["provisioned-concurrency"] * 3


async def test_they_are_used_before_others_and_what_is_beyond_starts_as_ever(
    provisioned, owners, all_come_up
):
    played = await provisioned(2)
    tasks = [(await played.arrive())[0] for _ in range(3)]
    assert [task.done() for task in tasks] == [True, True, False]
    await all_come_up()
    await tasks[2]
    assert [one.init_type for one in owners()][2:] == ["on-demand"]
    census = played.pool.census()
    assert (census.invocations, census.cold, census.provisioned_requested) == (3, 1, 2)


async def test_until_they_stand_calls_run_on_demand(play, told, stage, owners, all_come_up):
    played = play()
    played.pool.provision(1, told.append)
    await stage.settle()
    await played.arrive()
    assert [one.init_type for one in owners()] == ["provisioned-concurrency", "on-demand"]
    await all_come_up()


async def test_they_never_expire(provisioned, stage, owners):
    await provisioned(2, idle_s=1)
    stage.clock.advance(1_000)
    await stage.settle()
    assert {one.state for one in owners()} == {State.IDLE}


async def test_they_are_never_evicted(provisioned, stage, owners):
    played = await provisioned(2, means=stage.means(budget_bytes=50 * MIB))
    stage.sandboxes[0].cgroup.memory = 60 * MIB
    tasks = [(await played.arrive())[0] for _ in range(2)]
    await stage.pass_s(1)
    assert {one.state for one in owners()} == {State.INVOKE}
    for environment, task in zip(reversed(owners()), tasks, strict=True):
        await played.finish(environment, (await task).invocation.request_id)
    await stage.pass_s(1)
    assert {one.state for one in owners()} == {State.IDLE}


async def test_one_that_dies_is_replaced(provisioned, told, stage, owners, all_come_up):
    played = await provisioned(1)
    run = await (await played.arrive())[0]
    owners()[0].sandbox_died()
    await stage.settle()
    assert run.answered.exception() is not None
    assert told[-1] == Allocation(1, 0, 0)
    await all_come_up()
    assert told[-1] == Allocation(1, 1, 1)


async def test_fewer_are_asked_for_idle_ones_go_and_busy_ones_when_they_are_done(
    provisioned, told, stage, owners
):
    played = await provisioned(3)
    task, request_id = await played.arrive()
    await task
    played.pool.provision(0, told.append)
    await stage.settle()
    assert [one.state for one in owners()] == [State.GONE, State.GONE, State.INVOKE]
    await played.finish(owners()[2], request_id)
    assert owners()[2].state is State.GONE
    assert told[-1] == Allocation(0, 0, 0)


async def test_more_are_asked_for(provisioned, told, stage, owners, all_come_up):
    played = await provisioned(1)
    played.pool.provision(2, told.append)
    assert told[-1] == Allocation(2, 1, 1)
    await stage.settle()
    await all_come_up()
    assert told[-1] == Allocation(2, 2, 2)
    assert played.pool.allocation == Allocation(2, 2, 2)
    assert len(owners()) == 2


async def test_an_init_that_fails_is_told_and_tried_again_but_not_for_ever(
    play, told, stage, owners
):
    played = play()
    played.pool.provision(1, told.append)
    await stage.settle()
    for number in range(5):
        environment = owners()[number]
        environment.entered("listener")
        environment.process_exited("runtime", 1 << 8)
        await stage.settle()
        assert told[-1] == Allocation(1, 0, 0, "FUNCTION_ERROR_INIT_FAILURE")
        assert len(owners()) == number + 1
        await stage.pass_s(16)
    assert len(owners()) == 5


async def test_a_success_after_a_failure_is_told_and_a_new_wish_starts_afresh(
    play, told, stage, owners, all_come_up
):
    played = play()
    played.pool.provision(2, told.append)
    await stage.settle()
    for environment in owners()[:2]:
        environment.entered("listener")
        environment.process_exited("runtime", 1 << 8)
        await stage.settle()
    played.pool.provision(2, told.append)
    assert told[-1] == Allocation(2, 0, 0)
    await stage.settle()
    await all_come_up()
    assert told[-1] == Allocation(2, 2, 2)


async def test_without_memory_they_are_put_off_with_the_reason(
    play, told, stage, owners, all_come_up
):
    played = play(means=stage.means(budget_bytes=40 * MIB))
    played.pool.provision(2, told.append)
    await stage.settle()
    assert len(owners()) == 1
    assert "memory budget" in told[-1].failed
    await all_come_up()  # It takes 8 MiB, not 32 as was feared.
    await stage.pass_s(2)
    await all_come_up()
    assert told[-1] == Allocation(2, 2, 2)


async def test_memory_is_waited_for_however_long_that_takes(play, told, stage, owners, all_come_up):
    played = play(means=stage.means(budget_bytes=40 * MIB), timeout_s=100)
    busy, _, request_id = await played.cold()
    stage.sandboxes[0].cgroup.memory = 39 * MIB
    await stage.pass_s(1)
    played.pool.provision(1, told.append)
    await stage.pass_s(60)
    assert "memory budget" in told[-1].failed
    assert len(owners()) == 1
    await played.finish(busy, request_id)
    await stage.pass_s(1)
    await all_come_up()
    assert told[-1] == Allocation(1, 1, 1)


async def test_one_that_fails_in_the_moment_it_stands_does_not_become_an_ordinary_one(
    play, told, stage
):
    played = play()
    played.pool.provision(1, told.append)
    await stage.settle()
    environment = played.newest
    environment.entered("listener")
    environment.next_event()
    environment.process_exited("runtime", 9)  # Nobody has seen yet that it stood.
    await stage.settle()
    assert environment.state is State.GONE
    assert told[-1].failed == "cannot keep it: it ended at once"
    assert not played.pool._idle.environments


async def test_one_that_dies_at_once_every_time_is_not_replaced_for_ever(
    provisioned, stage, owners, all_come_up
):
    await provisioned(1)
    for _ in range(10):
        owners()[-1].sandbox_died()
        await stage.settle()
        await all_come_up()
    assert len(owners()) == 1
    await stage.pass_s(2)
    assert len(owners()) == 2


async def test_a_pool_that_retires_ends_them_and_tells_nothing(provisioned, told, stage, owners):
    played = await provisioned(2)
    before = list(told)
    played.pool.retire()
    await stage.ended()
    assert {one.state for one in owners()} == {State.GONE}
    assert told == before
    assert stage.emptied == [played.pool]
