"""Who is asked to end when, and how long each may take: on a clock that is told to pass."""

import asyncio
import signal

import pytest

from lambdad.invoke.lifecycle import State
from lambdad.invoke.shutdown import ShutdownReason
from lambdad.model import limits

pytestmark = pytest.mark.asyncio

TERM, KILL = signal.SIGTERM, signal.SIGKILL
SHARE_S, TOTAL_S = limits.shutdown_runtime_share_s, limits.shutdown_external_s


async def with_internal(stage):
    """Only an internal extension has registered."""
    environment = await stage.in_init()
    environment.extensions.register("inner", ["INVOKE"])
    environment.next_event()
    environment.extensions.next_event(environment.extensions.all[0].identifier, lambda: True)
    await stage.start
    return environment


def signals(stage):
    return stage.sandboxes[0].signals


# --- no extension: nobody is asked -------------------------------------------------------------


async def test_without_extensions_nobody_is_asked(stage):
    environment = await stage.running()
    stage.clock.advance(3)
    assert stage.sandboxes[0].kills == 1
    environment.retire()
    await stage.settle()
    assert environment.state is State.GONE
    assert signals(stage) == []


async def test_where_extensions_are_switched_off_nobody_is_asked(stage):
    stage.host.extensions_of = lambda _: None
    environment = await stage.running()
    environment.retire()
    await stage.settle()
    assert environment.state is State.GONE
    assert signals(stage) == []


# --- internal ones: the runtime is asked -------------------------------------------------------


async def test_with_an_internal_extension_the_runtime_has_half_a_second(stage):
    environment = await with_internal(stage)
    environment.retire()
    await stage.settle()
    assert signals(stage) == [("runtime", TERM)]
    await stage.pass_s(limits.shutdown_internal_s - 0.1)
    assert signals(stage) == [("runtime", TERM)]
    assert not stage.sandboxes[0].removed
    await stage.pass_s(0.2)
    assert signals(stage) == [("runtime", TERM), ("runtime", KILL)]
    assert environment.state is State.GONE


async def test_a_runtime_that_ends_in_time_is_not_waited_for(stage):
    environment = await with_internal(stage)
    environment.retire()
    await stage.settle()
    environment.process_exited("runtime", 15)
    await stage.settle()
    assert signals(stage) == [("runtime", TERM)]
    assert environment.state is State.GONE


async def test_a_reset_kills_when_everybody_has_been_asked(stage):
    environment = await with_internal(stage)
    environment.invoke(stage.invocation())
    stage.clock.advance(3)
    await stage.settle()
    assert (environment.state, stage.sandboxes[0].kills) == (State.RESET, 0)
    await stage.pass_s(limits.shutdown_internal_s + 0.1)
    assert stage.sandboxes[0].kills == 1
    environment.emptied()
    assert environment.state is State.NEEDS_INIT


# --- external ones: first the runtime, then they -----------------------------------------------


async def test_extensions_are_told_when_the_runtime_has_had_its_share(stage):
    environment = await stage.idle_with({"a": ("SHUTDOWN",), "b": ("INVOKE",)})
    deadline_ms = int((stage.clock.now() + TOTAL_S) * 1000)
    environment.retire()
    await stage.settle()
    assert signals(stage) == [("runtime", TERM)]
    await stage.pass_s(SHARE_S - 0.05)
    assert not stage.polls["a"].done()
    await stage.pass_s(0.1)
    assert signals(stage) == [("runtime", TERM), ("runtime", KILL), ("extension:b", KILL)]
    event = stage.polls["a"].result()
    assert (event.reason, event.deadline_ms) == (ShutdownReason.SPINDOWN, deadline_ms)


async def test_what_the_runtime_does_not_use_is_the_extensions(stage):
    environment = await stage.idle_with({"a": ("SHUTDOWN",)})
    environment.retire()
    await stage.settle()
    environment.process_exited("runtime", 15)
    await stage.settle()
    assert stage.polls["a"].done()
    await stage.pass_s(TOTAL_S - 0.1)
    assert not stage.sandboxes[0].removed


async def test_who_does_not_end_in_time_is_killed(stage):
    environment = await stage.idle_with({"a": ("SHUTDOWN",)})
    environment.retire()
    await stage.pass_s(TOTAL_S - 0.1)
    assert ("extension:a", KILL) not in signals(stage)
    await stage.pass_s(0.2)
    assert ("extension:a", KILL) in signals(stage)
    assert environment.state is State.GONE


async def test_when_all_have_ended_nobody_waits(stage):
    environment = await stage.idle_with({"a": ("SHUTDOWN",)})
    environment.retire()
    await stage.settle()
    environment.process_exited("runtime", 15)
    await stage.settle()
    environment.process_exited("extension:a", 0)
    await stage.settle()
    assert environment.state is State.GONE
    assert environment.extensions.all[0].state == "Exited"


async def test_who_is_busy_hears_of_it_when_it_asks(stage, poll):
    environment = await stage.running_with({"a": ("INVOKE", "SHUTDOWN")})
    stage.clock.advance(3)
    await stage.settle()
    environment.process_exited("runtime", 15)
    await stage.settle()
    event = poll(environment, "a")
    assert event.result().reason is ShutdownReason.TIMEOUT


async def test_an_exit_while_it_ends_is_no_failure(stage):
    environment = await stage.idle_with({"a": ("SHUTDOWN",), "b": ("SHUTDOWN",)})
    before = stage.logs.text
    environment.retire()
    await stage.settle()
    environment.process_exited("extension:b", 1 << 8)
    environment.process_exited("runtime", 15)
    await stage.settle()
    environment.process_exited("extension:a", 1 << 8)
    await stage.settle()
    assert environment.state is State.GONE
    assert stage.logs.text == before


async def test_the_runtime_hears_no_more_events_while_it_ends(stage):
    environment = await stage.idle_with({"a": ("SHUTDOWN",)})
    environment.retire()
    await stage.settle()
    assert not stage.event.done()
    assert not environment.next_event().done()
    await stage.ended()
    assert stage.event.cancelled()


async def test_the_tail_of_the_telemetry_comes_before_the_shutdown(stage, register, poll):
    environment = await stage.in_init_with("a")
    register(environment, "a", "SHUTDOWN")
    courier = stage.subscribed(environment, "a")
    environment.next_event()
    event = poll(environment, "a")
    event.add_done_callback(lambda _: courier.events.append({"type": "told"}))
    await stage.start
    environment.invoke(stage.invocation())
    stage.clock.advance(3)
    await stage.settle()
    environment.process_exited("runtime", 15)
    await stage.settle()
    assert courier.kinds[-3:] == ["runtimeDone", "report", "told"]
    assert courier.events[-2]["record"]["status"] == "timeout"


async def test_telemetry_that_nobody_takes_holds_up_the_shutdown_for_a_second_at_most(
    stage, register, poll
):
    environment = await stage.in_init_with("a")
    register(environment, "a", "SHUTDOWN")
    courier = stage.subscribed(environment, "a")
    courier.may_deliver.clear()
    environment.next_event()
    event = poll(environment, "a")
    await stage.start
    environment.invoke(stage.invocation())
    stage.clock.advance(3)
    await stage.pass_s(SHARE_S + limits.telemetry_flush_s - 0.1)
    assert not event.done()
    await stage.pass_s(0.3)
    assert event.done()
    assert stage.sandboxes[0].kills == 0
    await stage.pass_s(TOTAL_S - SHARE_S - limits.telemetry_flush_s)
    assert stage.sandboxes[0].kills == 1
    environment.emptied()
    assert environment.state is State.NEEDS_INIT


# --- one end in another ------------------------------------------------------------------------


async def test_retired_during_a_reset_nobody_is_asked_twice(stage):
    environment = await stage.running_with({"a": ("INVOKE", "SHUTDOWN")})
    stage.clock.advance(3)
    await stage.settle()
    environment.retire()
    await stage.pass_s(TOTAL_S + 0.1)
    assert [number for _, number in signals(stage)].count(TERM) == 1
    assert environment.state is State.GONE
    assert stage.run.answered.done()
    assert stage.sandboxes[0].kills == 0  # The sandbox itself has been removed.


async def test_a_reset_that_is_given_up_asks_nobody_again(stage):
    environment = await stage.running_with({"a": ("INVOKE", "SHUTDOWN")})
    stage.clock.advance(3)
    await stage.pass_s(TOTAL_S + 2.1)
    assert environment.state is State.GONE
    assert [number for _, number in signals(stage)].count(TERM) == 1


async def test_retired_while_frozen_it_is_thawed_to_be_asked(stage, answer):
    environment = await stage.running_with({"a": ("SHUTDOWN",)})
    answer(environment)
    environment.next_event()
    stage.clock.advance(limits.freeze_after_s)
    assert stage.sandboxes[0].frozen
    environment.retire()
    await stage.settle()
    assert not stage.sandboxes[0].frozen  # FakeSandbox refuses to signal what is frozen.
    assert signals(stage) == [("runtime", TERM)]


async def test_what_never_stood_is_not_asked(stage):
    stage.host.extensions_of = lambda _: ("a",)
    environment = await stage.starting()
    environment.not_entered("cannot mount")
    await stage.settle()
    assert environment.state is State.GONE
    assert signals(stage) == []
    await asyncio.gather(stage.start, return_exceptions=True)


async def test_a_sandbox_that_died_is_not_waited_for(stage):
    environment = await stage.running_with({"a": ("SHUTDOWN",)})
    environment.sandbox_died()
    await stage.settle()
    assert environment.state is State.GONE
    assert stage.run.answered.exception().error_type == "Runtime.ExitError"


async def test_word_that_all_have_gone_is_not_believed_before_they_were_killed(stage):
    environment = await stage.running_with({"a": ("SHUTDOWN",)})
    stage.clock.advance(3)
    await stage.settle()
    environment.emptied()
    assert environment.state is State.RESET
    await stage.pass_s(TOTAL_S + 0.1)
    environment.emptied()
    assert environment.state is State.NEEDS_INIT


async def test_where_tmp_is_memory_extensions_hear_that_it_failed(stage):
    environment = await stage.running_with({"a": ("SHUTDOWN",)})
    stage.sandboxes[0].disk = None
    stage.sandboxes[0].cgroup.killed_for_memory = 1
    environment.process_exited("runtime", 9)
    await stage.settle()
    assert environment.state is State.SHUTDOWN
    assert stage.polls["a"].result().reason is ShutdownReason.FAILURE
