"""Which versions have a template, from when on and until when; keepers and inits are played."""

import asyncio

import pytest
import pytest_asyncio
from unit.invoke.fakes import PlayedKeeper

from lambdad.invoke.budget import Budget
from lambdad.invoke.lifecycle import State
from lambdad.invoke.pool_policy import Room
from lambdad.invoke.templates import Template, TemplateKeeper, Templates
from lambdad.model.errors import FunctionError, PlatformFault
from lambdad_sandbox import channel
from lambdad_sandbox.messages import ForkInto, Suspend, Suspended

pytestmark = pytest.mark.asyncio

FAILED = FunctionError("Runtime.Unknown", b'{"errorMessage":"no"}', status=None)
SHARED = 7_000_000


class PlayedInit:
    """As Original: an environment of which a test says how its init went."""

    token, uid, written_disk = "a token", 70_001, "a disk"
    refusal, uses, start_s, state = "", 0, 2.0, State.SNAPSHOT

    def __init__(self, holder):
        self.keeper, self.retired, self.holder = PlayedKeeper(), 0, holder
        loop = asyncio.get_running_loop()
        self.init, self.suspended = loop.create_future(), loop.create_future()

    async def start(self):
        await self.init

    async def suspend(self):
        return await self.suspended

    def memory_bytes(self):
        return SHARED

    def retire(self):
        self.retired += 1
        if self.keeper.lives:
            self.state = State.SHUTDOWN
            self.holder.withdrawn(self)
            self.keeper.die()

    def succeed(self, refusal=""):
        self.init.set_result(None)
        self.suspended.set_result(Suspended(refusal, SHARED))


class Scene:
    """Templates, and the inits that they have asked for."""

    def __init__(self):
        self.inits, self.refusal = [], ""
        self.templates = Templates(self.make, lambda _: self.refusal)

    def make(self, function, holder):
        assert holder is self.templates
        self.inits.append(PlayedInit(holder))
        return self.inits[-1]

    async def asked(self, function):
        task = asyncio.ensure_future(self.templates.of(function))
        for _ in range(5):
            await asyncio.sleep(0)
        return task

    async def made(self, function):
        task = await self.asked(function)
        self.inits[-1].succeed()
        return await task


@pytest_asyncio.fixture
async def scene():
    return Scene()


@pytest.fixture
def version(new_function):
    return lambda number="1": new_function(version=number, snap_start="PublishedVersions")


async def test_init_runs_once_however_many_ask(scene, version):
    tasks = [await scene.asked(version()) for _ in range(3)]
    assert scene.templates.ready(version()) is None
    scene.inits[0].succeed()
    first, *others = await asyncio.gather(*tasks)
    assert isinstance(first, Template)
    assert [one is first for one in others] == [True, True]
    assert len(scene.inits) == 1
    assert scene.templates.ready(version()) is first
    assert (first.token, first.uid, first.disk) == ("a token", 70_001, "a disk")
    assert first.anonymous_bytes == SHARED


async def test_each_version_has_its_own(scene, version):
    assert await scene.made(version("1")) is not await scene.made(version("2"))


async def test_who_gives_up_waiting_takes_nothing_from_the_others(scene, version):
    one, other = await scene.asked(version()), await scene.asked(version())
    one.cancel()
    scene.inits[0].succeed()
    assert isinstance(await other, Template)


@pytest.mark.parametrize("error", [FAILED, PlatformFault("cannot"), OSError(5, "disk")])
async def test_an_init_that_failed_is_tried_again_when_somebody_asks(scene, version, error):
    task = await scene.asked(version())
    scene.inits[0].init.set_exception(error)
    with pytest.raises(type(error)):
        await task
    assert scene.templates.ready(version()) is None
    assert isinstance(await scene.made(version()), Template)


async def test_what_cannot_be_cloned_is_remembered_with_its_reason(scene, version):
    task = await scene.asked(version())
    scene.inits[0].succeed("it has 2 threads")
    assert await task == "it has 2 threads"
    assert scene.templates.ready(version()) == "it has 2 threads"
    assert scene.inits[0].retired


async def test_where_no_runtime_can_be_forked_there_are_no_clones(scene, version):
    """On a host whose kernel lets nobody trace, for one."""
    task = await scene.asked(version())
    scene.inits[0].refusal = "a runtime cannot be forked here: cannot clone: EPERM"
    scene.inits[0].init.set_exception(PlatformFault("cannot clone: EPERM"))
    assert await task == "a runtime cannot be forked here: cannot clone: EPERM"


async def test_what_is_known_beforehand_runs_no_init(scene, version):
    scene.refusal = "it has extensions"
    assert await scene.templates.of(version()) == "it has extensions"
    assert scene.inits == []


async def test_one_that_cannot_be_stopped_is_ended(scene, version):
    task = await scene.asked(version())
    scene.inits[0].init.set_result(None)
    scene.inits[0].suspended.set_exception(PlatformFault("cannot suspend the template"))
    with pytest.raises(PlatformFault):
        await task
    assert scene.inits[0].retired


async def test_a_keeper_that_ended_as_it_answered_makes_no_template(scene, version):
    task = await scene.asked(version())
    scene.inits[0].succeed()
    scene.inits[0].keeper.lives = False
    with pytest.raises(PlatformFault, match="its keeper has ended"):
        await task
    assert scene.inits[0].retired


# --- until when ---


async def test_one_that_is_forgotten_goes_with_its_last_clone(scene, version):
    template = await scene.made(version())
    template.lend()
    template.lend()
    scene.templates.forget(version())
    template.given_back()
    assert not scene.inits[0].retired
    template.given_back()
    assert scene.inits[0].retired


async def test_one_without_clones_goes_at_once(scene, version):
    await scene.made(version())
    scene.templates.forget(version())
    assert scene.inits[0].retired


async def test_one_that_is_forgotten_while_it_is_made_goes_when_it_is(scene, version):
    task = await scene.asked(version())
    scene.templates.forget(version())
    scene.inits[0].succeed()
    await task
    await asyncio.sleep(0)
    assert scene.inits[0].retired


async def test_what_has_none_can_be_forgotten(scene, version):
    scene.templates.forget(version())
    task = await scene.asked(version())
    scene.inits[0].succeed("it has 2 threads")
    await task
    scene.templates.forget(version())
    assert scene.templates.ready(version()) is None


async def test_without_its_keeper_it_is_made_again(scene, version):
    template = await scene.made(version())
    template.lend()
    scene.inits[0].keeper.die()
    assert scene.templates.ready(version()) is None
    assert await scene.made(version()) is not template
    template.given_back()
    assert scene.inits[0].retired
    assert not scene.inits[1].retired


async def test_a_keeper_of_old_takes_nothing_from_the_new_one(scene, version):
    await scene.made(version())
    scene.inits[0].keeper.die()
    new = await scene.made(version())
    scene.inits[0].keeper.die()
    assert scene.templates.ready(version()) is new


async def test_at_the_end_all_go_and_none_is_made(scene, version):
    await scene.made(version("1"))
    under_way = await scene.asked(version("2"))
    scene.templates.stop()
    with pytest.raises(PlatformFault):
        await scene.templates.of(version("3"))
    scene.inits[1].succeed()
    await under_way
    assert [init.retired > 0 for init in scene.inits] == [True, True]


async def test_its_memory_is_counted_until_it_is_gone(scene, version):
    scene.templates.counted_by(budget := Budget(10 * SHARED))
    await scene.made(version())
    (init,) = scene.inits
    assert budget.charged_bytes == budget.bytes_of(init) == SHARED
    init.retire()
    assert budget.charged_bytes == 0
    scene.templates.gone(init)
    assert not budget.is_crowded()


async def test_those_without_clones_go_for_others_the_cheapest_first(scene, version):
    scene.templates.counted_by(budget := Budget(2 * SHARED))
    cheap, dear = [await scene.made(version(number)) for number in "12"]
    scene.inits[0].start_s = 0.5
    for template in (cheap, dear):
        template.lend()
    assert budget.room(SHARED) is Room.NONE
    for template in (cheap, dear):
        template.given_back()
    assert budget.room(SHARED) is Room.EVICTABLE
    budget.make_room(SHARED)
    assert [init.retired > 0 for init in scene.inits] == [True, False]
    assert scene.templates.ready(version("1")) is None
    assert scene.templates.ready(version("2")) is dear
    assert await scene.made(version("1")) is not cheap


# --- the keeper, over its channel ---


class PlayedSandbox:
    def fork_into(self, ask, outputs, variables, *, root):
        ask(ForkInto(root, 70_001, 990, variables, ()), ())


@pytest_asyncio.fixture
async def ends():
    """A keeper's process as the daemon has it, and the other end of its channel."""
    ours, theirs = channel.pair()
    keeper = TemplateKeeper(ours, root=True)
    yield keeper, theirs
    keeper.end()
    theirs.close()


async def test_the_keeper_is_asked_and_answers(ends):
    keeper, theirs = ends
    keeper.fork_into(PlayedSandbox(), {}, {"A": "1"})
    assert channel.receive(theirs)[0] == ForkInto(True, 70_001, 990, {"A": "1"}, ())
    task = asyncio.ensure_future(keeper.suspend(tmp_in_memory=True))
    await asyncio.sleep(0)
    assert channel.receive(theirs)[0] == Suspend(True)
    channel.send(theirs, Suspended("", SHARED))
    assert await task == Suspended("", SHARED)


@pytest.mark.parametrize("last_word", [None, b"no message"])
async def test_a_keeper_that_ends_or_talks_nonsense_is_given_up(ends, last_word):
    keeper, theirs = ends
    told = asyncio.get_running_loop().create_future()
    keeper.ended = lambda: told.set_result(None)
    waiting = asyncio.ensure_future(keeper.suspend(tmp_in_memory=False))
    await asyncio.sleep(0)
    if last_word is None:
        theirs.close()
    else:
        theirs.send(last_word)
    with pytest.raises(PlatformFault, match="it has ended"):
        await waiting
    await told
    assert not keeper.lives
    keeper.end()  # Once more is no harm.


async def test_who_has_ended_is_asked_in_vain(ends):
    keeper, _ = ends
    keeper.end()
    keeper.fork_into(PlayedSandbox(), {}, {})
    with pytest.raises(PlatformFault):
        await keeper.suspend(tmp_in_memory=False)
