import asyncio
import errno
import os
import socket
from pathlib import Path

import pytest

from lambdad.invoke.inner_sockets import InnerSockets


@pytest.fixture
def asked():
    return []


@pytest.fixture
def sockets(asked):
    return InnerSockets(asked.append)


@pytest.fixture(autouse=True)
def nothing_left_open():
    before = open_descriptors()
    yield
    assert open_descriptors() == before


def open_descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


async def wish(sockets):
    task = asyncio.ensure_future(sockets.open())
    await asyncio.sleep(0)
    return task


def tcp():
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM).detach()


@pytest.mark.asyncio
async def test_who_asked_gets_the_socket_of_the_same_key(sockets, asked):
    first, second = await wish(sockets), await wish(sockets)
    numbers = [tcp(), tcp()]
    for key, number in zip(reversed(asked), reversed(numbers), strict=True):
        sockets.opened(key, 0, [number])
    with await first as one, await second as two:
        assert [one.fileno(), two.fileno()] == numbers
        assert one.gettimeout() == 0


def listening():
    return socket.create_server(("127.0.0.1", 0)).detach()


def a_file():
    return os.open("/dev/null", os.O_RDONLY)


KINDS = {
    "listening": listening,
    "a datagram": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).detach(),
    "of version 6": lambda: socket.socket(socket.AF_INET6, socket.SOCK_STREAM).detach(),
    "of Unix": lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM).detach(),
    "a file": a_file,
}


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", KINDS)
async def test_anything_but_an_unused_tcp_socket_is_refused_and_closed(sockets, asked, kind):
    task = await wish(sockets)
    sockets.opened(asked[0], 0, [KINDS[kind]()])
    with pytest.raises(OSError, match=r"cannot|Socket operation"):
        await task


@pytest.mark.asyncio
async def test_one_that_is_connected_is_refused(sockets, asked):
    with socket.create_server(("127.0.0.1", 0)) as server:
        task = await wish(sockets)
        sockets.opened(asked[0], 0, [socket.create_connection(server.getsockname()).detach()])
        with pytest.raises(OSError, match="cannot use"):
            await task


@pytest.mark.asyncio
@pytest.mark.parametrize("count", [0, 2])
async def test_one_descriptor_is_wanted(sockets, asked, count):
    task = await wish(sockets)
    sockets.opened(asked[0], 0, [tcp() for _ in range(count)])
    with pytest.raises(OSError, match="cannot make a socket"):
        await task


@pytest.mark.asyncio
async def test_what_init_could_not_do_is_an_error(sockets, asked):
    task = await wish(sockets)
    sockets.opened(asked[0], errno.EMFILE, [])
    with pytest.raises(OSError, match="Too many open files") as caught:
        await task
    assert caught.value.errno == errno.EMFILE


@pytest.mark.asyncio
async def test_what_nobody_waits_for_is_closed(sockets, asked):
    sockets.opened(7, 0, [tcp()])
    task = await wish(sockets)
    task.cancel()
    sockets.opened(asked[0], 0, [tcp()])
    with pytest.raises(asyncio.CancelledError):
        await task
    sockets.opened(asked[0], 0, [tcp()])


@pytest.mark.asyncio
async def test_what_comes_just_before_a_cancellation_is_closed(sockets, asked):
    task = await wish(sockets)
    sockets.opened(asked[0], 0, [tcp()])
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.asyncio
async def test_nobody_waits_for_a_sandbox_that_has_ended(sockets):
    tasks = [await wish(sockets) for _ in range(3)]
    sockets.end()
    for task in tasks:
        with pytest.raises(ConnectionAbortedError, match="cannot make a socket"):
            await task


@pytest.mark.asyncio
async def test_what_cannot_be_asked_is_an_error():
    def ask(_key):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        await InnerSockets(ask).open()
