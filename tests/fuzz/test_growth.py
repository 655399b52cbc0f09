"""What hostile guests leave behind: nothing, however often they do it."""

import asyncio
import gc
import tracemalloc

import pytest
from fuzz import calls
from fuzz.calls import Call
from fuzz.served import served

from lambdad.invoke.lifecycle import State

ROUNDS, ROUND = 3, 100
TASKS_MAX = 40  # of those that ask, some may not have been found gone yet
GROWTH_BYTES_MAX = 64 * 1024  # of a round; a call that is kept takes some 10 KB

NEXT = Call(b"GET", calls.NEXT)
REGISTER = Call(
    b"POST",
    calls.EXTENSION + b"/register",
    ((b"Lambda-Extension-Name", b"inner"),),
    b'{"events":["INVOKE"]}',
)


async def ask(one, call, identifier=None, request_id=b"r-1"):
    """The answer to a call on a connection of its own."""
    client = await one.connect()
    client.send(call.encoded(request_id, identifier))
    answer = await client.receive()
    client.end()
    one.clients.remove(client)
    return answer


async def leave(one, call, identifier=None):
    """Ask for what takes its time, and do not wait for it."""
    client = await one.connect()
    client.send(call.encoded(b"r-1", identifier))
    await one.settle()
    client.end()
    one.clients.remove(client)
    await one.settle()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("kind", "call"),
    [
        ("on demand", NEXT),
        ("managed", NEXT),
        ("snap start", Call(b"GET", calls.RESTORED)),
    ],
)
async def test_who_asks_and_leaves_leaves_nothing(kind, call):
    async with served(kind) as one:
        await ask(one, REGISTER)  # An extension that never polls: init takes its time.
        for _ in range(ROUND):
            await leave(one, call)
        assert len(asyncio.all_tasks()) <= TASKS_MAX


@pytest.mark.asyncio
async def test_an_extension_that_asks_and_leaves_leaves_nothing():
    async with served("on demand") as one:
        registered = await ask(one, REGISTER)
        identifier = registered.headers["lambda-extension-identifier"].encode()
        for _ in range(ROUND):
            await leave(one, Call(b"GET", calls.POLL), identifier)
        assert len(asyncio.all_tasks()) <= TASKS_MAX


@pytest.mark.asyncio
async def test_an_event_is_not_given_to_a_worker_that_has_left():
    async with served("managed") as one:
        await leave(one, NEXT)
        client = await one.connect()
        client.send(NEXT.encoded(b"", None))
        await one.settle()
        assert one.environment.state is State.IDLE
        one.invoke()
        async with asyncio.timeout(10):
            answer = await client.receive()
        assert answer.headers["lambda-runtime-aws-request-id"] == "r-1"


@pytest.mark.asyncio
async def test_who_is_refused_and_leaves_leaves_nothing():
    async with served("on demand") as one:
        for _ in range(ROUND):
            client = await one.connect()
            client.send(b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12")
            assert (await client.receive()).status == 404
            client.end()
            one.clients.remove(client)
            await one.settle()
        assert len(asyncio.all_tasks()) <= TASKS_MAX


@pytest.mark.asyncio
async def test_what_makes_no_sense_behind_an_answer_is_not_worth_a_word():
    async with served("on demand") as one:
        client = await one.connect()
        client.send(
            b"POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n12345\r\n"
        )
        assert (await client.receive()).status == 404
        client.send(b"zz\r\n")
        await one.settle()
        one.untroubled()


HOSTILE = [
    Call(b"POST", calls.RUNTIME + b"/invocation/{id}/error", body=b"x" * 100_000, request_id=b"no"),
    Call(b"PUT", b"/2022-07-01/telemetry", body=calls.nested(50_000), extension=1),
    Call(b"POST", calls.EXTENSION + b"/register", body=calls.nested(50_000, b'{"a":', b"}")),
    Call(b"POST", calls.EXTENSION + b"/init/error", ((b"Content-Type", b"a/b" + b";" * 60_000),)),
    Call(b"GET", b"/" + b"a" * 8_000),
    Call(b"GET", b"/" + b"a" * 9_000),
    Call(b"GET", b"/2018-06-01/ping", ((b"X", b"a" * 1_000_000),)),
    Call(b"GET", b"/2018-06-01/ping", ((b"X", b"a" * 1_200_000),)),
    Call(b"GET", b"/2018-06-01/ping", ((b"X", b"a" * 600_000), (b"Y", b"a" * 600_000))),
    Call(b"GET", b"/2018-06-01/ping", tuple((b"X", b"%d" % n) for n in range(200))),
]


async def attack(one, number):
    for call in HOSTILE:
        # Each is told apart from those before, so that whatever remembers them would grow.
        header = (b"X-Number", b"%d" % number)
        told_apart = Call(call.method, call.path, (*call.headers, header), call.body)
        answer = await ask(one, told_apart, b"00000000-0000-4000-8000-%012x" % number, b"no")
        assert answer.status is None or answer.status < 500


def held_bytes():
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.asyncio
async def test_hostile_calls_leave_no_memory_behind():
    async with served("on demand", ("extension-0",)) as one:
        for number in range(ROUND):  # What is made once and for all is made now.
            await attack(one, number)
        tracemalloc.start()
        try:
            before = held_bytes()
            for number in range(ROUNDS * 10):
                await attack(one, ROUND + number)
            grown = held_bytes() - before
        finally:
            tracemalloc.stop()
        assert grown < GROWTH_BYTES_MAX
        assert len(asyncio.all_tasks()) <= TASKS_MAX
