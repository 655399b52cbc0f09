"""What is recorded and what is served, when zygotes come and when they do not."""

import asyncio

import pytest

from lambdad.invoke.account import Account
from lambdad.invoke.registry import Registry
from lambdad.invoke.runtime_state import Call
from lambdad.model.errors import ApiError, PlatformFault
from lambdad.model.function import State, UpdateStatus

pytestmark = pytest.mark.asyncio


class OneFunction:
    """A store with one record, which counts what is written over it."""

    def __init__(self, function):
        self.kept, self.written = function, 0

    async def functions(self):
        return [self.kept]

    async def versions(self):
        return []

    async def last_versions(self):
        return {}

    async def reserved_concurrency(self):
        return {}

    async def aliases(self):
        return []

    async def provisioned_concurrency(self):
        return []

    async def replace_function(self, new, *, expected_revision):
        if self.kept.revision_id != expected_revision:
            return False
        self.kept, self.written = new, self.written + 1
        return True


@pytest.fixture
def refuse(stage, monkeypatch):
    """Lets no zygote come, for as long as the test says so."""
    state = {"refused": True}
    of = stage.zygotes.of

    async def none_comes(interpreter):
        if state["refused"]:
            raise PlatformFault("cannot start the zygote: no memory")
        return await of(interpreter)

    monkeypatch.setattr(stage.zygotes, "of", none_comes)
    return state


async def started(stage, state=State.ACTIVE, update_status=UpdateStatus.SUCCESSFUL):
    store = OneFunction(stage.function(state=state, update_status=update_status))
    registry = Registry(store, stage.host, Account(10), 60.0)
    await registry.start()
    await stage.host.settled()
    return store, registry


async def test_what_served_before_a_restart_keeps_its_record_when_its_zygote_does_not_come(
    stage, refuse
):
    store, registry = await started(stage)
    assert store.written == 0
    with pytest.raises(PlatformFault, match="cannot start the zygote: no memory"):
        await registry.invoke("fn", stage.invocation())
    assert store.written == 0


async def test_it_is_served_as_soon_as_the_zygote_comes(stage, refuse, monkeypatch):
    async def run(pool, invocation):
        return pool.function, invocation.request_id

    monkeypatch.setattr("lambdad.invoke.pool.Pool.invoke", run)
    store, registry = await started(stage)
    refuse["refused"] = False
    assert await registry.invoke("fn", stage.invocation("r-7")) == (store.kept, "r-7")


@pytest.mark.parametrize(
    ("state", "status", "after"),
    [
        (State.PENDING, None, State.FAILED),
        (State.ACTIVE, UpdateStatus.IN_PROGRESS, State.ACTIVE),
    ],
    ids=["a new function", "an update"],
)
async def test_what_was_under_way_fails_with_the_reason(stage, refuse, state, status, after):
    store, _ = await started(stage, state=state, update_status=status)
    assert (store.kept.state, store.kept.update_status) == (after, UpdateStatus.FAILED)
    assert store.kept.reason == "cannot start the zygote: no memory"


async def test_a_function_that_has_failed_is_not_invoked(stage, refuse):
    _, registry = await started(stage, state=State.PENDING, update_status=None)
    with pytest.raises(ApiError, match="currently in the following state: Failed"):
        await registry.invoke("fn", stage.invocation())


async def test_what_only_a_deleted_function_had_goes_with_the_last_of_it(stage):
    store, registry = await started(stage)
    store.delete_function = lambda _: asyncio.sleep(0, True)
    run = asyncio.ensure_future(registry.invoke("fn", stage.invocation()))
    await stage.settle()
    environment = stage.sandboxes[0].owner
    environment.entered(None)
    await stage.settle()
    event = environment.next_event()
    await run
    assert await registry.delete("fn")
    await stage.settle()
    assert (stage.forgotten, stage.logs.removed) == ([], [])  # It still runs.
    answered = environment.begin_answer(event.result().invocation.request_id, Call.RESPONSE)
    environment.answer(answered, b"1")
    environment.next_event()
    await stage.host.settled()
    assert stage.forgotten == [store.kept.tree]
    assert stage.logs.removed == ["/aws/lambda/fn"]


async def test_a_snapshot_that_was_made_for_who_still_waited_goes_with_the_last_of_them(
    stage, monkeypatch
):
    store, registry = await started(stage)
    store.delete_function = lambda _: asyncio.sleep(0, True)
    waiting = asyncio.ensure_future(registry.invoke("fn", stage.invocation()))
    await stage.settle()
    await registry.delete("fn")
    forgotten = []
    monkeypatch.setattr(stage.host.templates, "forget", forgotten.append)
    stage.sandboxes[0].owner.not_entered("cannot mount")
    await stage.ended()
    with pytest.raises(PlatformFault):
        await waiting
    assert forgotten == [store.kept]


async def test_a_snapshot_that_comes_after_its_version_was_deleted_is_not_kept(stage, monkeypatch):
    stage.zygotes.may_start.clear()
    function = stage.function(state=State.ACTIVE, update_status=UpdateStatus.SUCCESSFUL)
    store = OneFunction(function)
    store.delete_function = lambda _: asyncio.sleep(0, True)
    registry = Registry(store, stage.host, Account(10), 60.0)
    await registry.start()
    await stage.settle()
    await registry.delete("fn")
    forgotten = []
    monkeypatch.setattr(stage.host.templates, "forget", forgotten.append)
    stage.zygotes.may_start.set()
    await stage.host.settled()
    assert forgotten == [function]
    assert registry.pool("fn", "$LATEST") is None


async def test_what_is_still_recorded_is_kept(stage):
    store, registry = await started(stage)
    registry.forget_code(store.kept.tree)
    registry.forget_code("another")
    await stage.host.settled()
    assert stage.forgotten == ["another"]
