"""Bytes that are hardly HTTP, in pieces: refused or cut off, at no cost for anybody else.

What is sent begins as requests that make sense, and is then cut, joined, repeated and spoilt.
"""

import asyncio
import contextlib
import itertools
import os

import pytest
from fuzz import calls
from fuzz.calls import GOOD_STEPS, Call
from fuzz.served import PATIENCE_S, check, served
from fuzz.test_histories import Player
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

BOUNDED = settings(
    max_examples=int(os.environ.get("LAMBDAD_FUZZ_EXAMPLES", "250")),
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)

_RESPONSE = calls.RUNTIME + b"/invocation/{id}/response"
_STREAMING = ((b"Lambda-Runtime-Function-Response-Mode", b"streaming"),)
_TRAILERS = (
    (b"Lambda-Runtime-Function-Error-Type", b"Function.Late"),
    (b"Lambda-Runtime-Function-Error-Body", b"e30="),
)
REQUESTS = [
    call.encoded(b"r-1", None)
    for call in (
        Call(b"GET", b"/2018-06-01/ping"),
        Call(b"GET", calls.NEXT),
        Call(b"POST", _RESPONSE, body=b'{"a":1}'),
        Call(b"POST", _RESPONSE, body=b"12345678", chunked=True),
        Call(b"POST", _RESPONSE, _STREAMING, b"12345678", chunked=True, trailers=_TRAILERS),
        Call(b"POST", calls.RUNTIME + b"/invocation/{id}/error", body=b"{}"),
        Call(b"POST", calls.RUNTIME + b"/init/error", ((b"Expect", b"100-continue"),), b"{}"),
        Call(b"POST", calls.EXTENSION + b"/register", ((b"Lambda-Extension-Name", b"a"),), b"{}"),
        Call(b"PUT", b"/2022-07-01/telemetry", body=b"{}"),
    )
]
ODDITIES = [
    b"\r\n",
    b"\n",
    b"\r",
    b"\r\n\r\n",
    b"\x00",
    b" ",
    b":",
    b"\xff",
    b"0\r\n\r\n",
    b"-1\r\n",
    b"FFFFFFFFFFFFFFFF\r\n",
    b"5;a=b\r\n",
    b"5" + b";" * 9_000 + b"\r\n",
    b"+5\r\n",
    b"0x5\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 7\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: " + b"9" * 5_000 + b"\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Trailer: x\r\n",
    b"Content-Encoding: gzip\r\n",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"Host: \r\n",
    b" folded\r\n",
    b"HTTP/1.0",
    b"HTTP/2.0",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"Lambda-Runtime-Function-Error-Type: x\r\n",
    b"x" * 70_000,
]


def _spoilt(data, spots):
    """With something odd at each spot: in between, or instead of what stood there."""
    for place, odd, instead in spots:
        at = place % (len(data) + 1)
        data = data[:at] + odd + data[at + instead :]
    return data


def _cut(data, cuts):
    """In pieces."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


_SPOTS = st.lists(
    st.tuples(
        st.integers(0, 2_000),
        st.sampled_from(ODDITIES) | st.binary(max_size=8),
        st.sampled_from([0, 0, 1, 2, 20]),
    ),
    max_size=4,
)
CONVERSATIONS = st.builds(
    lambda requests, spots, cuts: _cut(_spoilt(b"".join(requests), spots), cuts),
    st.lists(st.sampled_from(REQUESTS) | st.binary(max_size=64), min_size=1, max_size=4),
    _SPOTS,
    st.lists(st.integers(0, 2_000), max_size=4),
)


async def say(one, pieces):
    """Say it in pieces on one connection, then nothing more; every status that is answered."""
    client = await one.connect()
    client.waiting = asyncio.ensure_future(client.listen())
    for piece in pieces:
        client.send(piece)
        await one.settle()
    with contextlib.suppress(OSError):
        client.writer.write_eof()
    await one.settle()
    client.end()  # Who has asked for an event, and for more behind it, is not heard any more.
    return client.statuses


async def ping(one):
    client = await one.connect()
    client.send(Call(b"GET", b"/2018-06-01/ping").encoded(b"", None))
    async with asyncio.timeout(PATIENCE_S):
        answer = await client.receive()
    check(answer)
    return answer.body


async def converse(kind, steps, conversations):
    """Have them at the same time, each on its connection, in an environment of its own."""
    async with served(kind) as one:
        await Player(one).play([move for step in GOOD_STEPS[:steps] for move in step(kind, 0)])
        said = await asyncio.gather(*(say(one, pieces) for pieces in conversations))
        one.untroubled()
        assert all(status < 500 for statuses in said for status in statuses), said
        assert await ping(one) == b"pong"


@BOUNDED
@given(
    conversations=st.lists(CONVERSATIONS, min_size=1, max_size=3),
    kind=st.sampled_from(["on demand", "managed"]),
    steps=st.sampled_from([0, 4]),
)
def test_bytes_are_refused_or_cut_off(conversations, kind, steps):
    asyncio.run(converse(kind, steps, conversations))


@pytest.mark.parametrize("request_", REQUESTS)
def test_a_request_may_end_anywhere(request_):
    pieces = [[request_[:end]] for end in range(0, len(request_), 7)]
    for start in range(0, len(pieces), 20):
        asyncio.run(converse("on demand", 4, pieces[start : start + 20]))
