import asyncio
from pathlib import Path

import pytest
import pytest_asyncio

from lambdad.code.runtimes import Interpreter
from lambdad.invoke.spares import REFILL_AFTER_S, Kind, Spares
from lambdad.model.errors import PlatformFault

pytestmark = pytest.mark.asyncio

EXEC = Kind(None)
PYTHON, PYTHON_3_11 = (
    Interpreter(version, Path("/usr"), Path(f"/usr/bin/python{version}"))
    for version in ("3.12", "3.11")
)


class Blank:
    """A sandbox, as far as spares look at it."""

    def __init__(self, number):
        self.number, self.stands = number, True

    def __repr__(self):
        return f"sandbox {self.number}"


class Workshop:
    """Makes and removes what stands for sandboxes; keeps the owner of each."""

    def __init__(self):
        self.owners, self.made, self.removed, self.tasks = [], [], [], []
        self.refusal = None

    async def make(self, kind, owner):
        if self.refusal is not None:
            raise self.refusal
        self.owners.append(owner)
        self.made.append(Blank(len(self.owners)))
        return self.made[-1]

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
    spares.refill(EXEC)
    spares.refill(EXEC)
    await workshop.settle()
    assert len(workshop.owners) == 2
    assert {spares.take(EXEC), spares.take(EXEC)} == set(workshop.made)
    assert spares.take(EXEC) is None


async def test_none_is_taken_twice(spares, workshop, stage):
    spares.refill(EXEC)
    taken = []
    for _ in range(20):
        await workshop.settle()
        taken.append(spares.take(EXEC))
        stage.clock.advance(REFILL_AFTER_S)
    await workshop.settle()
    assert None not in taken
    assert len(set(taken)) == 20


async def test_what_was_taken_is_made_again_after_the_start(spares, workshop, stage):
    spares.refill(EXEC)
    await workshop.settle()
    spares.take(EXEC)
    await workshop.settle()
    assert len(workshop.owners) == 2
    stage.clock.advance(REFILL_AFTER_S)
    await workshop.settle()
    assert len(workshop.owners) == 3


@pytest.mark.parametrize("loss", ["not_entered", "sandbox_died"])
async def test_what_was_lost_meanwhile_is_removed_and_not_given(spares, workshop, loss):
    spares.refill(EXEC)
    await workshop.settle()
    last = workshop.owners[-1]
    last.not_entered("why") if loss == "not_entered" else last.sandbox_died()
    assert spares.take(EXEC) is workshop.made[0]
    await workshop.settle()
    assert workshop.removed == [workshop.made[1]]


@pytest.mark.parametrize("other", [EXEC, Kind(PYTHON), Kind(PYTHON_3_11, parked=True)])
async def test_each_kind_has_its_own(spares, workshop, other):
    spares.refill(Kind(PYTHON, parked=True))
    await workshop.settle()
    assert spares.take(other) is None
    assert spares.take(Kind(PYTHON, parked=True)) is not None


async def test_what_does_not_stand_yet_is_not_waited_for(spares, workshop):
    spares.refill(EXEC)
    await workshop.settle()
    first, second = workshop.made
    first.stands = second.stands = False
    assert spares.take(EXEC) is None
    second.stands = True
    assert spares.take(EXEC) is second
    first.stands = True
    assert spares.take(EXEC) is first


async def test_those_that_stand_are_counted_by_their_zygote(spares, workshop):
    for kind in (EXEC, Kind(PYTHON), Kind(PYTHON, parked=True)):
        spares.refill(kind)
    await workshop.settle()
    workshop.made[0].stands = False
    assert spares.counts() == {"exec": 1, "python3.12": 4}


async def test_what_cannot_be_made_is_tried_again_at_the_next_start(spares, workshop, stage):
    workshop.refusal = PlatformFault("cannot")
    spares.refill(EXEC)
    await workshop.settle()
    workshop.refusal = None
    assert spares.take(EXEC) is None
    stage.clock.advance(REFILL_AFTER_S)
    await workshop.settle()
    assert len(workshop.owners) == 2


async def test_a_stop_ends_those_that_stand_and_those_on_their_way(spares, workshop, stage):
    spares.refill(EXEC)
    await workshop.settle()
    spares.take(EXEC)
    stage.clock.advance(REFILL_AFTER_S)
    spares.stop()
    await workshop.settle()
    await workshop.settle()
    assert len(workshop.removed) == 2
    spares.refill(EXEC)
    await workshop.settle()
    assert len(workshop.owners) == 3
