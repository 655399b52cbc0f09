import asyncio
import json
import socket

import pytest

from lambdad.invoke.lifecycle import State
from lambdad.model.errors import PlatformFault

pytestmark = pytest.mark.asyncio

LIVING = [state for state in State if state not in (State.SHUTDOWN, State.GONE)]


@pytest.mark.parametrize("state", LIVING)
async def test_retired_in_any_state_it_leaves_nothing(stage, state):
    environment = await stage.in_state(state)
    environment.retire()
    environment.retire()
    assert environment.state is State.SHUTDOWN
    await stage.host.settled()
    assert environment.state is State.GONE
    assert stage.sandboxes[0].removed
    assert stage.holder.told.count("gone") == 1
    assert stage.door.closed == [opened for opened, _ in stage.door.opened]
    stage.clock.advance(10_000)
    await asyncio.gather(stage.start, return_exceptions=True)


async def test_who_is_served_by_a_retired_environment_gets_a_fault(stage):
    environment = await stage.running()
    environment.retire()
    with pytest.raises(PlatformFault, match="cannot run the environment"):
        await stage.run.answered
    assert stage.run.finished.done()


@pytest.mark.parametrize("state", LIVING)
async def test_the_death_of_the_sandbox_ends_the_environment(stage, state):
    environment = await stage.in_state(state)
    environment.sandbox_died()
    await stage.host.settled()
    assert environment.state is State.GONE
    await asyncio.gather(stage.start, return_exceptions=True)


async def test_the_death_of_the_sandbox_is_an_exit_to_the_invoker(stage):
    environment = await stage.running()
    environment.sandbox_died()
    assert json.loads(stage.run.answered.exception().payload)["errorMessage"] == (
        "RequestId: r-1 Error: Runtime exited with error: signal: killed"
    )


async def test_retired_while_init_runs_again_it_says_start_before_end(stage):
    environment = await stage.needing_init()
    run = environment.invoke(stage.invocation("r-2"))
    environment.retire()
    assert isinstance(run.answered.exception(), PlatformFault)
    lines = stage.logs.text.splitlines()[-3:]
    assert lines[0] == "START RequestId: r-2 Version: $LATEST"
    assert lines[1] == "END RequestId: r-2"
    assert lines[2].endswith("Status: failure\tError Type: Sandbox.Failure")


async def test_a_uid_is_given_back_and_comes_last(stage):
    environment = await stage.idle()
    uid = stage.sandboxes[0].uid
    environment.retire()
    await stage.host.settled()
    uids = stage.host._uids
    others = {uids.take() for _ in range(4_095)}
    assert uid not in others
    assert uids.take() == uid
    with pytest.raises(PlatformFault, match="4096"):
        uids.take()
    uids.give_back(uid)


@pytest.mark.parametrize("said_before", ["nothing", "an answer", "the event only"])
async def test_the_last_call_of_a_dying_runtime_changes_nothing(stage, answer, said_before):
    if said_before == "nothing":
        environment = await stage.in_init()
        stage.clock.advance(10)
    else:
        environment = await stage.running()
        if said_before == "an answer":
            answer(environment)
        stage.clock.advance(3)
    try:
        environment.next_event()
        assert environment.state is State.RESET
        stage.clock.advance(2)
        assert environment.state is State.SHUTDOWN
    finally:
        environment.retire()
        await asyncio.gather(stage.start, return_exceptions=True)


async def test_a_retired_environment_is_not_entered(stage):
    environment = await stage.starting()
    environment.retire()
    listener = socket.socket()
    environment.entered(listener)
    await asyncio.gather(stage.start, return_exceptions=True)
    await stage.settle()
    assert environment.state is State.GONE
    assert listener.fileno() == -1


async def test_retired_while_its_zygote_starts_it_leaves_no_sandbox(stage):
    stage.zygotes.may_start.clear()
    environment = await stage.starting()
    environment.retire()
    await stage.host.settled()
    assert environment.state is State.GONE
    stage.zygotes.may_start.set()
    await asyncio.gather(stage.start, return_exceptions=True)
    assert all(sandbox.removed for sandbox in stage.sandboxes)
