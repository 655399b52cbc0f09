"""Environments that reach nobody but themselves."""

import errno
import os
import socket
from pathlib import Path

import pytest

from lambdad.model import limits
from lambdad.network import namespaces
from lambdad.network.networks import NoWay

pytestmark = pytest.mark.root

API = (limits.runtime_api_host, limits.runtime_api_port)


def test_an_environment_talks_to_itself_and_has_no_way_elsewhere(world):
    async def scenario(networks):
        network = await networks.take()
        assert network.address is None
        for address in ("127.0.0.1", limits.runtime_api_host):
            world.serve(network.fd, address, 80)
            world.connect(network.fd, address, 80)
        links = world.at(network.fd, lambda: [name for _, name in socket.if_nameindex()])
        assert links == ["lo"]
        for address in ("203.0.113.7", "198.51.100.2", "169.254.169.254"):
            with pytest.raises(OSError, match=r"\[Errno 101\]"):
                world.connect(network.fd, address, 80)

    world.run(NoWay(), scenario)


def test_each_has_the_runtime_api_for_itself(world):
    async def scenario(networks):
        one, other = await networks.take(), await networks.take()
        assert os.fstat(one.fd).st_ino != os.fstat(other.fd).st_ino
        server = world.serve(one.fd, *API)
        world.serve(other.fd, *API)
        world.connect(one.fd, *API)
        server.accept()[0].close()

    world.run(NoWay(), scenario)


def test_who_makes_one_stays_where_it_was(world):
    def inode():
        return Path(namespaces.OWN).stat().st_ino

    before = world.on_host(inode)

    def make():
        os.close(namespaces.make(limits.runtime_api_host, lambda: None))
        return inode()

    assert world.on_host(make) == before


def test_one_that_fails_leaves_no_descriptor_and_no_link(world):
    def furnish():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="No space"):
        world.on_host(namespaces.make, limits.runtime_api_host, furnish)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_knob_is_set_where_the_caller_is(world):
    knob = "ipv4/conf/all/forwarding"
    assert world.on_host(namespaces.set_sysctl, knob, "1") is True
    assert world.on_host(namespaces.set_sysctl, knob, "1") is False
    assert world.at(world.internet, Path("/proc/sys/net", knob).read_text) == "0\n"
