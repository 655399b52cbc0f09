import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import pytest_asyncio

from lambdad.invoke.disks import REFILL_AFTER_S, Disks
from lambdad.model.limits import disk_sizes_ready_max
from lambdad_sandbox.disk import CannotMakeDisk

pytestmark = pytest.mark.asyncio


class FakeDisk:
    def __init__(self, tmp_mb):
        self.tmp_mb, self.discarded, self.refusal = tmp_mb, False, None

    def discard(self):
        if self.refusal is not None:
            raise self.refusal
        assert not self.discarded
        self.discarded = True


class Workshop:
    """Makes what stands for disks, in another thread; can be made to refuse, and to wait."""

    def __init__(self):
        self.made, self.refusal, self.open = [], None, threading.Event()
        self.open.set()

    def make(self, tmp_mb):
        assert threading.current_thread() is not threading.main_thread()
        assert self.open.wait(60)
        if self.refusal is not None:
            raise self.refusal
        self.made.append(FakeDisk(tmp_mb))
        return self.made[-1]

    def copy(self, disk, *, from_uid, to_uid):
        made = self.make(disk.tmp_mb)
        made.copied = disk, from_uid, to_uid
        return made

    @property
    def left(self):
        return [disk for disk in self.made if not disk.discarded]


@pytest.fixture
def workshop():
    return Workshop()


@pytest_asyncio.fixture
async def disks(stage, workshop):
    """Two of each size, with time that passes when it is told to."""
    with ThreadPoolExecutor(1) as executor:
        disks = Disks(workshop, 2, executor)
        yield disks
        workshop.open.set()
        await disks.stop()


async def settle(disks):
    for task in list(disks._tasks):
        await task


async def test_as_many_as_were_asked_for_stand_ready(disks, workshop):
    await disks.prepare(512)
    await disks.prepare(512)
    assert len(workshop.made) == 2
    assert {disks.take(512), disks.take(512)} == set(workshop.made)
    assert disks.take(512) is None


async def test_one_that_is_not_ready_is_made_at_once(disks, workshop):
    disk = await disks.make(600)
    assert disk.tmp_mb == 600
    assert workshop.made == [disk]


async def test_a_copy_is_made_at_once_and_for_another_user(disks, workshop):
    disk = await disks.make(600)
    copy = await disks.copy(disk, from_uid=1, to_uid=2)
    assert copy.tmp_mb == 600
    assert copy.copied == (disk, 1, 2)
    workshop.refusal = CannotMakeDisk("cannot")
    with pytest.raises(CannotMakeDisk):
        await disks.copy(disk, from_uid=1, to_uid=3)


async def test_none_is_taken_twice(disks, workshop, stage):
    await disks.prepare(512)
    taken = []
    for _ in range(20):
        taken.append(disks.take(512))
        stage.clock.advance(REFILL_AFTER_S)
        await settle(disks)
    assert None not in taken
    assert len(set(taken)) == 20


async def test_what_was_taken_is_made_again_after_the_start(disks, workshop, stage):
    await disks.prepare(512)
    disks.take(512)
    await settle(disks)
    assert len(workshop.made) == 2
    stage.clock.advance(REFILL_AFTER_S)
    await settle(disks)
    assert len(workshop.made) == 3


async def test_a_size_that_was_not_prepared_is_ready_for_the_next_start(disks, stage):
    assert disks.take(700) is None
    stage.clock.advance(REFILL_AFTER_S)
    await settle(disks)
    assert disks.take(700).tmp_mb == 700


async def test_each_size_has_its_own(disks):
    await disks.prepare(512)
    assert disks.take(1_024) is None
    assert disks.take(512).tmp_mb == 512


async def test_the_spares_of_the_size_unused_for_longest_make_room(disks, workshop):
    sizes = range(512, 512 + disk_sizes_ready_max)
    for tmp_mb in sizes:
        await disks.prepare(tmp_mb)
    disks.take(512)
    await disks.prepare(10_240)
    await settle(disks)
    left = {disk.tmp_mb for disk in workshop.left}
    assert left == {*sizes, 10_240} - {513}
    assert len(disks._ready) == disk_sizes_ready_max


async def test_what_cannot_be_made_is_tried_again_at_the_next_start(disks, workshop, stage):
    workshop.refusal = CannotMakeDisk("cannot")
    await disks.prepare(512)
    with pytest.raises(CannotMakeDisk):
        await disks.make(512)
    workshop.refusal = None
    assert disks.take(512) is None
    stage.clock.advance(REFILL_AFTER_S)
    await settle(disks)
    assert len(workshop.made) == 2


async def test_a_discard_that_fails_fails_nobody(disks, workshop):
    disk = await disks.make(512)
    await disks.discard(disk)
    assert disk.discarded
    disk = await disks.make(512)
    disk.refusal = OSError(5, "Input/output error")
    await disks.discard(disk)


async def test_a_stop_drops_those_that_stand_and_those_on_their_way(disks, workshop, stage):
    await disks.prepare(512)
    workshop.open.clear()
    taken = disks.take(512)
    stage.clock.advance(REFILL_AFTER_S)
    stopping = disks.stop()
    workshop.open.set()
    await stopping
    assert workshop.left == [taken]
    disks.take(512)
    stage.clock.advance(REFILL_AFTER_S)
    await settle(disks)
    assert workshop.left == [taken]
