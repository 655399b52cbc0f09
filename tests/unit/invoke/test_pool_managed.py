"""A pool whose environments run several events at a time."""

import asyncio

import pytest

from lambdad.invoke.lifecycle import State
from lambdad.model.errors import FunctionError

pytestmark = pytest.mark.asyncio

TWO = {"max_concurrency": 2}


async def test_a_second_event_takes_the_second_place(play, answer):
    played = play(**TWO)
    environment, _, first_id = await played.cold()
    environment.next_event()
    second, second_id = await played.arrive()
    await second
    assert set(environment._tasks) == {first_id, second_id}
    assert played.account.running == 2
    for request_id in (first_id, second_id):
        answer(environment, request_id=request_id)
    await played.stage.settle()
    assert played.account.running == 0


async def test_only_its_first_event_was_a_cold_start(play):
    played = play(**TWO)
    environment, _, _ = await played.cold()
    environment.next_event()
    await (await played.arrive())[0]
    census = played.pool.census()
    assert (census.invocations, census.cold) == (2, 1)
    assert [one.uses for one in census.environments] == [2]


async def test_places_that_were_there_before_the_first_event_are_leased_too(play):
    played = play(**TWO)
    task, _ = await played.arrive()
    environment = played.newest
    environment.entered("listener")
    for _ in range(2):
        environment.next_event()
    await task
    await (await played.arrive())[0]
    assert len(environment._tasks) == 2
    assert len(played.stage.sandboxes) == 1


async def test_one_that_rests_with_two_places_takes_two_events(play, answer):
    played = play(**TWO)
    environment, _, request_id = await played.cold()
    answer(environment, request_id=request_id)
    for _ in range(2):
        environment.next_event()
    for _ in range(2):
        await (await played.arrive())[0]
    assert len(environment._tasks) == 2
    assert len(played.stage.sandboxes) == 1


async def test_without_a_place_another_environment_starts(play):
    played = play(**TWO)
    environment, _, _ = await played.cold()
    await played.pass_s(0.05)  # Its second worker could have come.
    task, request_id = await played.arrive()
    assert len(played.stage.sandboxes) == 2
    other = await played.come_up()
    await task
    assert request_id in other._tasks
    assert other is not environment


async def test_who_comes_while_one_starts_takes_its_other_place(play):
    played = play(max_concurrency=3)
    tasks = [(await played.arrive())[0] for _ in range(4)]
    assert len(played.stage.sandboxes) == 2
    for sandbox in played.stage.sandboxes:
        sandbox.owner.entered("listener")
    for environment in (sandbox.owner for sandbox in played.stage.sandboxes):
        environment.next_event()
        await played.stage.settle()
    assert [task.done() for task in tasks] == [True, True, False, False]
    for _ in range(2):  # Its other workers are there a moment later.
        played.stage.sandboxes[0].owner.next_event()
    await asyncio.gather(*tasks)
    await played.pass_s(0.05)
    assert len(played.stage.sandboxes) == 2


async def test_one_that_takes_fewer_events_than_were_hoped_for_is_not_waited_for(play):
    played = play(max_concurrency=3)
    first, _ = await played.arrive()
    second, request_id = await played.arrive()
    environment = await played.come_up()
    await first
    await played.pass_s(0.05)
    assert len(played.stage.sandboxes) == 2
    other = await played.come_up()
    await second
    assert request_id in other._tasks
    assert other is not environment


async def test_a_place_whose_worker_has_gone_is_passed_over(play):
    played = play(**TWO)
    environment, _, _ = await played.cold()
    environment.next_event().cancel()
    task, request_id = await played.arrive()
    await played.pass_s(0.05)
    other = await played.come_up()
    await task
    assert request_id in other._tasks


async def test_the_same_id_twice_at_a_time_takes_another_environment(play, stage):
    played = play(**TWO)
    environment, _, request_id = await played.cold()
    environment.next_event()
    again = asyncio.ensure_future(played.pool.invoke(stage.invocation(request_id)))
    await played.pass_s(0.05)
    other = await played.come_up()
    assert (await again).invocation.request_id == request_id
    assert list(other._tasks) == list(environment._tasks) == [request_id]


async def test_an_init_that_fails_is_the_callers_to_know_and_gives_its_place_back(play):
    played = play(**TWO)
    task, _ = await played.arrive()
    played.newest.entered("listener")
    played.newest.process_exited("runtime", 1 << 8)
    with pytest.raises(FunctionError) as caught:
        await task
    assert caught.value.error_type == "Runtime.ExitError"
    assert played.account.running == 0
    await played.stage.ended()
    assert played.pool._all == set()


async def test_what_runs_something_does_not_expire(play, answer):
    played = play(idle_s=1, timeout_s=900, **TWO)
    environment, _, request_id = await played.cold()
    environment.next_event()
    played.stage.clock.advance(5)
    assert environment.state is State.INVOKE
    answer(environment, request_id=request_id)
    played.stage.clock.advance(0.9)
    assert environment.state is State.IDLE
    played.stage.clock.advance(0.2)
    assert environment.state is State.SHUTDOWN


async def test_one_whose_workers_never_come_back_expires_like_any_other(play):
    played = play(idle_s=60, **TWO)
    environment, _, _ = await played.cold()
    played.stage.clock.advance(3)
    assert environment.state is State.IDLE
    assert not environment.can_be_leased
    other, _, _ = await played.cold()
    assert other is not environment
    played.stage.clock.advance(57)
    assert (environment.state, other.state) == (State.IDLE, State.IDLE)
    played.stage.clock.advance(3)
    assert (environment.state, other.state) == (State.SHUTDOWN, State.IDLE)


async def test_a_retired_pool_ends_what_rests_now_and_the_others_with_their_last_event(
    play, answer
):
    played = play(**TWO)
    resting, _, resting_id = await played.cold()
    await played.pass_s(0.05)
    busy, run, busy_id = await played.cold()
    busy.next_event()
    answer(resting, request_id=resting_id)  # Its worker does not come back.
    played.pool.retire()
    assert (resting.state, busy.state) == (State.SHUTDOWN, State.INVOKE)
    busy.next_event()
    assert busy.state is State.INVOKE
    answer(busy, b"1", busy_id)
    assert run.answered.result() == b"1"
    assert busy.state is State.SHUTDOWN
    await played.stage.ended()
    assert played.stage.emptied == [played.pool]
