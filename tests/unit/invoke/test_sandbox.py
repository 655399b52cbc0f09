"""What the daemon makes of what comes out of a sandbox; the sandbox is played."""

import asyncio
import os
import socket
import subprocess

import pytest
import pytest_asyncio
from unit.invoke.fakes import FakeCgroup

from lambdad.invoke.sandbox import Sandbox
from lambdad_sandbox import channel
from lambdad_sandbox.messages import Spawned

pytestmark = pytest.mark.asyncio


class Owner:
    """Lets who waits for it know why a sandbox is not to be had."""

    def __init__(self):
        self.doubt = asyncio.get_running_loop().create_future()

    def not_entered(self, why):
        self.doubt.set_result(why)

    def sandbox_died(self):
        """It is ended with the test."""


class Zygote:
    """Keeps the channel that it is given, as a clone would."""

    def request(self, message, descriptors):
        self.message = message
        self.end = socket.socket(fileno=os.dup(descriptors[message.descriptors.index("control")]))


class PlayedCgroup(FakeCgroup):
    def born(self, pidfd):
        """It has no use for that."""

    close_fds = kill = remove = lambda self: None


@pytest.fixture
def process():
    """One that is confined in no way."""
    with subprocess.Popen(["/bin/sleep", "100"]) as one:
        yield one
        one.kill()


@pytest_asyncio.fixture
async def clone(process):
    """Asked for, and about to say that it stands."""
    owner, zygote = Owner(), Zygote()
    sandbox = Sandbox("one", 1000, PlayedCgroup(), owner)
    sandbox.request(zygote, (), (), own_network=True, parked=True)
    with zygote.end:
        yield sandbox, owner, zygote
        process.kill()
        await sandbox.remove(None)


async def test_a_runtime_that_stands_by_is_asked_for_by_name(clone):
    _, _, zygote = clone
    assert zygote.message.parked
    assert zygote.message.own_network


async def test_a_runtime_that_stands_by_unconfined_is_not_trusted(clone, process):
    sandbox, owner, zygote = clone
    assert not sandbox.stands
    pidfd = os.pidfd_open(process.pid)
    channel.send(zygote.end, Spawned(("init", "runtime")), (pidfd, pidfd))
    os.close(pidfd)
    assert (await owner.doubt).startswith("cannot trust the sandbox: ")
    assert sandbox.stands
