"""Environments that are clones of a template, and the one in which its init runs."""

import asyncio

import pytest
import pytest_asyncio
from unit.invoke.fakes import PlayedKeeper

from lambdad.invoke.snap_start import Original, SnapStarted
from lambdad.model.errors import FunctionError, PlatformFault

pytestmark = pytest.mark.asyncio

FAILED = FunctionError("Runtime.Unknown", b'{"errorMessage":"no"}', status=None)


class Lent:
    """As a Template."""

    token, anonymous_bytes, uid, disk = "of the template", 4 * 1024 * 1024, 70_001, None

    def __init__(self):
        self.clones, self.forks, self.stand = 0, [], 0

    def lend(self):
        self.clones += 1

    def given_back(self):
        self.clones -= 1

    def line_up(self, fork):
        assert fork()

    def fork_into(self, sandbox, outputs):
        self.forks.append((sandbox, outputs))

    def forked(self):
        self.stand += 1


class OneTemplate:
    """As Templates: every version has this one."""

    def __init__(self, template):
        self.template = template

    def ready(self, function):
        return self.template

    def stop(self):
        """There is nothing to let go of."""


@pytest.fixture
def lent(stage):
    stage.host.templates = OneTemplate(Lent())
    return stage.host.templates.template


@pytest.fixture
def starting(stage, lent):
    """An environment that has asked for a sandbox, whose runtime is to be a clone."""
    values = {"version": "1", "snap_start": "PublishedVersions"}
    return lambda: stage.starting(**values)


async def test_a_clone_waits_to_be_restored_and_tells_of_no_init(stage, lent, starting):
    environment = await starting()
    assert isinstance(environment, SnapStarted)
    assert stage.sandboxes[0].started == []
    environment.entered("listener")
    ((sandbox, outputs),) = lent.forks
    assert sandbox is stage.sandboxes[0]
    assert {"stdout"} <= outputs.keys()
    environment.restore_next()
    await stage.start
    assert environment.can_be_leased
    assert "INIT" not in stage.logs.text


async def test_the_token_in_its_memory_is_its_token(stage, lent, starting):
    environment = await starting()
    assert environment.is_token("of the template")


async def test_its_memory_is_what_it_shares_and_what_it_has_itself(stage, lent, starting, answer):
    environment = await starting()
    environment.entered("listener")
    environment.restore_next()
    await stage.start
    environment.invoke(stage.invocation())
    environment.next_event()
    answer(environment)
    environment.next_event()
    assert "Max Memory Used: 40 MB" in stage.logs.text  # 36 of the cgroup and 4 of the template


async def test_a_clone_that_does_not_come_up_in_time_is_given_up(stage, lent, starting):
    environment = await starting()
    environment.entered("listener")
    stage.clock.advance(10)
    with pytest.raises(PlatformFault, match="was not loaded in time"):
        await stage.start
    await stage.ended()
    assert lent.clones == 0
    assert environment.start_s == 0


@pytest.mark.parametrize("end", ["exits", "refused", "sandbox"])
async def test_a_clone_that_fails_before_it_stands_is_a_fault(stage, lent, starting, end):
    environment = await starting()
    environment.entered("listener")
    if end == "exits":
        environment.process_exited("runtime", 9)
    elif end == "refused":
        environment.not_entered("cannot clone: ENOMEM")
    else:
        environment.sandbox_died()
    with pytest.raises(PlatformFault):
        await stage.start
    await stage.ended()
    assert lent.clones == 0


async def test_one_that_is_retired_while_its_template_is_made_borrows_nothing(stage, lent):
    made = asyncio.get_running_loop().create_future()
    stage.host.template_of = lambda _: made
    environment = await stage.starting(version="1", snap_start="PublishedVersions")
    environment.retire()
    made.set_result(lent)
    with pytest.raises(PlatformFault):
        await stage.start
    await stage.ended()
    assert (lent.clones, stage.sandboxes) == (0, [])


async def test_a_template_whose_init_takes_long_is_waited_for(stage, lent):
    made = asyncio.get_running_loop().create_future()
    stage.host.template_of = lambda _: made
    await stage.starting(version="1", snap_start="PublishedVersions")
    stage.clock.advance(120)
    made.set_result(lent)
    await stage.settle()
    assert lent.clones == 1
    stage.clock.advance(30)
    with pytest.raises(PlatformFault, match="no sandbox came in time"):
        await stage.start


async def test_an_init_that_fails_when_nobody_waits_any_more_is_nobodys_matter(stage):
    made = asyncio.get_running_loop().create_future()
    stage.host.template_of = lambda _: made
    environment = await stage.starting(version="1", snap_start="PublishedVersions")
    environment.retire()
    made.set_exception(FAILED)
    with pytest.raises(PlatformFault):
        await stage.start
    await stage.ended()
    assert stage.errors == []


async def test_an_init_that_failed_is_heard_by_who_wanted_a_clone(stage):
    async def fails(_):
        raise FAILED

    stage.host.template_of = fails
    await stage.starting(version="1", snap_start="PublishedVersions")
    with pytest.raises(FunctionError):
        await stage.start


# --- the environment of an init ---


@pytest_asyncio.fixture
async def original(stage):
    """An init that is about to begin, and the keeper that it gets."""
    keeper = PlayedKeeper()
    keeper.end = keeper.die
    stage.host.keep_template = lambda _: keeper
    function = stage.function(version="1", snap_start="PublishedVersions")
    environment = Original(function, stage.host, stage.holder)
    stage.start = asyncio.ensure_future(environment.start())
    await stage.settle()
    return environment, keeper


async def test_the_runtime_of_an_init_is_the_keepers(stage, original):
    environment, keeper = original
    environment.entered("listener")
    ((sandbox, _, variables),) = keeper.forks
    assert sandbox is stage.sandboxes[0]
    assert variables["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start"
    assert stage.sandboxes[0].started == []
    environment.restore_next()
    await stage.start
    assert "INIT_REPORT" in stage.logs.text


async def test_an_init_that_cannot_be_begun_says_so(stage, original):
    environment, _ = original
    environment.entered("listener")
    environment.not_entered("cannot clone: EPERM")
    with pytest.raises(PlatformFault):
        await stage.start
    assert environment.refusal == "a runtime cannot be forked here: cannot clone: EPERM"


async def test_an_init_that_fails_ends_its_keeper(stage, original):
    environment, keeper = original
    environment.entered("listener")
    environment.process_exited("runtime", 1 << 8)
    with pytest.raises(FunctionError):
        await stage.start
    await stage.ended()
    assert not keeper.lives


async def test_without_a_zygote_there_is_no_init(stage, original):
    environment, _ = original

    def none(_):
        raise PlatformFault("cannot make a template: the zygote has ended")

    stage.host.keep_template = none
    environment.entered("listener")
    with pytest.raises(PlatformFault, match="the zygote has ended"):
        await stage.start
