"""What extensions mean to an environment: the order of init, the end of an event, failures."""

import json

import pytest

from lambdad.invoke.lifecycle import State
from lambdad.invoke.runtime_state import Refused
from lambdad.invoke.shutdown import ShutdownReason
from lambdad.model import limits
from lambdad.model.errors import FunctionError

pytestmark = pytest.mark.asyncio

BOTH = ("INVOKE", "SHUTDOWN")


def names_of(sandbox):
    return [wanted.name for wanted in sandbox.started]


def payload_of(run):
    return json.loads(run.answered.exception().payload)


async def reset_done(stage, environment):
    """Whoever runs ends, and so does the reset."""
    for name in environment._guests.running:
        environment.process_exited(name, 9)
    await stage.settle()
    environment.emptied()


# --- the order of init ------------------------------------------------------------------------


async def test_extensions_start_before_the_runtime_which_waits_until_all_have_registered(
    stage, register
):
    environment = await stage.in_init_with("a", "b")
    [sandbox] = stage.sandboxes
    assert names_of(sandbox) == ["extension:a", "extension:b"]
    assert sandbox.started[0].command == ("/opt/extensions/a",)
    assert sandbox.started[0].directory == "/"
    register(environment, "a", "INVOKE")
    assert len(sandbox.started) == 2
    register(environment, "b")
    assert names_of(sandbox) == ["extension:a", "extension:b", "runtime"]


async def test_init_is_complete_only_when_everybody_has_asked_for_an_event(stage, register, poll):
    environment = await stage.in_init_with("a", "b")
    register(environment, "a", "INVOKE")
    register(environment, "b")
    event = environment.next_event()
    poll(environment, "a")
    await stage.settle()
    assert not stage.start.done()
    poll(environment, "b")  # One that wants no events has to ask, too.
    await stage.start
    assert environment.state is State.IDLE
    assert not event.done()


async def test_an_extension_may_be_ready_before_the_runtime_is(stage, register, poll):
    environment = await stage.in_init_with("a")
    register(environment, "a", "INVOKE")
    poll(environment, "a")
    assert environment.state is State.INIT
    environment.next_event()
    await stage.start
    assert environment.state is State.IDLE


async def test_an_internal_extension_registers_before_the_runtimes_first_next_only(
    stage, register, poll
):
    environment = await stage.in_init()
    register(environment, "inner", "INVOKE")
    environment.next_event()
    with pytest.raises(Refused) as caught:
        register(environment, "late", "INVOKE")
    assert caught.value.error_type == "Extension.RegistrationClosed"
    assert environment.state is State.INIT
    poll(environment, "inner")
    await stage.start


async def test_where_extensions_are_switched_off_none_starts(stage):
    stage.host.extensions_of = lambda _: None
    environment = await stage.in_init()
    assert environment.extensions is None
    assert names_of(stage.sandboxes[0]) == ["runtime"]


async def test_each_extension_stands_in_the_log_when_init_is_over(stage):
    await stage.idle_with({"a": BOTH, "b": ()})
    assert stage.logs.text == (
        "EXTENSION\tName: a\tState: Ready\tEvents: [INVOKE, SHUTDOWN]\n"
        "EXTENSION\tName: b\tState: Ready\tEvents: []\n"
    )


# --- init that fails ---------------------------------------------------------------------------


async def fail_by_exit(environment):
    environment.process_exited("extension:a", 0)


async def fail_by_launch(environment):
    environment.process_failed_to_start("extension:a", 13)


async def fail_by_report(environment):
    one = environment.extensions.register("a", ["INVOKE"])
    environment.extensions.init_error(one.identifier, "Extension.Any")
    environment.process_exited("extension:a", 0)


FAILURES = pytest.mark.parametrize(
    ("fail", "error_type", "text"),
    [
        (fail_by_exit, "Extension.Crash", "exit code 0"),
        (
            fail_by_launch, "Extension.LaunchError",
            "fork/exec /opt/extensions/a: permission denied",
        ),
        (fail_by_report, "Extension.InitError", "exit code 0"),
    ],
)  # fmt: skip


@FAILURES
async def test_an_extension_that_fails_fails_init_and_is_started_again_within_the_invoke(
    stage, fail, error_type, text
):
    environment = await stage.in_init_with("a")
    await fail(environment)
    assert environment.state is State.RESET
    assert (
        f"Phase: init\tStatus: error\tError Type: {error_type}\n"
        in stage.logs.text.splitlines(keepends=True)[-1]
    )
    await reset_done(stage, environment)
    await stage.start
    assert environment.state is State.NEEDS_INIT
    run = environment.invoke(stage.invocation())
    assert names_of(stage.sandboxes[0])[-1] == "extension:a"
    await fail(environment)
    await reset_done(stage, environment)
    assert payload_of(run) == {
        "errorType": error_type,
        "errorMessage": f"RequestId: r-1 Error: {text}",
    }
    assert f"RequestId: r-1 Error: {text}\n{error_type}\n" in stage.logs.text


async def test_a_reported_error_alone_ends_nothing_yet(stage, register):
    environment = await stage.in_init_with("a")
    one = register(environment, "a")
    environment.extensions.init_error(one.identifier, "Extension.Any")
    assert environment.state is State.INIT


async def test_what_an_extension_has_reported_is_why_the_runtime_exits(stage, register):
    environment = await stage.in_init_with("a")
    one = register(environment, "a")
    environment.extensions.init_error(one.identifier, "Extension.Any")
    environment.process_exited("runtime", 1 << 8)
    assert stage.logs.text.endswith("Error Type: Extension.InitError\n")


async def test_eleven_extensions_are_too_many(stage):
    names = [f"e{number:02}" for number in range(11)]
    environment = await stage.in_init_with(*names)
    assert len(stage.sandboxes[0].started) == 10
    assert environment.state is State.RESET
    assert "Name: e10\tState: LaunchError\tEvents: []\tError Type: TooManyExtensions\n" in (
        stage.logs.text
    )
    assert stage.logs.text.endswith("Status: error\tError Type: Extension.LaunchError\n")
    await stage.settle()
    assert {name for name, _ in stage.sandboxes[0].signals} == {
        f"extension:{name}" for name in names[:10]
    }


async def test_of_thousands_of_extensions_one_is_told_of_as_too_many(stage):
    environment = await stage.in_init_with(*(f"e{number:05}" for number in range(5_000)))
    assert environment.state is State.RESET
    assert len(environment.extensions.all) == 11
    assert stage.logs.text.count("State: LaunchError") == 1


async def test_eleven_extensions_are_too_many_within_an_invoke_too(stage):
    environment = await stage.in_init_with(*(f"e{number:02}" for number in range(11)))
    await reset_done(stage, environment)
    await stage.start
    run = environment.invoke(stage.invocation())
    assert environment.state is State.RESET
    await reset_done(stage, environment)
    assert payload_of(run)["errorType"] == "Extension.LaunchError"


async def test_one_that_never_registers_uses_up_the_init_phase(stage):
    environment = await stage.in_init_with("a")
    stage.clock.advance(limits.init_phase_s_max)
    assert environment.state is State.RESET
    assert names_of(stage.sandboxes[0]) == ["extension:a"]
    assert stage.logs.text.endswith("Phase: init\tStatus: timeout\n")


async def test_a_suppressed_init_is_told_in_order(stage, answer, register, poll):
    environment = await stage.in_init_with("a")
    environment.process_exited("extension:a", 0)
    await reset_done(stage, environment)
    await stage.start
    environment.invoke(stage.invocation())
    register(environment, "a", "INVOKE")
    courier = stage.subscribed(environment, "a")
    environment.next_event()
    told = poll(environment, "a")
    assert told.result().request_id == "r-1"
    answer(environment)
    environment.next_event()
    poll(environment, "a")
    assert [line.partition(" ")[0].partition("\t")[0] for line in stage.logs.text.splitlines()] == [
        "EXTENSION", "INIT_REPORT", "TELEMETRY", "EXTENSION", "START", "END", "REPORT",
    ]  # fmt: skip
    environment.invoke(stage.invocation("r-2"))
    await stage.pass_s(1.1)
    assert courier.kinds == [
        "initStart", "telemetrySubscription", "initRuntimeDone", "extension", "initReport",
        "start", "runtimeDone", "report", "start",
    ]  # fmt: skip
    assert courier.events[0]["record"]["phase"] == "invoke"


# --- an event ----------------------------------------------------------------------------------


async def test_who_subscribed_is_told_of_an_event_as_soon_as_the_runtime_has_it(stage):
    await stage.running_with({"a": BOTH, "b": ("SHUTDOWN",)})
    told, delivery = stage.polls["a"].result(), stage.event.result()
    assert told.deadline_ms == delivery.deadline_ms
    assert (told.request_id, told.function_arn, told.trace) == (
        "r-1", delivery.invocation.function_arn, delivery.invocation.trace,
    )  # fmt: skip
    assert not stage.polls["b"].done()


async def test_the_invoker_waits_for_no_extension_but_the_report_does(stage, answer, poll):
    environment = await stage.running_with({"a": BOTH})
    answer(environment, b'"done"')
    assert stage.run.answered.result() == b'"done"'
    environment.next_event()
    stage.clock.advance(1)
    assert environment.state is State.INVOKE
    assert "REPORT" not in stage.logs.text
    assert not stage.run.finished.done()
    poll(environment, "a")
    assert environment.state is State.IDLE
    assert "REPORT RequestId: r-1\tDuration: 1000.00 ms" in stage.logs.text
    assert stage.holder.told == ["answered", "freed"]


async def test_extensions_may_be_back_before_the_runtime(stage, answer, poll):
    environment = await stage.running_with({"a": BOTH})
    poll(environment, "a")
    answer(environment)
    assert environment.state is State.INVOKE
    environment.next_event()
    assert environment.state is State.IDLE


async def test_the_next_event_is_not_delivered_before_extensions_are_back(stage, answer, poll):
    environment = await stage.running_with({"a": BOTH})
    answer(environment)
    event = environment.next_event()
    assert not environment.can_be_leased
    again = poll(environment, "a")
    assert environment.can_be_leased
    assert not event.done()
    environment.invoke(stage.invocation("r-2"))
    assert event.result().invocation.request_id == "r-2"
    assert again.result().request_id == "r-2"


async def test_one_without_events_is_not_waited_for(stage, answer):
    environment = await stage.running_with({"a": ()})
    answer(environment)
    environment.next_event()
    assert environment.state is State.IDLE
    assert not stage.polls["a"].done()


async def test_one_that_polls_again_while_nothing_is_out_ends_no_event_twice(stage, answer, poll):
    environment = await stage.running_with({"a": BOTH})
    answer(environment)
    environment.next_event()
    poll(environment, "a").cancel()  # Its connection is gone.
    assert environment.state is State.IDLE
    again = poll(environment, "a")
    environment.invoke(stage.invocation("r-2"))
    assert again.result().request_id == "r-2"


async def test_nothing_is_frozen_before_extensions_are_back(stage, answer, poll):
    environment = await stage.running_with({"a": BOTH})
    answer(environment)
    environment.next_event()
    stage.clock.advance(1)
    assert not stage.sandboxes[0].frozen
    poll(environment, "a")
    stage.clock.advance(limits.freeze_after_s)
    assert stage.sandboxes[0].frozen


# --- an event that fails -------------------------------------------------------------------------


async def test_a_slow_extension_times_out_and_the_invoker_keeps_its_payload(stage, answer):
    environment = await stage.running_with({"a": BOTH})
    answer(environment, b'"mine"')
    environment.next_event()
    stage.clock.advance(3)
    assert environment.state is State.RESET
    assert stage.run.answered.result() == b'"mine"'
    assert stage.run.finished.done()
    assert stage.logs.text.endswith("Status: timeout\n")


async def test_a_crash_is_the_invokers_to_know(stage):
    environment = await stage.running_with({"a": BOTH})
    environment.process_exited("extension:a", 0)
    assert environment.state is State.RESET
    await reset_done(stage, environment)
    assert payload_of(stage.run) == {
        "errorType": "Extension.Crash",
        "errorMessage": "RequestId: r-1 Error: exit code 0",
    }
    assert environment.state is State.NEEDS_INIT


async def test_a_crash_after_the_answer_leaves_the_answer(stage, answer):
    environment = await stage.running_with({"a": BOTH})
    answer(environment, b'"mine"')
    environment.next_event()
    environment.process_exited("extension:a", 9)
    await reset_done(stage, environment)
    assert stage.run.answered.result() == b'"mine"'
    assert "RequestId: r-1 Error: signal: killed\nExtension.Crash\nEND" in stage.logs.text
    assert stage.logs.text.endswith("Status: error\tError Type: Extension.Crash\n")


async def test_an_exit_error_is_told_when_the_process_exits(stage):
    environment = await stage.running_with({"a": BOTH})
    one = environment.extensions.all[0]
    environment.extensions.exit_error(one.identifier, "Extension.Any")
    assert environment.state is State.INVOKE
    environment.process_exited("extension:a", 1 << 8)
    await reset_done(stage, environment)
    assert payload_of(stage.run)["errorType"] == "Extension.ExitError"


async def test_a_crash_while_idle_resets_at_once(stage):
    environment = await stage.idle_with({"a": BOTH})
    environment.process_exited("extension:a", 0)
    assert environment.state is State.RESET
    assert stage.holder.told == ["withdrawn"]
    await reset_done(stage, environment)
    assert stage.holder.told == ["withdrawn", "freed"]


async def test_an_exit_of_who_does_not_run_is_no_exit(stage):
    environment = await stage.idle_with({"a": BOTH})
    environment.process_exited("extension:nobody", 0)
    environment.process_failed_to_start("extension:nobody", 2)
    assert environment.state is State.IDLE


# --- telemetry ----------------------------------------------------------------------------------


async def test_a_cold_start_is_told_in_order(stage, answer, register, poll):
    environment = await stage.in_init_with("a")
    register(environment, "a", "INVOKE")
    courier = stage.subscribed(environment, "a")
    environment.next_event()
    poll(environment, "a")
    await stage.start
    environment.invoke(stage.invocation())
    answer(environment)
    environment.next_event()
    poll(environment, "a")
    environment.invoke(stage.invocation("r-2"))
    await stage.pass_s(1.1)
    assert courier.kinds == [
        "initStart", "telemetrySubscription", "initRuntimeDone", "extension", "initReport",
        "start", "runtimeDone", "report", "start",
    ]  # fmt: skip
    report = courier.events[-2]["record"]
    assert report["metrics"]["initDurationMs"] == 0
    assert [span["name"] for span in report["spans"]] == ["extensionOverhead"]


async def test_who_has_crashed_is_told_of_the_event_that_it_ended(stage, register, poll):
    environment = await stage.in_init_with("a")
    register(environment, "a", "INVOKE", "SHUTDOWN")
    courier = stage.subscribed(environment, "a")
    environment.next_event()
    poll(environment, "a")
    await stage.start
    environment.invoke(stage.invocation())
    environment.process_exited("runtime", 1 << 8)
    await stage.settle()
    done = courier.events[courier.kinds.index("runtimeDone")]["record"]
    assert (done["status"], done["errorType"]) == ("error", "Runtime.ExitError")
    assert courier.kinds[-1] == "report"


async def test_after_init_nobody_subscribes(stage):
    environment = await stage.idle_with({"a": BOTH})
    with pytest.raises(Refused) as caught:
        stage.subscribed(environment, "a")
    assert caught.value.error_type == "Telemetry.SubscriptionClosed"


async def test_nothing_is_delivered_while_frozen(stage, answer, register, poll):
    environment = await stage.in_init_with("a")
    register(environment, "a", "INVOKE")
    courier = stage.subscribed(environment, "a")
    environment.next_event()
    poll(environment, "a")
    await stage.start
    environment.invoke(stage.invocation())
    answer(environment)
    environment.next_event()
    poll(environment, "a")
    await stage.pass_s(5)
    assert stage.sandboxes[0].frozen
    assert "report" not in courier.kinds
    environment.invoke(stage.invocation("r-2"))
    await stage.pass_s(1.1)
    assert "report" in courier.kinds


async def test_after_a_reset_everybody_is_forgotten_and_may_come_again(stage, register, poll):
    environment = await stage.in_init_with("a")
    known = register(environment, "a", "INVOKE")
    first = stage.subscribed(environment, "a")
    environment.next_event()
    poll(environment, "a")
    await stage.start
    run = environment.invoke(stage.invocation())
    environment.process_exited("runtime", 0)
    await reset_done(stage, environment)
    assert isinstance(run.answered.exception(), FunctionError)
    await stage.settle()
    assert first.closed
    environment.invoke(stage.invocation("r-2"))
    with pytest.raises(Refused):
        environment.extensions.find(known.identifier)
    register(environment, "a", "INVOKE")
    second = stage.subscribed(environment, "a")
    environment.next_event()
    poll(environment, "a")
    await stage.pass_s(1.1)
    assert second.kinds[0] == "initStart"


# --- the end ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fail", "reason"),
    [
        (lambda stage, environment: stage.clock.advance(3), ShutdownReason.TIMEOUT),
        (
            lambda stage, environment: environment.process_exited("runtime", 9),
            ShutdownReason.FAILURE,
        ),
        (lambda stage, environment: environment.retire(), ShutdownReason.SPINDOWN),
    ],
)
async def test_extensions_hear_why_it_ends(stage, poll, fail, reason):
    environment = await stage.running_with({"a": BOTH})
    event = poll(environment, "a")
    fail(stage, environment)
    await stage.settle()
    environment.process_exited("runtime", 9)
    await stage.settle()
    assert event.result().reason is reason
