"""What is provisioned for whom, when aliases move and things go; the pools are played."""

import dataclasses

import pytest
import pytest_asyncio
import structlog

from lambdad.invoke.account import Account, Allocation
from lambdad.invoke.aliases import Aliases
from lambdad.invoke.provisioning import Provisioning
from lambdad.model.alias import Alias
from lambdad.model.errors import PlatformFault
from lambdad.model.provisioned import ProvisionedConcurrency

pytestmark = pytest.mark.asyncio

FAILURE = "FUNCTION_ERROR_INIT_FAILURE"


class FakeStore:
    """The aliases of the Store protocol, over dicts."""

    def __init__(self):
        self.named = {"live": Alias("fn", "live", "1", "one")}
        self.provisioned = {}
        self.gone = False

    async def aliases(self):
        return list(self.named.values())

    async def replace_alias(self, new, *, expected_revision):
        self.named[new.name] = new
        return True

    async def provision_concurrency(self, wanted):
        if not self.gone:
            self.provisioned[wanted.qualifier] = wanted
        return not self.gone

    async def provisioned_concurrency(self):
        return list(self.provisioned.values())

    async def release_concurrency(self, function, qualifier):
        return self.provisioned.pop(qualifier, None) is not None


class FakePool:
    """Notes what it is to keep; the test says how far it is."""

    def __init__(self):
        self.count, self.asked = None, 0

    def provision(self, count, told):
        self.count, self.told, self.asked = count, told, self.asked + 1

    def tell(self, allocated, failed=None):
        self.told(Allocation(self.count, allocated, allocated, failed))


class Stage:
    """The pools of two versions of ``fn``, and work that waits until it is let."""

    def __init__(self, store):
        self.store, self.account = store, Account(1_000)
        self.pools = {("fn", version): FakePool() for version in "123"}
        self.fault, self.work = None, []
        self.aliases = Aliases(store)
        self.provisioning = Provisioning(store, self.aliases, self, self.account, self.work.append)

    def pool(self, name, version):
        return self.pools.get((name, version))

    async def pool_of(self, name, version):
        if self.fault is not None:
            raise self.fault
        return self.pools[name, version]

    async def settle(self):
        while self.work:
            await self.work.pop(0)

    async def put(self, qualifier="live", count=3):
        wanted = ProvisionedConcurrency("fn", qualifier, count, 1.5)
        provision = await self.provisioning.put(wanted)
        assert provision is not None
        await self.settle()

    async def move(self, version):
        old = self.aliases.find("fn", "live")
        await self.aliases.replace(old, dataclasses.replace(old, version=version))
        self.provisioning.follow("fn", "live")
        await self.settle()

    def shown(self, qualifier="live"):
        provision = self.provisioning.find("fn", qualifier)
        allocation = provision.allocation
        return (allocation.allocated, allocation.available, str(provision.status))

    @property
    def counts(self):
        return [self.pools["fn", version].count for version in "123"]


@pytest_asyncio.fixture
async def stage():
    stage = Stage(FakeStore())
    await stage.aliases.start()
    yield stage
    for work in stage.work:
        work.close()


async def test_it_is_in_progress_whenever_some_are_missing_and_ready_when_all_are_there(stage):
    await stage.put("1")
    assert stage.shown("1") == (0, 0, "IN_PROGRESS")
    assert stage.account.provisioned == {("fn", "1"): 3}
    pool = stage.pools["fn", "1"]
    for allocated, status in ((1, "IN_PROGRESS"), (3, "READY"), (2, "IN_PROGRESS")):
        pool.tell(allocated)
        assert stage.shown("1") == (allocated, allocated, status)


async def test_it_has_failed_for_as_long_as_the_pool_says_so(stage):
    await stage.put("1")
    pool = stage.pools["fn", "1"]
    pool.tell(0, FAILURE)
    assert stage.shown("1") == (0, 0, "FAILED")
    assert stage.provisioning.find("fn", "1").allocation.failed == FAILURE
    pool.tell(3)
    assert stage.shown("1") == (3, 3, "READY")


async def test_what_cannot_run_here_has_failed_with_the_reason(stage):
    stage.fault = PlatformFault("cannot start the zygote: no memory")
    with structlog.testing.capture_logs():
        await stage.put("1")
    assert stage.shown("1") == (0, 0, "FAILED")
    failed = stage.provisioning.find("fn", "1").allocation.failed
    assert failed == "cannot start the zygote: no memory"


async def test_another_count_begins_anew_in_the_same_place(stage):
    await stage.put("1", 3)
    stage.pools["fn", "1"].tell(3)
    await stage.put("1", 5)
    assert stage.shown("1") == (0, 0, "IN_PROGRESS")
    assert (stage.counts, stage.provisioning.total("fn")) == ([5, None, None], 5)
    stage.pools["fn", "1"].tell(5)
    assert stage.shown("1") == (5, 5, "READY")


async def test_of_two_counts_at_once_only_the_last_is_asked_for(stage):
    for count in (3, 5):
        wanted = ProvisionedConcurrency("fn", "1", count, 1.5)
        await stage.provisioning.put(wanted)
    await stage.settle()
    assert (stage.pools["fn", "1"].count, stage.pools["fn", "1"].asked) == (5, 1)


async def test_of_a_function_that_is_gone_nothing_is_provisioned(stage):
    stage.store.gone = True
    wanted = ProvisionedConcurrency("fn", "1", 3, 1.5)
    assert await stage.provisioning.put(wanted) is None
    assert (stage.provisioning.of("fn"), stage.work) == ([], [])


async def test_an_alias_has_it_for_its_version(stage):
    await stage.put()
    assert stage.counts == [3, None, None]
    assert stage.provisioning.of_version("fn", "1").wanted.qualifier == "live"
    assert stage.provisioning.of_version("fn", "2") is None


async def test_when_an_alias_moves_the_old_ones_stay_until_the_new_ones_are_ready(stage):
    await stage.put()
    stage.pools["fn", "1"].tell(3)
    await stage.move("2")
    assert stage.shown() == (3, 3, "IN_PROGRESS")
    assert stage.account.provisioned == {("fn", "2"): 3}
    assert stage.counts == [3, 3, None]
    stage.pools["fn", "2"].tell(2)
    assert stage.shown() == (3, 3, "IN_PROGRESS")
    assert stage.counts == [3, 3, None]
    stage.pools["fn", "2"].tell(3)
    assert stage.shown() == (3, 3, "READY")
    assert stage.counts == [0, 3, None]


async def test_an_alias_that_moves_on_leaves_nothing_behind(stage):
    await stage.put()
    await stage.move("2")
    await stage.move("3")
    assert stage.counts == [3, 3, 3]
    stage.pools["fn", "2"].tell(3)  # Nobody asks any more.
    assert stage.shown() == (0, 0, "IN_PROGRESS")
    stage.pools["fn", "3"].tell(3)
    assert (stage.shown(), stage.counts) == ((3, 3, "READY"), [0, 0, 3])


async def test_an_alias_that_comes_back_keeps_what_it_had(stage):
    await stage.put()
    await stage.move("2")
    await stage.move("1")
    stage.pools["fn", "1"].tell(3)
    assert (stage.shown(), stage.counts) == ((3, 3, "READY"), [3, 0, None])
    assert stage.account.provisioned == {("fn", "1"): 3}


async def test_an_alias_that_stays_changes_nothing(stage):
    await stage.put()
    stage.pools["fn", "1"].tell(3)
    await stage.move("1")
    assert (stage.shown(), stage.pools["fn", "1"].asked) == ((3, 3, "READY"), 1)


async def test_a_move_to_what_fails_to_start_says_so(stage):
    await stage.put()
    stage.pools["fn", "1"].tell(3)
    await stage.move("2")
    stage.pools["fn", "2"].tell(0, FAILURE)
    assert stage.shown() == (0, 0, "FAILED")
    await stage.move("3")
    assert stage.shown() == (0, 0, "IN_PROGRESS")


async def test_a_new_count_after_a_move_still_ends_what_was_left(stage):
    await stage.put()
    await stage.move("2")
    await stage.put(count=1)
    stage.pools["fn", "2"].tell(1)
    assert (stage.shown(), stage.counts) == ((1, 1, "READY"), [0, 1, None])


async def test_what_is_left_to_another_is_not_ended(stage):
    await stage.put()
    await stage.move("2")
    await stage.put("1", 5)
    stage.pools["fn", "2"].tell(3)
    assert stage.counts == [5, 3, None]
    assert stage.account.provisioned == {("fn", "1"): 5, ("fn", "2"): 3}
    assert stage.provisioning.total("fn") == 8


async def test_what_is_deleted_is_ended_wherever_it_was(stage):
    await stage.put()
    await stage.move("2")
    await stage.provisioning.delete("fn", "live")
    assert (stage.counts, stage.account.provisioned) == ([0, 0, None], {})
    assert (stage.provisioning.find("fn", "live"), stage.store.provisioned) == (None, {})
    await stage.provisioning.delete("fn", "live")


async def test_it_goes_with_its_function(stage):
    await stage.put()
    await stage.put("2")
    stage.pools.clear()  # They were retired.
    stage.provisioning.forget_function("fn")
    stage.provisioning.forget_function("never there")
    assert (stage.provisioning.of("fn"), stage.account.provisioned) == ([], {})


async def test_what_is_deleted_before_its_pool_is_there_is_never_asked_for(stage):
    await stage.provisioning.put(ProvisionedConcurrency("fn", "1", 3, 1.5))
    stage.provisioning.forget("fn", "1")
    await stage.settle()
    assert stage.pools["fn", "1"].count == 0
    assert stage.account.provisioned == {}


async def test_after_a_restart_all_is_provisioned_again(stage):
    await stage.put()
    await stage.put("2", 1)
    again = Stage(stage.store)
    await again.aliases.start()
    await again.provisioning.start()
    await again.settle()
    assert again.counts == [3, 1, None]
    assert again.account.provisioned == {("fn", "1"): 3, ("fn", "2"): 1}


async def test_when_the_daemon_ends_nothing_more_is_asked_for(stage):
    await stage.provisioning.put(ProvisionedConcurrency("fn", "1", 3, 1.5))
    stage.provisioning.stop()
    await stage.settle()
    assert stage.counts == [None, None, None]
