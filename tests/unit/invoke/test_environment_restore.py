"""What a snapshot means to an environment; nothing is copied here, its processes just wait."""

import pytest

from lambdad.invoke.lifecycle import State
from lambdad.invoke.runtime_state import Refused, RuntimeState
from lambdad.invoke.shutdown import ShutdownReason
from lambdad.model import limits
from lambdad.model.errors import ApiError, FunctionError, PlatformFault

pytestmark = pytest.mark.asyncio

PUBLISHED = {"version": "1", "snap_start": "PublishedVersions"}


async def test_a_runtime_that_asks_to_be_restored_waits_for_an_event(stage):
    environment = await stage.snapshot()
    assert environment.state is State.SNAPSHOT
    assert environment.can_be_leased
    assert not stage.restored.done()
    environment.invoke(stage.invocation())
    assert stage.restored.result() is None


async def test_a_restore_is_told_before_the_event_and_counted_by_itself(stage, answer):
    environment = await stage.in_restore()
    stage.clock.advance(0.25)
    event = environment.next_event()
    assert event.result().invocation.request_id == "r-1"
    assert event.result().deadline_ms == int((stage.clock.now() + 3) * 1000)
    stage.clock.advance(0.5)
    answer(environment, b'"done"')
    environment.next_event()
    assert stage.run.answered.result() == b'"done"'
    assert "RESTORE_REPORT Restore Duration: 250.00 ms\nSTART RequestId: r-1" in stage.logs.text
    assert stage.logs.text.endswith(
        "REPORT RequestId: r-1\tDuration: 500.00 ms\tBilled Duration: 750 ms\t"
        "Memory Size: 128 MB\tMax Memory Used: 36 MB\t"
        "Restore Duration: 250.00 ms\tBilled Restore Duration: 250 ms\t\n"
    )


async def test_the_second_event_shows_no_restore(stage, answer):
    environment = await stage.in_restore()
    environment.next_event()
    answer(environment)
    environment.next_event()
    assert environment.state is State.IDLE
    environment.invoke(stage.invocation("r-2"))
    answer(environment, request_id="r-2")
    environment.next_event()
    assert stage.logs.text.count("\tRestore Duration:") == 1
    assert stage.logs.text.count("RESTORE_REPORT") == 1


async def test_an_init_that_is_published_may_take_longer_than_ten_seconds(stage):
    environment = await stage.in_init(**PUBLISHED)
    stage.clock.advance(limits.init_phase_ahead_s - 0.1)
    assert environment.state is State.INIT
    stage.clock.advance(0.1)
    assert environment.state is State.RESET


async def test_the_latest_version_is_never_restored(stage):
    environment = await stage.in_init(**{**PUBLISHED, "version": "$LATEST"})
    assert not environment.snap_start


async def test_a_runtime_that_asks_for_an_event_instead_is_not_restored(stage):
    environment = await stage.in_init(**PUBLISHED)
    event = environment.next_event()
    await stage.start
    assert environment.state is State.IDLE
    environment.invoke(stage.invocation())
    assert event.result().invocation.request_id == "r-1"
    assert "RESTORE" not in stage.logs.text


@pytest.mark.parametrize("say", ["restore", "init"])
async def test_a_hook_that_fails_is_the_callers_to_know_and_the_end(stage, say):
    environment = await stage.in_restore()
    error = FunctionError("Runtime.AfterRestoreError", b'{"errorMessage":"no"}', status=None)
    if say == "restore":
        environment.begin_restore_error()
        environment.restore_error(error)
    else:
        environment.begin_init_error()
        environment.init_error(error)
    environment.process_exited("runtime", 65 << 8)
    told = stage.run.answered.exception()
    assert isinstance(told, ApiError)
    assert (told.code, told.message) == ("SnapStartException", '{"errorMessage":"no"}')
    assert stage.run.finished.done()
    assert environment.state is State.SHUTDOWN
    assert "Status: error\tError Type: Runtime.AfterRestoreError\n" in stage.logs.text
    assert "START RequestId" not in stage.logs.text
    await stage.ended()
    assert environment.state is State.GONE


async def test_a_hook_that_fails_ends_the_environment_even_if_the_runtime_stays(stage):
    environment = await stage.in_restore()
    environment.begin_restore_error()
    environment.restore_error(FunctionError("Runtime.AfterRestoreError", b"{}", status=None))
    stage.clock.advance(0.1)
    assert stage.run.answered.exception().code == "SnapStartException"
    assert environment.state is State.SHUTDOWN


async def test_after_a_failed_hook_the_runtime_may_say_nothing_more(stage):
    environment = await stage.in_restore()
    environment.begin_restore_error()
    for call in (environment.next_event, environment.restore_next, environment.begin_restore_error):
        with pytest.raises(Refused) as caught:
            call()
        assert "from RuntimeRestoreErrorState to" in caught.value.message


async def test_a_restore_that_takes_too_long_is_the_callers_to_know_and_the_end(stage):
    environment = await stage.in_restore()
    stage.clock.advance(limits.restore_s_max)
    assert stage.run.answered.exception().code == "SnapStartTimeoutException"
    assert environment.state is State.SHUTDOWN
    assert "RESTORE_REPORT Restore Duration: 10000.00 ms\tStatus: timeout\n" in stage.logs.text


async def test_a_runtime_that_exits_while_it_is_restored_ends_the_environment(stage):
    environment = await stage.in_restore()
    environment.process_exited("runtime", 1 << 8)
    told = stage.run.answered.exception()
    assert (told.code, told.message) == (
        "SnapStartException", "Runtime exited with error: exit status 1"
    )  # fmt: skip
    assert environment.state is State.SHUTDOWN


async def test_a_restore_that_fails_is_a_failure_to_extensions(stage, register, poll):
    environment = await stage.in_init_with("a", **PUBLISHED)
    register(environment, "a", "SHUTDOWN")
    event = poll(environment, "a")
    environment.restore_next()
    await stage.start
    environment.invoke(stage.invocation())
    environment.process_exited("runtime", 1 << 8)
    await stage.settle()
    assert event.result().reason is ShutdownReason.FAILURE


async def test_retired_while_it_is_restored_it_tells_of_no_event(stage):
    environment = await stage.in_restore()
    environment.retire()
    assert isinstance(stage.run.answered.exception(), PlatformFault)
    assert stage.run.finished.done()
    assert "RequestId" not in stage.logs.text


async def test_a_runtime_that_dies_while_it_is_suspended_starts_again_within_the_event(
    stage, answer
):
    environment = await stage.snapshot()
    environment.process_exited("runtime", 9)
    assert environment.state is State.RESET
    assert stage.holder.told == ["withdrawn"]
    environment.emptied()
    assert stage.restored.cancelled()
    run = environment.invoke(stage.invocation())
    assert environment.restore_next().done()  # There is nothing to be restored.
    event = environment.next_event()
    assert event.result().invocation.request_id == "r-1"
    answer(environment, b"1")
    environment.next_event()
    assert run.answered.result() == b"1"
    assert "RESTORE" not in stage.logs.text


async def test_a_hook_that_fails_within_the_event_is_an_init_that_fails(stage):
    environment = await stage.snapshot()
    environment.process_exited("runtime", 9)
    environment.emptied()
    run = environment.invoke(stage.invocation())
    environment.restore_next()
    posted = FunctionError("Runtime.AfterRestoreError", b"{}", status=None)
    environment.begin_restore_error()
    environment.restore_error(posted)
    stage.clock.advance(0.1)
    assert environment.state is State.RESET
    environment.emptied()
    assert run.answered.exception() is posted


async def test_who_asks_to_be_restored_while_it_is_ended_is_let_go(stage):
    environment = await stage.in_init(**PUBLISHED)
    stage.clock.advance(limits.init_phase_ahead_s)
    assert environment.state is State.RESET
    assert environment.restore_next().cancelled()
    assert environment.runtime_state is RuntimeState.STARTED


async def test_a_snapshot_that_nobody_asks_for_does_not_run(stage):
    environment = await stage.snapshot()
    environment.rest()
    stage.clock.advance(limits.freeze_after_s)
    assert stage.sandboxes[0].frozen
    environment.invoke(stage.invocation())
    assert not stage.sandboxes[0].frozen


async def test_to_be_restored_is_asked_for_once(stage):
    environment = await stage.snapshot()
    with pytest.raises(Refused) as caught:
        environment.restore_next()
    assert caught.value.message.startswith("State transition from RestoreReady to RestoreReady")
    with pytest.raises(Refused):
        environment.next_event()
