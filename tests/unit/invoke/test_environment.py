import pytest

from lambdad.invoke import host as host_module
from lambdad.invoke.lifecycle import IllegalTransition, State
from lambdad.invoke.runtime_state import Call, Refused
from lambdad.model import limits
from lambdad.model.errors import FunctionError, PlatformFault
from lambdad_sandbox.cgroup import CannotLimit
from lambdad_sandbox.messages import StartProcess

pytestmark = pytest.mark.asyncio


# --- start ----------------------------------------------------------------------------


async def test_a_sandbox_and_the_runtime_in_it_are_asked_for_in_one_breath(stage):
    environment = await stage.starting()
    [sandbox] = stage.sandboxes
    assert sandbox.name == environment.id
    [wanted] = sandbox.started
    assert wanted == StartProcess(
        "runtime", ("/var/task/bootstrap",), wanted.environ, "/var/task", ("stdout",)
    )
    assert wanted.environ["AWS_LAMBDA_LOG_STREAM_NAME"] == environment.log_stream
    assert environment.state is State.STARTING


async def test_the_limits_are_the_functions_and_inits_on_top(stage):
    await stage.starting(memory_mb=512)
    memory_bytes, cpus = stage.sandboxes[0].cgroup.grown
    assert memory_bytes == (512 + 2) * 1024 * 1024
    assert cpus == pytest.approx(512 / 1769)


async def test_the_runtimes_first_next_ends_init(stage):
    environment = await stage.in_init()
    assert not stage.start.done()
    event = environment.next_event()
    await stage.start
    assert environment.state is State.IDLE
    assert not event.done()


async def test_the_door_opens_on_the_listener_that_came_out(stage):
    environment = await stage.in_init()
    assert stage.door.opened == [(environment, "listener")]


async def test_a_cold_start_shows_its_init_once(stage, answer):
    environment = await stage.in_init()
    stage.clock.advance(0.25)
    environment.next_event()
    await stage.start
    for request_id in ("r-1", "r-2"):
        environment.invoke(stage.invocation(request_id))
        answer(environment, request_id=request_id)
        environment.next_event()
    assert stage.logs.text.count("Init Duration: 250.00 ms") == 1


async def test_without_a_cgroup_there_is_no_environment_and_no_remains(stage):
    stage.keeper.refusal = CannotLimit("no memory")
    environment = await stage.starting()
    with pytest.raises(PlatformFault, match="cannot run the environment: no memory"):
        await stage.start
    await stage.host.settled()
    assert environment.state is State.GONE
    assert stage.holder.told == ["withdrawn", "gone"]
    assert len(stage.host._uids._free) == 4_096


async def test_without_its_code_there_is_no_environment_and_no_remains(stage, monkeypatch):
    kind = host_module.Sandbox
    monkeypatch.setattr(kind, "refusal", FileNotFoundError(2, "no such file"))
    await stage.starting()
    with pytest.raises(PlatformFault, match="no such file"):
        await stage.start
    await stage.host.settled()
    assert stage.sandboxes[0].removed


async def test_a_sandbox_that_cannot_be_entered_says_why(stage):
    environment = await stage.starting()
    environment.not_entered("cannot mount proc: EPERM")
    with pytest.raises(PlatformFault, match="cannot mount proc: EPERM"):
        await stage.start
    await stage.host.settled()
    assert environment.state is State.GONE


# --- one event after another ------------------------------------------------------------


async def test_a_waiting_next_gets_the_event(stage):
    environment = await stage.running()
    delivery = stage.event.result()
    assert delivery.invocation.request_id == "r-1"
    assert delivery.deadline_ms == int((stage.clock.now() + 3) * 1000)
    assert environment.state is State.INVOKE


async def test_the_invoker_has_its_payload_before_the_runtime_comes_back(stage, answer):
    environment = await stage.running()
    answer(environment, b'"done"')
    assert stage.run.answered.result() == b'"done"'
    assert not stage.run.finished.done()
    assert stage.holder.told == ["answered"]
    environment.next_event()
    assert stage.run.finished.done()
    assert stage.holder.told == ["answered", "freed"]
    assert environment.state is State.IDLE


async def test_a_warm_environment_runs_event_after_event_in_one_process(stage, answer):
    environment = await stage.idle()
    event = stage.event
    for request_id in ("r-1", "r-2", "r-3"):
        run = environment.invoke(stage.invocation(request_id, request_id.encode()))
        assert event.result().invocation.payload == request_id.encode()
        answer(environment, b"1", request_id)
        event = environment.next_event()
        assert run.answered.result() == b"1"
    assert len(stage.sandboxes[0].started) == 1


async def test_nothing_runs_while_no_event_is_out(stage, answer):
    environment = await stage.running()
    [sandbox] = stage.sandboxes
    answer(environment, b"1")
    assert not sandbox.frozen  # The runtime has yet to come back.
    event = environment.next_event()
    stage.clock.advance(limits.freeze_after_s)
    assert sandbox.frozen
    environment.invoke(stage.invocation("r-2"))
    assert not sandbox.frozen
    assert event.result().invocation.request_id == "r-2"


async def test_who_is_asked_without_a_pause_is_not_frozen_meanwhile(stage, answer):
    environment = await stage.running()
    answer(environment, b"1")
    environment.next_event()
    stage.clock.advance(limits.freeze_after_s / 2)
    environment.invoke(stage.invocation("r-2"))
    stage.clock.advance(limits.freeze_after_s)
    assert not stage.sandboxes[0].frozen


async def test_what_is_leased_the_moment_it_is_free_is_not_frozen(stage, answer):
    environment = await stage.running()
    stage.holder.freed = lambda freed: freed.invoke(stage.invocation("r-2"))
    answer(environment, b"1")
    environment.next_event()
    assert environment.state is State.INVOKE
    assert not stage.sandboxes[0].frozen


async def test_a_frozen_environment_can_be_reset_and_retired(stage, answer):
    environment = await stage.running()
    answer(environment, b"1")
    environment.next_event()
    stage.clock.advance(limits.freeze_after_s)
    assert stage.sandboxes[0].frozen
    environment.process_exited("runtime", 9)
    assert environment.state is State.RESET  # FakeSandbox refuses to kill what is frozen.
    environment.retire()
    await stage.settle()
    assert environment.state is State.GONE


async def test_a_busy_environment_takes_no_second_event(stage):
    environment = await stage.running()
    with pytest.raises(IllegalTransition):
        environment.invoke(stage.invocation("r-2"))


async def test_a_second_next_gets_the_same_event(stage):
    environment = await stage.running()
    assert environment.next_event().result() is stage.event.result()


async def test_two_that_wait_get_the_same_event(stage):
    environment = await stage.idle()
    second = environment.next_event()
    environment.invoke(stage.invocation())
    assert second.result() is stage.event.result()


@pytest.mark.parametrize("call", [Call.RESPONSE, Call.ERROR])
async def test_a_wrong_id_is_refused_and_the_invoke_goes_on(stage, answer, call):
    environment = await stage.running()
    with pytest.raises(Refused) as caught:
        environment.begin_answer("another", call)
    assert (caught.value.status, caught.value.error_type) == (400, "InvalidRequestID")
    answer(environment)
    assert stage.run.answered.result() == b"null"


@pytest.mark.parametrize("call", [Call.RESPONSE, Call.ERROR])
async def test_a_second_answer_is_refused_and_the_first_stands(stage, answer, call):
    environment = await stage.running()
    answer(environment, b'"first"')
    with pytest.raises(Refused) as caught:
        environment.begin_answer("r-1", call)
    assert (caught.value.status, caught.value.error_type) == (403, "InvalidStateTransition")
    assert stage.run.answered.result() == b'"first"'


async def test_an_answer_to_the_event_before_is_refused(stage, answer):
    environment = await stage.running()
    answer(environment)
    environment.next_event()
    with pytest.raises(Refused) as caught:
        environment.begin_answer("r-1", Call.RESPONSE)
    assert caught.value.status == 400


async def test_an_answer_before_any_event_is_refused(stage):
    environment = await stage.in_init()
    with pytest.raises(Refused) as caught:
        environment.begin_answer("r-1", Call.RESPONSE)
    assert caught.value.status == 400


async def test_an_error_of_the_handler_keeps_the_environment(stage, answer_error):
    environment = await stage.running()
    answer_error(environment, b'{"errorType":"ValueError"}')
    environment.next_event()
    with pytest.raises(FunctionError) as caught:
        await stage.run.answered
    assert caught.value.payload == b'{"errorType":"ValueError"}'
    assert environment.state is State.IDLE
    assert stage.sandboxes[0].kills == 0
    assert "Status:" not in stage.logs.text


async def test_the_lines_of_an_invoke_stand_in_order(stage, answer, write):
    environment = await stage.running()
    write(environment, b"of the function\n")
    answer(environment)
    stage.clock.advance(0.5)
    environment.next_event()
    assert stage.logs.text == (
        "START RequestId: r-1 Version: $LATEST\n"
        "of the function\n"
        "END RequestId: r-1\n"
        "REPORT RequestId: r-1\tDuration: 500.00 ms\tBilled Duration: 500 ms\t"
        "Memory Size: 128 MB\tMax Memory Used: 36 MB\tInit Duration: 0.00 ms\t\n"
    )
    assert stage.run.finished.result().decode() == stage.logs.text


async def test_the_tail_is_the_last_four_kilobytes(stage, answer, write):
    environment = await stage.running()
    write(environment, b"x" * 9_000 + b"\n")
    answer(environment)
    environment.next_event()
    tail = stage.run.finished.result()
    assert len(tail) == 4_096
    assert tail == stage.logs.text.encode()[-4_096:]


async def test_the_tail_holds_nothing_of_the_invoke_before(stage, answer, write):
    environment = await stage.running()
    write(environment, b"first\n")
    answer(environment)
    environment.next_event()
    run = environment.invoke(stage.invocation("r-2"))
    answer(environment, request_id="r-2")
    environment.next_event()
    assert b"first" not in run.finished.result()
    assert run.finished.result().startswith(b"START RequestId: r-2")
