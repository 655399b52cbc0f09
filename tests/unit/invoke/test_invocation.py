import asyncio

import pytest
import pytest_asyncio

from lambdad.invoke.invocation import Run
from lambdad.model.errors import FunctionError, PlatformFault

pytestmark = pytest.mark.asyncio


@pytest_asyncio.fixture
async def run(stage):
    return Run(stage.invocation(), asyncio.get_running_loop(), stage.clock)


async def test_an_answer_is_measured_from_its_first_byte_to_its_last(run, stage):
    assert (run.first_byte_s, run.last_byte_s, run.produced_bytes) == (None, None, 0)
    stage.clock.advance(1.0)
    run.begin()
    stage.clock.advance(0.5)
    run.answer(b"12345")
    assert (run.first_byte_s, run.last_byte_s, run.produced_bytes) == (1_001.0, 1_001.5, 5)
    assert run.answered.result() == b"12345"


async def test_an_error_of_the_runtimes_own_is_measured_like_an_answer(run, stage):
    run.begin()
    run.fail(FunctionError("Runtime.Unknown", b"{}", status=None))
    assert (run.last_byte_s, run.produced_bytes) == (1_000.0, 2)


async def test_what_the_platform_says_is_no_answer_of_the_runtime(run):
    run.fail(FunctionError("Sandbox.Timedout", b"{}", status="timeout"))
    assert (run.first_byte_s, run.last_byte_s, run.produced_bytes) == (None, None, 0)


async def test_a_stream_is_an_answer_before_anything_is_in_it(run, stage):
    run.begin()
    stream = run.open_stream("text/plain")
    assert run.answered.result() is stream
    writing = asyncio.ensure_future(stream.write(b"123"))
    assert await anext(stream) == b"123"
    await writing
    stage.clock.advance(2.0)
    run.end_stream("E", b"why")
    assert (run.last_byte_s, run.produced_bytes) == (1_002.0, 3)
    assert (stream.error_type, stream.error_body) == ("E", b"why")


@pytest.mark.parametrize("error", [FunctionError("Sandbox.Timedout", b"{}"), PlatformFault("no")])
async def test_a_run_that_fails_in_the_middle_of_a_stream_ends_the_stream(run, error):
    stream = run.open_stream("text/plain")
    run.fail(error)
    assert await anext(stream, None) is None
    assert stream.error_type in {"Sandbox.Timedout", "Sandbox.Failure"}
    assert run.last_byte_s is None


async def test_nobody_reads_a_stream_that_comes_after_the_verdict(run):
    run.fail(FunctionError("Sandbox.Timedout", b"{}"))
    stream = run.open_stream("text/plain")
    await stream.write(b"dropped")
    assert isinstance(run.answered.exception(), FunctionError)
