import asyncio

import pytest
import pytest_asyncio

from lambdad.invoke.stream import Stream
from lambdad.model import limits
from lambdad.model.errors import FunctionError, PlatformFault

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def stream(stage):
    return Stream("text/plain", stage.clock)


async def test_a_piece_arrives_before_the_next_is_written(stream):
    writing = asyncio.ensure_future(stream.write(b"one"))
    assert await anext(stream) == b"one"
    await writing
    stream.end()
    assert [piece async for piece in stream] == []
    assert (stream.error_type, stream.error_body, stream.written_bytes) == ("", b"", 3)


async def test_who_writes_waits_for_who_reads(stream, stage):
    writing = asyncio.ensure_future(stream.write(b"one"))
    await stage.settle()
    assert not writing.done()
    assert await anext(stream) == b"one"
    await writing


async def test_who_reads_waits_for_who_writes(stream, stage):
    reading = asyncio.ensure_future(anext(stream))
    await stage.settle()
    assert not reading.done()
    await stream.write(b"one")
    assert await reading == b"one"


async def test_an_empty_chunk_is_no_end(stream, stage):
    reading = asyncio.ensure_future(anext(stream))
    await stream.write(b"")
    await stage.settle()
    assert not reading.done()
    await stream.write(b"one")
    assert await reading == b"one"


async def test_what_was_written_is_read_before_the_end(stream, stage):
    writing = asyncio.ensure_future(stream.write(b"one"))
    await stage.settle()
    stream.fail(FunctionError("Sandbox.Timedout", b"{}"))
    await writing
    assert [piece async for piece in stream] == [b"one"]
    assert (stream.error_type, stream.error_body) == ("Sandbox.Timedout", b"{}")


async def test_the_first_word_on_how_it_ended_stands(stream):
    stream.end()
    stream.fail(FunctionError("Sandbox.Timedout", b"{}"))
    stream.end("Other", b"x")
    assert (stream.error_type, stream.error_body) == ("", b"")


async def test_a_fault_of_the_platform_ends_it_by_its_name(stream):
    stream.fail(PlatformFault("cannot run it"))
    assert (stream.error_type, stream.error_body) == ("Sandbox.Failure", b"cannot run it")


async def test_whoever_reads_is_told_at_once_that_it_is_over(stream, stage):
    reading = asyncio.ensure_future(anext(stream, None))
    await stage.settle()
    stream.end()
    assert await reading is None


async def test_nobody_waits_for_a_reader_that_has_gone(stream, stage):
    writing = asyncio.ensure_future(stream.write(b"one"))
    await stage.settle()
    stream.abandon()
    await writing
    await stream.write(b"x" * limits.stream_burst_bytes)
    await stream.write(b"x" * limits.stream_burst_bytes)
    assert stream.written_bytes == 3 + 2 * limits.stream_burst_bytes


async def test_after_a_burst_it_flows_at_its_rate(stream, stage):
    burst, rate = limits.stream_burst_bytes, limits.stream_bytes_per_s
    came = []

    async def read():
        async for piece in stream:
            came.append(len(piece))  # noqa: PERF401  it is looked at while it grows

    reading = asyncio.ensure_future(read())
    writing = asyncio.ensure_future(stream.write(b"x" * (burst + rate)))
    await stage.settle()
    assert sum(came) == burst
    for tick in range(1, 9):
        assert not writing.done()
        stage.clock.advance(0.125)
        await stage.settle()
        assert sum(came) == burst + tick * rate // 8
    await writing
    stream.end()
    await reading
