"""Who may start when: turns, memory, the scaling rate, and who takes over from whom."""

import asyncio

import pytest

from lambdad.invoke import pool_policy
from lambdad.invoke.account import Account
from lambdad.invoke.lifecycle import State
from lambdad.model.errors import ApiError, PlatformFault

pytestmark = pytest.mark.asyncio

MIB = 1024 * 1024
OTHER = {"name": "other", "log_group": "/aws/lambda/fn"}


@pytest.fixture
def come_up(stage):
    """Lets one environment start; it asks for its first event."""

    async def made(environment):
        environment.entered("listener")
        environment.next_event()
        await stage.settle()

    return made


@pytest.fixture
def owners(stage):
    """All environments, in the order in which they were made."""
    return lambda: [sandbox.owner for sandbox in stage.sandboxes]


async def refused(task):
    with pytest.raises(ApiError) as caught:
        await task
    return caught.value.members["Reason"]


async def test_as_many_run_at_once_as_come_at_once(play, stage, come_up, owners):
    played = play(means=stage.means(Account(100), cpus=2))
    tasks = [(await played.arrive())[0] for _ in range(20)]
    assert len(owners()) == 2
    for number in range(20):
        await come_up(owners()[number])
    assert all(task.done() for task in tasks)
    assert {environment.state for environment in owners()} == {State.INVOKE}
    assert played.account.running == 20


async def test_who_waits_for_a_turn_takes_what_becomes_free_meanwhile(play, stage, come_up, owners):
    played = play(means=stage.means(cpus=1))
    first, first_id = await played.arrive()
    second, second_id = await played.arrive()
    [environment] = owners()
    await come_up(environment)
    await first
    starting = owners()[1]  # It was the second one's turn.
    await played.finish(environment, first_id)
    assert (await second).invocation.request_id == second_id
    assert environment._run.invocation.request_id == second_id
    await come_up(starting)
    assert starting.state is State.IDLE
    await played.arrive()
    assert len(owners()) == 2


async def test_a_turn_that_nobody_needs_any_more_goes_to_the_next(play, stage, come_up, owners):
    means = stage.means(cpus=1)
    played, other = play(means=means), stage.pool(means, **OTHER)
    await played.cold()
    blocking, _ = await played.arrive()
    waiting, _ = await played.arrive()
    needy = asyncio.ensure_future(other.invoke(stage.invocation("r-other")))
    await stage.settle()
    waiting.cancel()
    await come_up(owners()[1])
    await blocking
    assert owners()[2].function.name == "other"
    await come_up(owners()[2])
    assert (await needy).invocation.request_id == "r-other"
    assert len(owners()) == 3


async def test_functions_have_turns(play, stage, come_up, owners):
    means = stage.means(Account(100), cpus=1)
    played, other = play(means=means), stage.pool(means, **OTHER)
    for _ in range(10):
        await played.arrive()
    asyncio.ensure_future(other.invoke(stage.invocation("r-other")))  # noqa: RUF006  it waits
    await stage.settle()
    for number in range(3):
        await come_up(owners()[number])
    assert "other" in {environment.function.name for environment in owners()[:3]}


async def test_inits_that_wait_for_other_inits_come_to_their_end(play, stage, owners):
    """Each blocks until the one that it calls is done: nobody holds a place and sleeps."""
    played = play(means=stage.means(Account(100), cpus=2))
    for _ in range(10):
        await played.arrive()
    await stage.pass_s(0.5)
    assert len(owners()) == 10


async def test_a_burst_of_starts_that_sleep_is_not_held_up(play, stage, owners):
    """Each look lets more of them start than the one before."""
    played = play(means=stage.means(Account(200), cpus=2))
    for _ in range(100):
        await played.arrive()
    assert len(owners()) == 2
    await stage.pass_s(0.2)
    assert len(owners()) == 100


async def test_what_was_done_to_have_a_sandbox_ready_is_no_part_of_a_start(stage, monkeypatch):
    cgroup = stage.keeper.create("any", "limits")
    monkeypatch.setattr(stage.keeper, "create", lambda *_: cgroup)
    cgroup.cpu_us = 7_000
    environment = await stage.starting()
    assert environment.cpu_s() == 0
    cgroup.cpu_us = 9_000
    assert environment.cpu_s() == 0.002


async def test_a_sandbox_that_never_comes_is_waited_for_so_long_and_no_longer(play, stage):
    stage.zygotes.may_start.clear()
    played = play()
    task, _ = await played.arrive()
    await stage.pass_s(31)
    stage.zygotes.may_start.set()
    with pytest.raises(PlatformFault, match="no sandbox came in time"):
        await task
    assert played.account.running == 0


async def test_memory_of_idle_environments_goes_to_who_needs_it_the_least_worth_first(
    play, stage, come_up, owners
):
    means = stage.means(budget_bytes=50 * MIB)
    played, other = play(means=means), stage.pool(means, **OTHER)
    await played.idle(3)  # 8 MiB each, and what is new is taken to need 32.
    rarely, often = owners()[:2]
    for environment in owners():
        environment.start_s = 0.2
    often.uses = 100
    task = asyncio.ensure_future(other.invoke(stage.invocation("r-other")))
    await stage.settle()
    assert (rarely.state, often.state) == (State.GONE, State.IDLE)
    await come_up(owners()[3])
    await task
    assert means.budget.charged_bytes == 3 * 8 * MIB


async def test_without_memory_it_is_throttled_and_has_taken_nothing(play, stage, owners):
    played = play(means=stage.means(budget_bytes=40 * MIB))
    await played.cold()
    stage.sandboxes[0].cgroup.memory = 39 * MIB
    await stage.pass_s(1)
    task, _ = await played.arrive()
    assert await refused(task) == "ConcurrentInvocationLimitExceeded"
    assert played.account.running == 1
    assert len(owners()) == 1
    assert played.pool.census().throttled == 1


async def test_who_is_refused_counts_no_more_when_the_next_one_comes(play, stage):
    played = play(means=stage.means(budget_bytes=40 * MIB))
    played.account.reserve("fn", 2)
    await played.cold()
    stage.sandboxes[0].cgroup.memory = 39 * MIB
    await stage.pass_s(1)
    coming = (played.pool.invoke(stage.invocation(f"r-{number}")) for number in range(3))
    errors = await asyncio.gather(*coming, return_exceptions=True)
    reasons = {error.members["Reason"] for error in errors}
    assert reasons == {"ConcurrentInvocationLimitExceeded"}  # Of memory, not of what is reserved.


async def test_alone_an_environment_has_room_however_little_memory_there_is(play, stage, owners):
    means = stage.means(budget_bytes=MIB)
    played, other = play(means=means), stage.pool(means, **OTHER)
    await played.idle(1)
    asyncio.ensure_future(other.invoke(stage.invocation("r-other")))  # noqa: RUF006  it waits
    await stage.settle()
    assert [one.function.name for one in owners()] == ["fn", "other"]
    assert owners()[0].state is State.GONE
    assert await refused((await played.arrive())[0]) == "ConcurrentInvocationLimitExceeded"


async def test_where_memory_is_short_starts_wait_until_what_ends_is_gone(
    play, stage, come_up, owners
):
    means = stage.means(budget_bytes=110 * MIB)
    played, other = play(means=means), stage.pool(means, **OTHER)
    for sandbox in [one._sandbox for one in await played.idle(3)]:
        sandbox.cgroup.memory = 35 * MIB
        sandbox.may_go.clear()
    await stage.pass_s(1)
    tasks = [asyncio.ensure_future(other.invoke(stage.invocation(f"o-{n}"))) for n in range(2)]
    await stage.settle()
    await come_up(owners()[3])
    assert [one.state for one in owners()].count(State.SHUTDOWN) == 1
    assert [task.done() for task in tasks] == [True, False]
    assert len(owners()) == 4
    stage.sandboxes[0].may_go.set()
    await stage.settle()
    await come_up(owners()[4])
    await tasks[1]


async def test_what_its_only_event_has_taken_is_counted_when_it_rests(play, stage):
    played = play()
    environment, _, request_id = await played.cold()
    stage.sandboxes[0].cgroup.memory = 100 * MIB
    await played.finish(environment, request_id)
    await stage.pass_s(1)
    assert played.pool.census().environments[0].memory_bytes == 100 * MIB


async def test_idle_environments_go_when_others_have_grown(play, stage, owners):
    played = play(means=stage.means(budget_bytes=80 * MIB))
    await played.idle(2)
    busy, _ = await played.arrive()
    await busy
    running, idle = owners()[1], owners()[0]
    stage.sandboxes[1].cgroup.memory = 79 * MIB
    await stage.pass_s(1)
    assert (running.state, idle.state) == (State.INVOKE, State.GONE)


async def test_beyond_its_scaling_rate_a_function_is_throttled(play, stage, owners):
    played = play(means=stage.means(Account(100, scaling_rate=3)))
    tasks = [(await played.arrive())[0] for _ in range(4)]
    assert await refused(tasks[3]) == "FunctionInvocationRateLimitExceeded"
    stage.clock.advance(4)
    await played.arrive()
    assert len(owners()) == 4


async def test_who_waits_when_a_pool_is_replaced_runs_in_its_successor(play, stage, owners):
    means = stage.means(cpus=1)
    played, successor = play(means=means), stage.pool(means, revision_id="two")
    tasks = [await played.arrive() for _ in range(2)]
    played.pool.retire(successor)
    await stage.settle()
    assert owners()[0].state is State.GONE
    for _, request_id in tasks:
        owners()[-1].entered("listener")
        event = owners()[-1].next_event()
        await stage.settle()
        assert event.result().invocation.request_id == request_id
        assert owners()[-1].function.revision_id == "two"
    await asyncio.gather(*(task for task, _ in tasks))
    assert played.account.running == 2
    assert stage.emptied == [played.pool]


async def test_who_leaves_after_the_pool_was_replaced_is_waited_for_no_more(play, stage):
    means = stage.means()
    played, successor = play(means=means), stage.pool(means, revision_id="two")
    task, _ = await played.arrive()
    played.pool.retire(successor)
    task.cancel()
    await stage.settle()
    successor.retire()
    await stage.ended()
    assert played.account.running == 0
    assert stage.emptied == [played.pool, successor]


async def test_what_was_counted_goes_on_in_the_successor(play, stage):
    means = stage.means()
    played, successor = play(means=means), stage.pool(means, revision_id="two")
    await played.cold()
    played.pool.retire(successor)
    assert (played.pool.census().cold, successor.census().cold) == (0, 1)


async def test_a_sandbox_that_is_not_to_be_had_fails_who_counted_on_it_and_nobody_else(play):
    played = play()
    first, _ = await played.arrive()
    second, _ = await played.arrive()
    played.newest.not_entered("cannot mount")
    await played.stage.settle()
    with pytest.raises(PlatformFault, match="cannot mount"):
        await first
    assert not second.done()
    assert played.account.running == 1


async def test_a_census_says_what_stands_and_what_has_happened(play, stage):
    played = play(means=stage.means(Account(2)))
    environment, _, request_id = await played.cold()
    await played.finish(environment, request_id)
    await (await played.arrive())[0]
    await played.arrive()
    await refused((await played.arrive())[0])
    stage.clock.advance(2)
    census = played.pool.census()
    assert (census.function, census.version, census.memory_mb) == ("fn", "$LATEST", 128)
    assert (census.invocations, census.cold, census.restored, census.throttled) == (2, 1, 0, 1)
    assert (census.running, census.waiting) == (1, 1)
    busy = next(one for one in census.environments if one.uses)
    assert (busy.state, busy.uses, busy.idle_s) == ("invoke", 2, None)
    assert (busy.age_s, busy.memory_bytes) == (2.0, 8 * MIB)


# --- environments ahead of need ---------------------------------------------------------

VERSION = {"version": "1", "snap_start": "PublishedVersions"}


@pytest.fixture
def suspend(stage):
    """Lets one environment come to its snapshot."""

    async def made(environment):
        environment.entered("listener")
        environment.restore_next()
        await stage.settle()

    return made


async def test_a_version_with_a_snapshot_has_one_environment_ahead_of_need(
    play, stage, suspend, owners
):
    played = play(means=stage.means(ahead=1), **VERSION)
    await stage.settle()
    await suspend(owners()[0])
    assert owners()[0].state is State.SNAPSHOT
    await (await played.arrive())[0]
    assert len(owners()) == 1
    assert played.pool.census().restored == 1
    await stage.pass_s(0.1)
    assert len(owners()) == 2
    await suspend(owners()[1])


async def test_one_that_is_warm_is_leased_before_one_that_was_never_used(
    play, stage, suspend, owners
):
    played = play(means=stage.means(ahead=1), **VERSION)
    await stage.settle()
    await suspend(owners()[0])
    task, request_id = await played.arrive()
    await task
    used = owners()[0]
    used.next_event()
    await played.finish(used, request_id)
    await stage.pass_s(0.1)
    await suspend(owners()[1])
    await (await played.arrive())[0]
    assert [one.uses for one in owners()] == [2, 0]


async def test_it_is_kept_where_others_go_at_once(play, stage, suspend, owners):
    play(means=stage.means(ahead=1, idle_s=0), **VERSION)
    await stage.settle()
    await suspend(owners()[0])
    await stage.pass_s(1)
    assert owners()[0].state is State.SNAPSHOT


async def test_others_of_its_version_go_in_their_own_time(play, stage, suspend, owners):
    played = play(means=stage.means(ahead=1, idle_s=5), **VERSION)
    await stage.settle()
    await suspend(owners()[0])
    stage.clock.advance(10)
    task, request_id = await played.arrive()
    await task
    used = owners()[0]
    used.next_event()
    await played.finish(used, request_id)
    await stage.pass_s(1)
    await suspend(owners()[1])
    await stage.pass_s(5)
    assert [one.state for one in owners()] == [State.GONE, State.SNAPSHOT]


async def test_it_goes_when_nobody_comes(play, stage, suspend, owners):
    play(means=stage.means(ahead=1, idle_s=5), **VERSION)
    await stage.settle()
    await suspend(owners()[0])
    stage.clock.advance(2 * pool_policy.frequent_s + 1)
    await stage.ended()
    assert owners()[0].state is State.GONE
    assert len(owners()) == 1


@pytest.mark.parametrize("ahead", [0, 1])
async def test_others_have_none(play, stage, owners, ahead):
    play(means=stage.means(ahead=ahead), **(VERSION if not ahead else {}))
    await stage.settle()
    assert owners() == []


async def test_one_that_does_not_come_up_is_not_tried_again(play, stage, owners):
    play(means=stage.means(ahead=1), **VERSION)
    await stage.settle()
    owners()[0].not_entered("cannot mount")
    await stage.pass_s(1)
    assert len(owners()) == 1
