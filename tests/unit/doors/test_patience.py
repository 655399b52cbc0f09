"""How long a client may take. The clock is the test's: connections are looked at when it says."""

import asyncio
import math
import socket
from dataclasses import replace

import pytest

from lambdad.api.server import TERMS
from lambdad.http_door import Stage, overdue

POST = "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n"
PARTIAL = b"POST / HTTP/1.1\r\nHost: loc"


@pytest.mark.parametrize(
    ("stage", "seconds", "body", "late"),
    [
        (Stage.IDLE, 60, 0, False),
        (Stage.IDLE, 60.1, 0, True),
        (Stage.HEAD, 10, 0, False),
        (Stage.HEAD, 10.1, 0, True),
        (Stage.BODY, 10, 0, False),
        (Stage.BODY, 10.1, 0, True),
        (Stage.BODY, 20, 10_000, False),
        (Stage.BODY, 21, 10_000, True),
        (Stage.WORK, 1e9, 0, False),
    ],
)
def test_each_stage_has_its_time(stage, seconds, body, late):
    assert overdue(TERMS, stage, seconds, body) is late


def look(door, *times):
    for now in times:
        door.sweep.look(now)


@pytest.mark.asyncio
async def test_a_head_has_ten_seconds_as_a_whole(door):
    reader, writer = await door.connect()
    for second, byte in enumerate(PARTIAL[:11]):
        writer.write(bytes([byte]))
        await door.until(Stage.HEAD)
        await door.settled()
        look(door, second)
    assert door.connections()
    look(door, 10.5)
    await door.hung_up(reader)
    assert door.done == []


@pytest.mark.asyncio
async def test_a_body_comes_at_some_rate(door):
    slow, quick = await door.connect(), await door.connect()
    for _, writer in (slow, quick):
        writer.write(POST.format(door.post, 50_000).encode())
    await door.until(Stage.BODY, 2)
    look(door, 0)
    quick[1].write(b"1" * 49_999)
    slow[1].write(b"1" * 1_000)
    await door.settled()
    look(door, 30)
    await door.hung_up(slow[0])
    quick[1].write(b"1")
    assert (await quick[0].readuntil(b"\r\n")).startswith(b"HTTP/1.1 20")
    assert ("answer", b"1" * 50_000) in door.done


@pytest.mark.asyncio
async def test_an_idle_client_is_closed_but_a_runtime_stays(door):
    fresh, used = await door.connect(), await door.connect()
    used[1].write(POST.format(door.post, 1).encode() + b"1")
    await used[0].readuntil(b"\r\n\r\n")
    await door.until(Stage.IDLE, 2)
    look(door, 0, 59)
    assert len(door.connections()) >= 2
    look(door, 3_600)
    if door.name == "api":
        await door.hung_up(fresh[0])
        await door.hung_up(used[0])
    else:
        assert len(door.connections()) == 2
        assert not any(one._wire.is_closing() for one in door.connections())


@pytest.mark.asyncio
@pytest.mark.parametrize("door", ["runtime_api"], indirect=True)
async def test_an_event_that_is_not_taken_is_not_kept_for_ever(door):
    # Small buffers in the kernel, so that most of the event waits with us.
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        await loop.sock_connect(client, door.address)
        await loop.sock_sendall(client, door.smuggled)
        await door.until(Stage.WORK)
        look(door, 0, 29, 3_600)  # nothing was sent yet: it is we who let wait
        [connection] = door.connections()
        assert not connection._wire.is_closing()
        connection._wire.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096
        )
        door.environment.deliver(b"1" * 6_000_000)
        async with asyncio.timeout(10):
            while not connection._wire.get_write_buffer_size():  # noqa: ASYNC110  nobody tells of it
                await asyncio.sleep(0)
        look(door, 4_000, 4_029)
        assert not connection._wire.is_closing()
        look(door, 4_031)
        assert connection._wire.is_closing()
    finally:
        client.close()


class TestWithFewConnections:
    @pytest.fixture
    def terms(self):
        return replace(TERMS, connections=3)

    @pytest.mark.asyncio
    async def test_an_idle_one_makes_room(self, door):
        first, _, third = [await door.connect() for _ in range(3)]
        await door.until(Stage.IDLE, 3)
        last = await door.connect()
        await door.hung_up(first[0])
        for reader, writer in (third, last):
            writer.write(POST.format(door.post, 1).encode() + b"1")
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 20")

    @pytest.mark.asyncio
    async def test_a_busy_one_does_not(self, door):
        busy = [await door.connect() for _ in range(3)]
        for _, writer in busy:
            writer.write(POST.format(door.post, 1).encode())
        await door.until(Stage.BODY, 3)
        reader, _ = await door.connect()
        await door.hung_up(reader)
        for reader, writer in busy:
            writer.write(b"1")
            assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 20")


class TestWithOneConnectionThatMayStay:
    @pytest.fixture
    def terms(self):
        return replace(TERMS, connections=1, idle_s=math.inf)

    @pytest.mark.asyncio
    async def test_it_does_not_make_room(self, door):
        runtime = await door.connect()
        await door.until(Stage.IDLE)
        intruder = await door.connect()
        await door.hung_up(intruder[0])
        runtime[1].write(POST.format(door.post, 1).encode() + b"1")
        assert (await runtime[0].readuntil(b"\r\n")).startswith(b"HTTP/1.1 20")


class TestWithATimerOfItsOwn:
    @pytest.fixture
    def terms(self):
        return replace(TERMS, head_s=0.001, idle_s=math.inf)

    @pytest.mark.asyncio
    async def test_a_door_looks_by_itself(self, door):
        door.sweep._every_s = 0.001
        slow, idle = await door.connect(), await door.connect()
        slow[1].write(PARTIAL)
        await door.hung_up(slow[0])
        idle[1].write(POST.format(door.post, 1).encode() + b"1")
        assert (await idle[0].readuntil(b"\r\n")).startswith(b"HTTP/1.1 20")


@pytest.mark.asyncio
async def test_one_timer_serves_all_and_only_while_there_are_any(door):
    assert door.sweep._timer is None
    clients = [await door.connect() for _ in range(5)]
    await door.until(Stage.IDLE, 5)
    timer = door.sweep._timer
    assert timer is not None
    for _, writer in clients:
        writer.close()
    async with asyncio.timeout(10):
        while door.connections():  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert door.sweep._timer is None
    assert timer.cancelled()
