import asyncio

import pytest
import pytest_asyncio

from lambdad.invoke.spares import REFILL_AFTER_S, Spares
from lambdad.model.errors import PlatformFault

pytestmark = pytest.mark.asyncio


class Workshop:
    """Makes and removes what stands for sandboxes; keeps the owner of each."""

    def __init__(self):
        self.owners, self.removed, self.refusal, self.tasks = [], [], None, []

    async def make(self, interpreter, owner):
        if self.refusal is not None:
            raise self.refusal
        self.owners.append(owner)
        return f"sandbox {len(self.owners)}"

    async def remove(self, sandbox):
        self.removed.append(sandbox)

    def background(self, work):
        self.tasks.append(asyncio.ensure_future(work))

    async def settle(self):
        await asyncio.gather(*self.tasks)


@pytest.fixture
def workshop():
    return Workshop()


@pytest_asyncio.fixture
async def spares(stage, workshop):
    """Two of each kind, with time that passes when it is told to."""
    return Spares(2, workshop.make, workshop.remove, workshop.background)


async def test_as_many_as_were_asked_for_stand_ready(spares, workshop):
    spares.refill(None)
    spares.refill(None)
    await workshop.settle()
    assert len(workshop.owners) == 2
    assert {spares.take(None), spares.take(None)} == {"sandbox 1", "sandbox 2"}
    assert spares.take(None) is None


async def test_none_is_taken_twice(spares, workshop, stage):
    spares.refill(None)
    taken = []
    for _ in range(20):
        await workshop.settle()
        taken.append(spares.take(None))
        stage.clock.advance(REFILL_AFTER_S)
    await workshop.settle()
    assert None not in taken
    assert len(set(taken)) == 20


async def test_what_was_taken_is_made_again_after_the_start(spares, workshop, stage):
    spares.refill(None)
    await workshop.settle()
    spares.take(None)
    await workshop.settle()
    assert len(workshop.owners) == 2
    stage.clock.advance(REFILL_AFTER_S)
    await workshop.settle()
    assert len(workshop.owners) == 3


@pytest.mark.parametrize("loss", ["not_entered", "sandbox_died"])
async def test_what_was_lost_meanwhile_is_removed_and_not_given(spares, workshop, loss):
    spares.refill(None)
    await workshop.settle()
    last = workshop.owners[-1]
    last.not_entered("why") if loss == "not_entered" else last.sandbox_died()
    assert spares.take(None) == "sandbox 1"
    await workshop.settle()
    assert workshop.removed == ["sandbox 2"]


async def test_each_interpreter_has_its_own(spares, workshop):
    spares.refill("python3.12")
    await workshop.settle()
    assert spares.take(None) is None
    assert spares.take("python3.12") is not None


async def test_what_cannot_be_made_is_tried_again_at_the_next_start(spares, workshop, stage):
    workshop.refusal = PlatformFault("cannot")
    spares.refill(None)
    await workshop.settle()
    workshop.refusal = None
    assert spares.take(None) is None
    stage.clock.advance(REFILL_AFTER_S)
    await workshop.settle()
    assert len(workshop.owners) == 2


async def test_a_stop_ends_those_that_stand_and_those_on_their_way(spares, workshop, stage):
    spares.refill(None)
    await workshop.settle()
    spares.take(None)
    stage.clock.advance(REFILL_AFTER_S)
    spares.stop()
    await workshop.settle()
    await workshop.settle()
    assert len(workshop.removed) == 2
    spares.refill(None)
    await workshop.settle()
    assert len(workshop.owners) == 3
