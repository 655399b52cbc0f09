import asyncio
import gc

import pytest

from lambdad.invoke.lifecycle import State
from lambdad.model.errors import ApiError, PlatformFault

pytestmark = pytest.mark.asyncio


@pytest.fixture
def refused_with():
    """Waits for a throttle; gives its reason."""

    async def made(awaitable):
        with pytest.raises(ApiError) as caught:
            await awaitable
        return caught.value.members["Reason"]

    return made


async def test_the_first_invocation_starts_an_environment(play):
    played = play()
    environment, run, _ = await played.cold()
    assert environment.state is State.INVOKE
    assert not run.answered.done()
    assert played.account.running == 1


async def test_a_finished_run_gives_its_place_back(play):
    played = play()
    environment, run, request_id = await played.cold()
    await played.finish(environment, request_id)
    assert run.finished.done()
    assert played.account.running == 0


async def test_the_environment_used_last_is_leased_first(play):
    played = play()
    first, second, third = await played.idle(3)
    for expected in (third, second, first):
        task, request_id = await played.arrive()
        await task
        assert expected._run.invocation.request_id == request_id


async def test_two_at_a_time_run_in_two_environments(play):
    played = play()
    (first, *_), (second, *_) = await played.cold(), await played.cold()
    assert first is not second
    assert played.account.running == 2


async def test_a_warm_environment_is_used_again(play):
    played = play()
    [environment] = await played.idle(1)
    task, request_id = await played.arrive()
    await task
    assert len(played.stage.sandboxes) == 1
    assert environment._run.invocation.request_id == request_id


async def test_who_comes_while_one_is_finishing_waits_for_it(play, answer):
    played = play()
    environment, _, request_id = await played.cold()
    answer(environment, request_id=request_id)
    task, second_id = await played.arrive()
    assert not task.done()
    assert len(played.stage.sandboxes) == 1
    environment.next_event()
    await task
    assert environment._run.invocation.request_id == second_id
    assert len(played.stage.sandboxes) == 1


async def test_who_has_waited_too_long_gets_a_new_environment(play, answer):
    played = play()
    environment, _, request_id = await played.cold()
    answer(environment, request_id=request_id)
    task, second_id = await played.arrive()
    played.stage.clock.advance(0.02)
    await played.stage.settle()
    assert len(played.stage.sandboxes) == 2
    other = await played.come_up()
    await task
    assert other._run.invocation.request_id == second_id
    environment.next_event()
    assert environment.state is State.IDLE


async def test_no_more_wait_than_are_finishing(play, answer):
    played = play()
    environment, _, request_id = await played.cold()
    answer(environment, request_id=request_id)
    waiting, _ = await played.arrive()
    await played.arrive()
    assert len(played.stage.sandboxes) == 2
    await played.come_up()
    environment.next_event()
    await waiting


async def test_above_the_limit_is_refused_in_the_services_words(play):
    played = play(limit=1)
    environment, _, request_id = await played.cold()
    task, _ = await played.arrive()
    with pytest.raises(ApiError) as caught:
        await task
    assert (caught.value.code, caught.value.message) == (
        "TooManyRequestsException", "Rate Exceeded."
    )  # fmt: skip
    assert caught.value.members["Reason"] == "ConcurrentInvocationLimitExceeded"
    assert played.account.running == 1
    await played.finish(environment, request_id)
    await (await played.arrive())[0]


async def test_what_is_reserved_is_for_all_versions_together(play, stage, refused_with):
    played = play(limit=10)
    played.account.reserve("fn", 1)
    environment, _, request_id = await played.cold()
    version = stage.pool(stage.means(played.account))
    reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert await refused_with(version.invoke(stage.invocation())) == reason
    await played.finish(environment, request_id)
    await (await played.arrive())[0]


async def test_what_others_have_reserved_is_not_to_be_had(play, refused_with):
    played = play(limit=3)
    played.account.reserve("other", 2)
    await played.cold()
    reason = "ConcurrentInvocationLimitExceeded"
    assert await refused_with((await played.arrive())[0]) == reason


async def test_the_limit_is_the_accounts_not_the_pools(play, stage, answer):
    played = play(limit=1)
    await played.cold()
    other = stage.pool(stage.means(played.account), name="other")
    with pytest.raises(ApiError):
        await other.invoke(stage.invocation("r-other"))


async def test_an_environment_that_cannot_be_had_gives_its_place_back(play):
    played = play()
    task, _ = await played.arrive()
    played.newest.not_entered("cannot mount")
    with pytest.raises(PlatformFault, match="cannot mount"):
        await task
    assert played.account.running == 0


async def test_what_was_idle_too_long_is_retired_and_the_rest_stays(play):
    played = play(idle_s=60)
    first, second = await played.idle(2)
    played.stage.clock.advance(30)
    task, request_id = await played.arrive()
    await task
    await played.finish(second, request_id)
    played.stage.clock.advance(30)
    await played.stage.host.settled()
    assert (first.state, second.state) == (State.GONE, State.IDLE)
    played.stage.clock.advance(30)
    await played.stage.host.settled()
    assert second.state is State.GONE
    assert played.stage.emptied == []  # It may be asked again.


async def test_a_busy_environment_does_not_expire(play):
    played = play(idle_s=1)
    environment, _, request_id = await played.cold()
    played.stage.clock.advance(2)
    assert environment.state is State.INVOKE
    await played.finish(environment, request_id)
    assert environment.state is State.IDLE


async def test_a_retired_pool_ends_idle_environments_now_and_busy_ones_when_they_are_done(play):
    played = play()
    environment, run, request_id = await played.cold()
    idle, _, idle_id = await played.cold()
    await played.finish(idle, idle_id)
    played.pool.retire()
    await played.stage.settle()
    assert (idle.state, environment.state) == (State.GONE, State.INVOKE)
    await played.finish(environment, request_id)
    await played.stage.host.settled()
    assert run.answered.result() == b"null"
    assert environment.state is State.GONE
    assert played.stage.emptied == [played.pool]


async def test_what_was_starting_when_the_pool_retired_runs_once_and_ends(play):
    played = play()
    task, request_id = await played.arrive()
    played.pool.retire()
    environment = await played.come_up()
    run = await task
    await played.finish(environment, request_id)
    await played.stage.host.settled()
    assert run.answered.result() == b"null"
    assert environment.state is State.GONE


async def test_a_killed_pool_ends_busy_environments_too(play):
    played = play()
    _, run, _ = await played.cold()
    starting, _ = await played.arrive()
    played.pool.kill()
    with pytest.raises(PlatformFault):
        await run.answered
    with pytest.raises(PlatformFault):
        await starting
    await played.stage.host.settled()
    assert played.stage.emptied == [played.pool]
    assert played.account.running == 0


async def test_an_environment_that_needs_init_is_leased_like_any_other(play):
    played = play()
    environment, run, _ = await played.cold()
    played.stage.clock.advance(3)
    environment.emptied()
    assert run.answered.exception() is not None
    task, request_id = await played.arrive()
    await task
    assert len(played.stage.sandboxes) == 1
    assert environment.next_event().result().invocation.request_id == request_id


async def test_a_failed_init_is_tried_again_within_the_invoke(play):
    played = play()
    task, request_id = await played.arrive()
    played.newest.entered("listener")
    played.newest.process_exited("runtime", 1 << 8)
    played.newest.emptied()
    await task
    assert len(played.stage.sandboxes[0].started) == 2
    assert played.newest.next_event().result().invocation.request_id == request_id


async def test_what_dies_while_idle_is_forgotten(play):
    played = play()
    [environment] = await played.idle(1)
    environment.sandbox_died()
    await played.stage.host.settled()
    await played.cold()
    assert len(played.stage.sandboxes) == 2


async def test_what_resets_while_idle_is_not_leased(play):
    played = play()
    [environment] = await played.idle(1)
    environment.process_exited("runtime", 0)
    await played.cold()
    assert len(played.stage.sandboxes) == 2
    assert environment.state is State.RESET


async def test_what_died_while_idle_is_not_leased_while_it_is_removed(play):
    played = play()
    [environment] = await played.idle(1)
    played.stage.sandboxes[0].may_go.clear()
    environment.sandbox_died()
    task, _ = await played.arrive()
    assert not task.done()
    played.pool.kill()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_exits_between_init_and_its_first_lease_is_reset(play):
    played = play()
    task, _ = await played.arrive()
    environment = played.newest
    environment.entered("listener")
    environment.next_event()
    try:
        environment.process_exited("runtime", 0)
        assert environment.state is State.RESET
    finally:
        task.cancel()


async def test_what_exits_when_it_was_promised_to_who_waits_is_reset(play, answer):
    played = play()
    environment, _, request_id = await played.cold()
    answer(environment, request_id=request_id)
    task, _ = await played.arrive()
    environment.next_event()
    try:
        environment.process_exited("runtime", 0)
        assert environment.state is State.RESET
    finally:
        task.cancel()


async def test_after_a_kill_nothing_is_started(play, answer):
    played = play()
    environment, _, request_id = await played.cold()
    answer(environment, request_id=request_id)
    task, _ = await played.arrive()
    played.pool.kill()
    played.stage.clock.advance(0.02)
    await played.stage.settle()
    try:
        assert len(played.stage.sandboxes) == 1
    finally:
        task.cancel()


@pytest.mark.parametrize("waiting_for", ["a start", "a finishing environment"])
async def test_a_caller_that_is_cancelled_gives_its_place_back(play, answer, waiting_for):
    played = play()
    environment, _, request_id = await played.cold()
    if waiting_for != "a start":
        answer(environment, request_id=request_id)
    task, _ = await played.arrive()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert played.account.running == 1


async def test_a_pool_that_never_ran_is_empty_as_soon_as_it_is_retired(play):
    played = play()
    played.pool.retire()
    assert played.stage.emptied == [played.pool]


async def test_a_start_whose_caller_has_gone_serves_the_next(play):
    played = play()
    task = asyncio.ensure_future(played.pool.invoke(played.stage.invocation("r-1")))
    await played.stage.settle()
    [sandbox] = played.stage.sandboxes
    task.cancel()
    await played.stage.settle()
    environment = sandbox.owner
    environment.entered(None)
    await played.stage.settle()
    environment.next_event()
    await played.stage.settle()
    run = await played.pool.invoke(played.stage.invocation("r-2"))
    assert run.invocation.request_id == "r-2"
    assert len(played.stage.sandboxes) == 1
    played.pool.kill()
    await played.stage.host.settled()


async def test_what_began_when_its_caller_was_about_to_go_runs_to_its_end(play, answer):
    played = play()
    environment, _, request_id = await played.cold()
    answer(environment, request_id=request_id)
    waiting, second_id = await played.arrive()
    environment.next_event()
    waiting.cancel()  # In the same moment.
    await played.stage.settle()
    assert environment._run.invocation.request_id == second_id
    assert played.account.running == 1
    await played.finish(environment, second_id)
    assert played.account.running == 0
    task, next_id = await played.arrive()
    await task
    assert environment._run.invocation.request_id == next_id


async def test_what_is_free_in_the_moment_in_which_a_caller_goes_is_not_used_for_it(play, answer):
    played = play()
    environment, _, request_id = await played.cold()
    answer(environment, request_id=request_id)
    waiting, _ = await played.arrive()
    waiting.cancel()
    environment.next_event()  # In the same moment.
    await played.stage.settle()
    assert environment.state is State.IDLE
    assert played.account.running == 0


async def test_what_ends_between_its_start_and_its_first_event_is_replaced(play):
    played = play()
    task, request_id = await played.arrive()
    environment = played.newest
    environment.entered("listener")
    environment.next_event()
    environment.process_exited("runtime", 0)
    await played.stage.settle()
    other = await played.come_up()
    assert (await task).invocation.request_id == request_id
    assert other is not environment


async def test_a_function_that_always_ends_before_its_first_event_is_a_fault(play):
    played = play()
    task, _ = await played.arrive()
    while not task.done():
        environment = played.newest
        environment.entered("listener")
        environment.next_event()
        environment.process_exited("runtime", 0)
        await played.stage.settle()
    with pytest.raises(PlatformFault, match="before they can be used"):
        await task
    assert len(played.stage.sandboxes) == 3
    assert played.account.running == 0


async def test_a_start_whose_caller_has_gone_may_fail_without_a_word(play):
    played = play()
    task, _ = await played.arrive()
    task.cancel()
    await played.stage.settle()
    played.newest.not_entered("cannot mount")
    await played.stage.ended()
    del task
    gc.collect()  # Stage complains of what nobody has looked at.
    await played.stage.settle()
    assert played.pool._all == set()
