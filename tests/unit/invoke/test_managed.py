"""Several events at a time in one environment, row by row of runtime-protocol 8.2."""

import json

import pytest

from lambdad.invoke.lifecycle import State
from lambdad.invoke.runtime_state import Call, Refused
from lambdad.invoke.shutdown import ShutdownReason
from lambdad.model import limits
from lambdad.model.errors import FunctionError, PlatformFault

pytestmark = pytest.mark.asyncio

TWO = {"max_concurrency": 2}


def invoke(stage, environment, *request_ids):
    return [environment.invoke(stage.invocation(one)) for one in request_ids]


def refusal(call, *arguments):
    with pytest.raises(Refused) as caught:
        call(*arguments)
    return caught.value.status, caught.value.error_type


def report_of(stage, request_id):
    begin = f"REPORT RequestId: {request_id}\t"
    [line] = [line for line in stage.logs.text.splitlines() if line.startswith(begin)]
    return line


# --- init --------------------------------------------------------------------------------------


async def test_the_first_next_of_any_worker_ends_init(stage):
    environment = await stage.managed(1)
    assert environment.state is State.IDLE
    assert environment.can_be_leased


async def test_workers_may_ask_while_extensions_are_not_ready(stage, register, poll):
    environment = await stage.in_init_with("a", **TWO)
    register(environment, "a", "SHUTDOWN")
    polls = [environment.next_event() for _ in range(2)]
    assert environment.state is State.INIT
    assert not environment.can_be_leased
    poll(environment, "a")
    await stage.start
    invoke(stage, environment, "r-1", "r-2")
    assert [one.result().invocation.request_id for one in polls] == ["r-1", "r-2"]


async def test_init_may_take_longer_than_ten_seconds(stage):
    environment = await stage.in_init(**TWO)
    stage.clock.advance(limits.init_phase_ahead_s - 0.1)
    assert environment.state is State.INIT
    stage.clock.advance(0.1)
    with pytest.raises(FunctionError) as caught:
        await stage.start
    assert caught.value.error_type == "Runtime.Unknown"
    await stage.ended()
    assert environment.state is State.GONE


async def test_the_first_worker_that_reports_an_init_error_wins(stage):
    environment = await stage.in_init(**TWO)
    environment.begin_init_error()
    assert refusal(environment.begin_init_error) == (403, "InvalidStateTransition")
    posted = FunctionError("Runtime.ImportModuleError", b'{"errorType":"X"}')
    environment.init_error(posted)
    with pytest.raises(FunctionError) as caught:
        await stage.start
    assert caught.value is posted
    assert environment.state is State.SHUTDOWN


async def test_an_init_error_after_another_workers_next_is_refused(stage):
    environment = await stage.managed(1)
    with pytest.raises(Refused) as caught:
        environment.begin_init_error()
    assert caught.value.message == (
        "State transition from Ready to InitError failed for runtime. "
        "Error: state transition is not allowed"
    )
    assert environment.state is State.IDLE


async def test_an_init_that_fails_is_not_tried_again(stage):
    environment = await stage.in_init(**TWO)
    environment.process_exited("runtime", 1 << 8)
    with pytest.raises(FunctionError) as caught:
        await stage.start
    assert json.loads(caught.value.payload) == {
        "errorType": "Runtime.ExitError",
        "errorMessage": "Error: Runtime exited with error: exit status 1",
    }
    await stage.ended()
    assert stage.holder.told == ["withdrawn", "gone"]


# --- events ------------------------------------------------------------------------------------


async def test_each_worker_that_waits_gets_an_event_of_its_own(stage, answer):
    environment = await stage.managed(2)
    first, second = invoke(stage, environment, "r-1", "r-2")
    assert [one.result().invocation.request_id for one in stage.polls] == ["r-1", "r-2"]
    answer(environment, b"2", "r-2")
    assert second.answered.result() == b"2"
    assert not first.answered.done()
    answer(environment, b"1", "r-1")
    assert first.answered.result() == b"1"


async def test_without_a_worker_that_waits_there_is_no_place(stage):
    environment = await stage.managed(1)
    invoke(stage, environment, "r-1")
    assert not environment.can_be_leased
    with pytest.raises(Refused) as caught:
        invoke(stage, environment, "r-2")
    assert (caught.value.status, caught.value.error_type) == (400, "Runtime.Unavailable")


async def test_the_same_id_is_not_run_twice_at_a_time(stage):
    environment = await stage.managed(2)
    invoke(stage, environment, "r-1")
    assert refusal(environment.invoke, stage.invocation("r-1")) == (
        400, "Client.DuplicatedInvokeId"
    )  # fmt: skip
    assert environment.can_be_leased


async def test_while_it_starts_or_ends_it_takes_no_event(stage):
    environment = await stage.in_init(**TWO)
    assert refusal(environment.invoke, stage.invocation()) == (400, "Runtime.Unavailable")
    environment.next_event()
    await stage.start
    environment.retire()
    assert refusal(environment.invoke, stage.invocation()) == (400, "Runtime.Unavailable")


async def test_a_worker_that_has_gone_is_no_place(stage):
    environment = await stage.managed(2)
    gone, waits = stage.polls
    gone.cancel()
    invoke(stage, environment, "r-1")
    assert waits.result().invocation.request_id == "r-1"
    assert not environment.can_be_leased
    await stage.settle()
    assert not environment._waiting


async def test_each_new_place_is_told_of(stage, answer):
    environment = await stage.managed(1)
    assert stage.holder.told == []
    environment.next_event()
    assert stage.holder.told == ["freed"]
    invoke(stage, environment, "r-1")
    answer(environment)
    assert stage.holder.told == ["freed", "freed"]  # It rests.


async def test_a_worker_may_ask_again_without_an_answer(stage):
    environment = await stage.managed(1)
    invoke(stage, environment, "r-1")
    again = environment.next_event()
    assert not again.done()
    invoke(stage, environment, "r-2")
    assert again.result().invocation.request_id == "r-2"


async def test_ten_thousand_may_wait_and_no_more(stage, monkeypatch):
    monkeypatch.setattr(limits, "managed_polls_max", 3)
    environment = await stage.managed(3)
    assert refusal(environment.next_event) == (500, "Runtime.TooManyIdleRuntimes")


async def test_a_wrong_id_is_refused(stage):
    environment = await stage.managed(1)
    invoke(stage, environment, "r-1")
    for call in (Call.RESPONSE, Call.ERROR):
        assert refusal(environment.begin_answer, "another", call) == (400, "InvalidRequestID")


async def test_a_second_response_while_the_first_comes_is_refused(stage):
    environment = await stage.managed(1)
    [run] = invoke(stage, environment, "r-1")
    begun = environment.begin_answer("r-1", Call.RESPONSE)
    assert refusal(environment.begin_answer, "r-1", Call.RESPONSE) == (400, "InvalidRequestID")
    environment.answer(begun, b"1")
    assert run.answered.result() == b"1"


async def test_an_error_while_the_response_comes_cuts_it_short(stage):
    environment = await stage.managed(1)
    [run] = invoke(stage, environment, "r-1")
    response = environment.begin_answer("r-1", Call.RESPONSE)
    error = environment.begin_answer("r-1", Call.ERROR)
    environment.answer(response, b"too late")
    assert not run.answered.done()
    environment.answer_error(response, FunctionError("Runtime.TruncatedResponse", b""))
    assert not run.answered.done()
    environment.answer_error(error, FunctionError("Runtime.Unknown", b"{}", status=None))
    assert run.answered.exception().payload == b"{}"


@pytest.mark.parametrize("call", [Call.RESPONSE, Call.ERROR])
async def test_after_the_answer_its_id_is_unknown(stage, answer, call):
    environment = await stage.managed(1)
    invoke(stage, environment, "r-1")
    answer(environment)
    assert refusal(environment.begin_answer, "r-1", call) == (400, "InvalidRequestID")


async def test_an_error_of_the_handler_is_a_success_to_the_report(stage, answer_error):
    environment = await stage.managed(1)
    [run] = invoke(stage, environment, "r-1")
    answer_error(environment, b'{"errorType":"ValueError"}')
    assert run.answered.exception().payload == b'{"errorType":"ValueError"}'
    assert "Status" not in report_of(stage, "r-1")
    assert environment.state is State.IDLE


async def test_a_report_shows_the_duration_only(stage, answer):
    environment = await stage.managed(2)
    first, _ = invoke(stage, environment, "r-1", "r-2")
    stage.clock.advance(0.5)
    answer(environment)
    assert report_of(stage, "r-1") == "REPORT RequestId: r-1\tDuration: 500.00 ms\t"
    assert first.finished.done()
    assert environment.state is State.INVOKE


async def test_nothing_is_frozen_between_events(stage, answer):
    environment = await stage.managed(1)
    invoke(stage, environment, "r-1")
    answer(environment)
    environment.next_event()
    stage.clock.advance(60)
    assert environment.state is State.IDLE
    assert not stage.sandboxes[0].frozen


# --- timeouts ----------------------------------------------------------------------------------


async def test_a_timeout_is_the_invokers_to_know_and_ends_nothing(stage, answer):
    environment = await stage.managed(2)
    first, second = invoke(stage, environment, "r-1", "r-2")
    stage.clock.advance(1)
    answer(environment, b"2", "r-2")
    stage.clock.advance(2)
    assert first.answered.exception().payload == (
        b'{"errorType":"Sandbox.Timedout",'
        b'"errorMessage":"RequestId: r-1 Error: Task timed out after 3.00 seconds"}'
    )
    assert second.answered.result() == b"2"
    assert report_of(stage, "r-1").endswith("Status: timeout")
    assert environment.state is State.IDLE
    assert not environment.can_be_leased  # The worker has yet to ask again.
    assert (stage.sandboxes[0].kills, stage.sandboxes[0].signals) == (0, [])
    environment.next_event()
    assert environment.can_be_leased


@pytest.mark.parametrize("call", [Call.RESPONSE, Call.ERROR])
async def test_a_late_answer_is_told_so_once(stage, call):
    environment = await stage.managed(1)
    invoke(stage, environment, "r-1")
    stage.clock.advance(3)
    assert refusal(environment.begin_answer, "r-1", call) == (410, "InvokeTimeout")
    assert refusal(environment.begin_answer, "r-1", call) == (400, "InvalidRequestID")


async def test_an_answer_that_was_cut_off_by_the_timeout_is_told_so_too(stage):
    environment = await stage.managed(1)
    [run] = invoke(stage, environment, "r-1")
    begun = environment.begin_answer("r-1", Call.RESPONSE)
    stage.clock.advance(3)
    assert refusal(environment.answer, begun, b"1") == (410, "InvokeTimeout")
    assert isinstance(run.answered.exception(), FunctionError)
    assert refusal(environment.begin_answer, "r-1", Call.RESPONSE) == (400, "InvalidRequestID")


async def test_as_many_late_ids_are_known_as_may_be(stage, monkeypatch):
    monkeypatch.setattr(limits, "managed_late_ids_max", 1)
    environment = await stage.managed(2)
    invoke(stage, environment, "r-1", "r-2")
    stage.clock.advance(3)
    assert refusal(environment.begin_answer, "r-1", Call.RESPONSE)[0] == 400
    assert refusal(environment.begin_answer, "r-2", Call.RESPONSE)[0] == 410


# --- failures ----------------------------------------------------------------------------------


async def test_an_exit_of_the_runtime_fails_all_that_runs_and_ends_the_environment(stage):
    environment = await stage.managed(2)
    runs = invoke(stage, environment, "r-1", "r-2")
    environment.process_exited("runtime", 1 << 8)
    for request_id, run in zip(("r-1", "r-2"), runs, strict=True):
        assert json.loads(run.answered.exception().payload) == {
            "errorType": "Runtime.ExitError",
            "errorMessage": f"RequestId: {request_id} Error: "
            "Runtime exited with error: exit status 1",
        }
        assert run.finished.done()
        assert report_of(stage, request_id).endswith("Error Type: Runtime.ExitError")
    await stage.ended()
    assert environment.state is State.GONE
    assert stage.holder.told == ["freed", "withdrawn", "gone"]


async def test_a_worker_that_was_killed_for_memory_is_told_when_the_runtime_exits(stage):
    environment = await stage.managed(1)
    [run] = invoke(stage, environment, "r-1")
    stage.sandboxes[0].cgroup.killed_for_memory = 1
    environment.memory_ran_out()
    assert environment.state is State.INVOKE
    environment.process_exited("runtime", 9)
    assert run.answered.exception().error_type == "Runtime.OutOfMemory"


async def test_an_extension_that_crashes_ends_the_environment(stage):
    environment = await stage.idle_with({"a": ("SHUTDOWN",), "b": ("SHUTDOWN",)}, **TWO)
    [run] = invoke(stage, environment, "r-1")
    environment.process_exited("extension:b", 0)
    assert run.answered.exception().error_type == "Extension.Crash"
    assert environment.state is State.SHUTDOWN
    await stage.settle()
    environment.process_exited("runtime", 15)
    await stage.settle()
    assert stage.polls["a"].result().reason is ShutdownReason.FAILURE


async def test_the_death_of_the_sandbox_fails_all_that_runs(stage):
    environment = await stage.managed(2)
    runs = invoke(stage, environment, "r-1", "r-2")
    environment.sandbox_died()
    assert {run.answered.exception().error_type for run in runs} == {"Runtime.ExitError"}
    await stage.ended()
    assert environment.state is State.GONE


async def test_retired_it_fails_all_that_runs_as_a_fault(stage):
    environment = await stage.managed(2)
    runs = invoke(stage, environment, "r-1", "r-2")
    environment.retire()
    for run in runs:
        assert isinstance(run.answered.exception(), PlatformFault)
        assert run.finished.done()
    assert environment.next_event().cancelled()
    await stage.ended()
    stage.clock.advance(60)


# --- extensions and the end --------------------------------------------------------------------


async def test_extensions_hear_of_no_event_but_the_last(stage, register):
    environment = await stage.in_init_with("a", **TWO)
    assert refusal(register, environment, "a", "INVOKE") == (403, "Extension.InvalidEventType")
    with pytest.raises(Refused) as caught:
        register(environment, "inner", "SHUTDOWN")
    assert caught.value.message == "No events allowed for internal extensions"
    register(environment, "a", "SHUTDOWN")


async def test_the_runtime_has_six_hundred_milliseconds_with_or_without_extensions(stage):
    environment = await stage.managed(1)
    environment.retire()
    await stage.pass_s(limits.shutdown_managed_runtime_share_s - 0.1)
    assert stage.sandboxes[0].signals == [("runtime", 15)]
    await stage.pass_s(0.2)
    assert stage.sandboxes[0].signals == [("runtime", 15), ("runtime", 9)]
    assert environment.state is State.GONE


async def test_the_runtime_is_asked_where_extensions_are_switched_off(stage):
    stage.host.extensions_of = lambda _: None
    environment = await stage.managed(1)
    environment.retire()
    await stage.settle()
    assert stage.sandboxes[0].signals == [("runtime", 15)]


async def test_what_happens_is_told_in_order_and_no_runtime_is_ever_done(
    stage, register, poll, answer
):
    environment = await stage.in_init_with("a", **TWO)
    register(environment, "a", "SHUTDOWN")
    courier = stage.subscribed(environment, "a")
    environment.next_event()
    poll(environment, "a")
    await stage.start
    invoke(stage, environment, "r-1")
    stage.clock.advance(0.5)
    answer(environment)
    await stage.pass_s(1.1)
    assert courier.kinds == [
        "initStart", "telemetrySubscription", "initRuntimeDone", "extension", "initReport",
        "start", "report",
    ]  # fmt: skip
    assert courier.events[0]["record"]["initializationType"] == "lambda-managed-instances"
    start, report = courier.events[-2]["record"], courier.events[-1]["record"]
    assert start["functionArn"].endswith(":function:fn")
    assert report["metrics"] == {"durationMs": 500}
    assert {span["name"] for span in report["spans"]} == {"responseLatency", "responseDuration"}
