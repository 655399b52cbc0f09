import asyncio
import os
import threading
from ipaddress import IPv4Address

import pytest
import pytest_asyncio

from lambdad.model import limits
from lambdad.network import networks as module
from lambdad.network.networks import Networks, NoWay
from lambdad.network.policy import CannotConnect

pytestmark = pytest.mark.asyncio


class Workshop:
    """A way whose namespaces are pipes' ends; remembers what it was asked, and by whom."""

    def __init__(self):
        self.made, self.gone, self.threads, self.refusal = [], [], set(), None
        self.opened = self.closed = 0

    def open(self):
        self.opened += 1
        return "nameserver 192.0.2.53\n"

    def connect(self, runtime_api_host):
        self.threads.add(threading.current_thread())
        if self.refusal is not None:
            raise self.refusal
        address = IPv4Address("100.64.0.2") + len(self.made)
        self.made.append(os.open(os.devnull, os.O_RDONLY))
        return self.made[-1], address

    def disconnected(self, address):
        self.gone.append(address)

    def close(self):
        self.closed += 1


def is_open(descriptor):
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


async def settle(networks):
    """Let what was begun by itself come to its end."""
    while networks._tasks:
        await asyncio.wait(list(networks._tasks))


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    """What is put off is put off until the test says so."""
    monkeypatch.setattr(module, "REFILL_AFTER_S", 10_000)
    monkeypatch.setattr(module, "QUIET_S", 10_000)


@pytest.fixture
def workshop():
    return Workshop()


@pytest_asyncio.fixture
async def networks(workshop):
    networks = Networks(workshop, 2)
    assert await networks.start() == "nameserver 192.0.2.53\n"
    await settle(networks)
    yield networks
    await networks.stop()
    assert not any(map(is_open, workshop.made))
    assert workshop.closed == 1


async def test_as_many_as_were_asked_for_stand_ready(networks, workshop):
    assert len(workshop.made) == 2
    await networks.take()
    await networks.take()
    assert len(workshop.made) == 2


async def test_one_more_than_stand_ready_is_made_now(networks, workshop):
    taken = [await networks.take() for _ in range(3)]
    assert len({network.fd for network in taken}) == 3
    assert all(is_open(network.fd) for network in taken)


async def test_what_was_taken_is_made_again(networks, workshop):
    await networks.take()
    networks._refill()
    networks._refill()
    await settle(networks)
    assert len(workshop.made) == 3


async def test_nothing_is_made_on_the_loop(networks, workshop):
    assert threading.current_thread() not in workshop.threads
    assert len(workshop.threads) == 1


async def test_what_was_given_back_is_never_taken_again(networks, workshop):
    seen = set()
    for _ in range(5):
        network = await networks.take()
        assert network.address not in seen
        seen.add(network.address)
        networks.give_back(network)


async def test_a_grave_stays_until_it_is_quiet(networks, workshop):
    network = await networks.take()
    networks.give_back(network)
    assert is_open(network.fd)
    assert workshop.gone == []
    networks._bury()
    await settle(networks)
    assert not is_open(network.fd)
    assert workshop.gone == [network.address]


async def test_quiet_begins_anew_with_each_taken_and_each_given_back(networks):
    first = networks._quiet
    network = await networks.take()
    second = networks._quiet
    networks.give_back(network)
    assert first is None
    assert second.cancelled()
    assert not networks._quiet.cancelled()


async def test_full_graves_are_closed_together(networks, workshop):
    taken = [await networks.take() for _ in range(limits.networks_in_graves_max)]
    for network in taken[:-1]:
        networks.give_back(network)
    assert all(is_open(network.fd) for network in taken)
    networks.give_back(taken[-1])
    await settle(networks)
    assert not any(is_open(network.fd) for network in taken)
    assert sorted(workshop.gone) == sorted(network.address for network in taken)


async def test_one_that_cannot_be_made_is_an_error_of_the_taker_only(networks, workshop):
    workshop.refusal = OSError(28, "No space left on device")
    await networks.take()
    networks._refill()
    await settle(networks)
    await networks.take()
    with pytest.raises(OSError, match="No space"):
        await networks.take()
    workshop.refusal = None
    await networks.take()


async def test_a_stop_waits_for_those_on_their_way(workshop):
    networks = Networks(workshop, 5)
    await networks.start()
    taken = await networks.take()
    networks._refill()
    await networks.stop()
    assert len(workshop.made) >= 5
    assert not any(map(is_open, workshop.made))
    assert taken.address in workshop.gone
    networks._refill()
    assert not networks._tasks


async def test_a_start_without_a_first_network_leaves_nothing(workshop):
    workshop.refusal = OSError(1, "Operation not permitted")
    networks = Networks(workshop, 5)
    with pytest.raises(CannotConnect, match=r"^cannot make a network: .*not permitted.*CAP_SYS"):
        await networks.start()
    assert (workshop.opened, workshop.closed) == (1, 1)


async def test_a_start_without_a_way_leaves_nothing(workshop, monkeypatch):
    def unable():
        raise CannotConnect("cannot give environments a way out: not root")

    monkeypatch.setattr(workshop, "open", unable)
    with pytest.raises(CannotConnect, match="not root"):
        await Networks(workshop, 5).start()
    assert workshop.closed == 0


async def test_without_a_way_out_there_is_nothing_to_resolve():
    assert NoWay().open() == ""
