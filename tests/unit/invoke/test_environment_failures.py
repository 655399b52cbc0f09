import json

import pytest

from lambdad.invoke.lifecycle import State
from lambdad.invoke.runtime_state import Call, Refused
from lambdad.model.errors import FunctionError

pytestmark = pytest.mark.asyncio


# --- timeouts -----------------------------------------------------------------------------


async def test_a_timeout_is_told_and_every_process_is_killed(stage):
    environment = await stage.running()
    stage.clock.advance(3)
    assert environment.state is State.RESET
    assert stage.sandboxes[0].kills == 1
    environment.emptied()
    assert stage.run.answered.exception().payload == (
        b'{"errorType":"Sandbox.Timedout",'
        b'"errorMessage":"RequestId: r-1 Error: Task timed out after 3.00 seconds"}'
    )
    assert "Task timed out after 3.00 seconds\nEND RequestId: r-1\n" in stage.logs.text
    assert "Duration: 3000.00 ms\t" in stage.logs.text
    assert stage.logs.text.endswith("Status: timeout\n")


async def test_the_invoker_hears_of_a_failure_when_its_environment_can_be_leased_again(stage):
    environment = await stage.in_reset()
    assert not stage.run.answered.done()
    environment.emptied()
    assert stage.holder.told == ["freed"]
    assert stage.run.answered.done()


async def test_the_invoker_hears_of_a_failure_even_if_the_reset_is_given_up(stage):
    await stage.in_reset()
    stage.clock.advance(2)
    assert isinstance(stage.run.answered.exception(), FunctionError)


async def test_just_before_the_timeout_nothing_happens(stage):
    environment = await stage.running()
    stage.clock.advance(2.99)
    assert environment.state is State.INVOKE
    assert not stage.run.answered.done()


async def test_after_a_timeout_init_runs_within_the_next_invoke(stage, answer):
    environment = await stage.needing_init()
    assert stage.holder.told == ["freed"]
    run = environment.invoke(stage.invocation("r-2"))
    assert environment.state is State.INVOKE
    assert len(stage.sandboxes[0].started) == 2
    event = environment.next_event()
    assert event.result().invocation.request_id == "r-2"
    answer(environment, b'"second life"', "r-2")
    environment.next_event()
    assert run.answered.result() == b'"second life"'
    assert environment.state is State.IDLE


async def test_a_suppressed_init_counts_as_duration(stage, answer):
    environment = await stage.needing_init()
    environment.invoke(stage.invocation("r-2"))
    stage.clock.advance(0.7)
    environment.next_event()
    answer(environment, request_id="r-2")
    environment.next_event()
    last = stage.logs.text.splitlines()[-1]
    assert "\tDuration: 700.00 ms\t" in last
    assert "Init Duration" not in last


async def test_a_suppressed_init_may_use_the_whole_timeout_and_no_more(stage):
    environment = await stage.needing_init()
    run = environment.invoke(stage.invocation("r-2"))
    stage.clock.advance(3)
    assert environment.state is State.RESET
    environment.emptied()
    assert isinstance(run.answered.exception(), FunctionError)
    assert "INIT_REPORT Init Duration: 3000.00 ms\tPhase: invoke\tStatus: timeout\n" in (
        stage.logs.text
    )


async def test_a_late_answer_after_a_timeout_is_refused(stage):
    environment = await stage.in_reset()
    with pytest.raises(Refused) as caught:
        environment.begin_answer("r-1", Call.RESPONSE)
    assert caught.value.status == 400


async def test_a_body_that_was_cut_off_by_the_timeout_answers_nobody(stage):
    environment = await stage.running()
    run = environment.begin_answer("r-1", Call.RESPONSE)
    stage.clock.advance(3)
    environment.answer(run, b'"too late"')
    environment.emptied()
    assert isinstance(stage.run.answered.exception(), FunctionError)
    run = environment.invoke(stage.invocation("r-2"))
    assert not run.answered.done()


async def test_a_timeout_after_the_answer_leaves_the_answer(stage, answer):
    environment = await stage.running()
    answer(environment, b'"in time"')
    stage.clock.advance(3)
    assert stage.run.answered.result() == b'"in time"'
    assert environment.state is State.RESET
    assert stage.logs.text.endswith("Status: timeout\n")


async def test_who_waits_for_an_event_is_let_go_when_the_reset_is_over(stage):
    environment = await stage.idle()
    environment.process_exited("runtime", 0)
    assert not stage.event.done()
    environment.emptied()
    assert stage.event.cancelled()


async def test_what_cannot_be_emptied_in_time_is_given_up(stage):
    environment = await stage.in_reset()
    stage.clock.advance(2)
    await stage.host.settled()
    assert environment.state is State.GONE


async def test_an_environment_that_was_emptied_in_time_stays(stage):
    environment = await stage.needing_init()
    stage.clock.advance(1_000)
    assert environment.state is State.NEEDS_INIT


# --- the init phase that fails --------------------------------------------------------------


async def test_an_init_that_takes_too_long_is_started_again_within_the_invoke(stage):
    environment = await stage.in_init()
    stage.clock.advance(10)
    assert environment.state is State.RESET
    assert stage.logs.text == (
        "INIT_REPORT Init Duration: 10000.00 ms\tPhase: init\tStatus: timeout\n"
    )
    environment.emptied()
    await stage.start
    assert environment.state is State.NEEDS_INIT
    assert stage.holder.told == []


async def test_an_init_that_exits_is_reported(stage):
    environment = await stage.in_init()
    environment.process_exited("runtime", 1 << 8)
    environment.emptied()
    await stage.start
    assert environment.state is State.NEEDS_INIT
    assert stage.logs.text == (
        "INIT_REPORT Init Duration: 0.00 ms\tPhase: init\tStatus: error\t"
        "Error Type: Runtime.ExitError\n"
    )


async def test_an_init_that_fails_twice_is_the_invokers_to_know(stage):
    environment = await stage.in_init()
    environment.process_exited("runtime", 1 << 8)
    environment.emptied()
    await stage.start
    run = environment.invoke(stage.invocation())
    environment.process_exited("runtime", 1 << 8)
    environment.emptied()
    assert json.loads(run.answered.exception().payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": "RequestId: r-1 Error: Runtime exited with error: exit status 1",
    }
    assert "Phase: invoke\tStatus: error\tError Type: Runtime.ExitError\n" in stage.logs.text


async def test_a_posted_init_error_is_what_the_invoker_gets(stage):
    environment = await stage.needing_init()
    run = environment.invoke(stage.invocation("r-2"))
    posted = FunctionError("Runtime.ImportModuleError", b'{"errorType":"X"}')
    environment.begin_init_error()
    environment.init_error(posted)
    environment.process_exited("runtime", 1 << 8)
    assert environment.state is State.RESET
    environment.emptied()
    assert run.answered.exception() is posted
    assert stage.logs.text.endswith("Status: error\tError Type: Runtime.ImportModuleError\n")


async def test_a_posted_init_error_ends_init_even_if_the_runtime_stays(stage):
    environment = await stage.in_init()
    environment.begin_init_error()
    environment.init_error(FunctionError("Runtime.Unknown", b"{}"))
    assert environment.state is State.INIT
    stage.clock.advance(0.1)
    assert environment.state is State.RESET
    assert "Status: error\tError Type: Runtime.Unknown\n" in stage.logs.text


async def test_after_an_init_error_the_runtime_may_say_nothing_more(stage):
    environment = await stage.in_init()
    environment.begin_init_error()
    environment.init_error(FunctionError("Runtime.Unknown", b"{}"))
    with pytest.raises(Refused) as caught:
        environment.next_event()
    assert caught.value.message.startswith("State transition from InitError to Ready failed")
    with pytest.raises(Refused):
        environment.begin_init_error()


async def test_an_init_error_after_init_is_refused(stage):
    environment = await stage.idle()
    with pytest.raises(Refused) as caught:
        environment.begin_init_error()
    assert caught.value.status == 403
    assert environment.state is State.IDLE


@pytest.mark.parametrize(
    ("errno", "text"),
    [
        (2, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
        (13, "fork/exec /var/task/bootstrap: permission denied"),
        (8, "fork/exec /var/task/bootstrap: exec format error"),
    ],
)
async def test_a_bootstrap_that_cannot_run_is_an_invalid_entrypoint(stage, errno, text):
    environment = await stage.needing_init()
    run = environment.invoke(stage.invocation("r-2"))
    environment.process_failed_to_start("runtime", errno)
    environment.emptied()
    assert json.loads(run.answered.exception().payload) == {
        "errorType": "Runtime.InvalidEntrypoint",
        "errorMessage": f"RequestId: r-2 Error: {text}",
    }


# --- exits ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "Runtime exited without providing a reason"),
        (3 << 8, "Runtime exited with error: exit status 3"),
        (11, "Runtime exited with error: signal: segmentation fault"),
    ],
)
async def test_an_exit_in_the_middle_is_told_in_words(stage, status, text):
    environment = await stage.running()
    environment.process_exited("runtime", status)
    environment.emptied()
    assert json.loads(stage.run.answered.exception().payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": f"RequestId: r-1 Error: {text}",
    }
    assert f"RequestId: r-1 Error: {text}\nRuntime.ExitError\nEND RequestId: r-1\n" in (
        stage.logs.text
    )
    assert stage.logs.text.endswith("Status: error\tError Type: Runtime.ExitError\n")


async def test_out_of_memory_is_told_in_the_report_only(stage):
    environment = await stage.running()
    stage.sandboxes[0].cgroup.killed_for_memory = 1
    environment.process_exited("runtime", 9)
    environment.emptied()
    payload = json.loads(stage.run.answered.exception().payload)
    assert payload["errorType"] == "Runtime.ExitError"
    assert payload["errorMessage"].endswith("signal: killed")
    assert stage.logs.text.endswith("Error Type: Runtime.OutOfMemory\n")


async def test_who_lost_a_child_to_the_kernel_does_not_go_on(stage):
    environment = await stage.running()
    environment.memory_ran_out()
    assert environment.state is State.INVOKE  # Nobody has been killed yet.
    stage.sandboxes[0].cgroup.killed_for_memory = 1
    environment.memory_ran_out()
    assert environment.state is State.RESET
    environment.memory_ran_out()
    environment.emptied()
    assert stage.run.answered.exception().error_type == "Runtime.ExitError"
    assert stage.logs.text.endswith("Error Type: Runtime.OutOfMemory\n")


async def test_where_tmp_is_memory_it_goes_with_who_has_filled_it(stage):
    environment = await stage.running()
    stage.sandboxes[0].disk = None
    stage.sandboxes[0].cgroup.killed_for_memory = 1
    environment.process_exited("runtime", 9)
    assert environment.state is State.SHUTDOWN
    assert stage.run.answered.exception().error_type == "Runtime.ExitError"


async def test_out_of_memory_is_told_once(stage):
    environment = await stage.running()
    stage.sandboxes[0].cgroup.killed_for_memory = 1
    environment.process_exited("runtime", 9)
    environment.emptied()
    environment.invoke(stage.invocation("r-2"))
    environment.process_exited("runtime", 9)
    assert stage.logs.text.endswith("Error Type: Runtime.ExitError\n")


async def test_an_exit_while_idle_withdraws_and_resets(stage):
    environment = await stage.idle()
    environment.process_exited("runtime", 0)
    assert stage.holder.told == ["withdrawn"]
    assert environment.state is State.RESET
    environment.emptied()
    assert stage.holder.told == ["withdrawn", "freed"]
    assert environment.state is State.NEEDS_INIT


async def test_an_exit_after_the_answer_leaves_the_answer(stage, answer):
    environment = await stage.running()
    answer(environment, b'"mine"')
    environment.process_exited("runtime", 0)
    assert stage.run.answered.result() == b'"mine"'
    assert stage.run.finished.done()
    assert environment.state is State.RESET
    assert stage.logs.text.endswith("Status: error\tError Type: Runtime.ExitError\n")


@pytest.mark.parametrize("state", [State.RESET, State.NEEDS_INIT])
async def test_the_exits_of_a_reset_change_nothing(stage, state):
    environment = await stage.in_state(state)
    before = stage.logs.text
    environment.process_exited("runtime", 9)
    assert (environment.state, stage.logs.text) == (state, before)


async def test_the_last_words_stand_before_the_report(stage, write):
    environment = await stage.running()
    write(environment, b"Traceback\n")
    environment.process_exited("runtime", 1 << 8)
    assert stage.logs.text.index("Traceback") < stage.logs.text.index("END RequestId")
