import asyncio
import fcntl
import os
import struct
from pathlib import Path

import pytest
import pytest_asyncio

from lambdad.invoke.output import FrameOutput, Output
from lambdad.model import limits
from lambdad.model.clock import SystemClock

PIPE_BYTES = 64 * 1024


class Written:
    """An output, and what its sink got."""

    def __init__(self):
        self.pieces = []
        self.output = Output(self.pieces.append, SystemClock())

    def write(self, data):
        os.write(self.output.write_end, data)
        return self

    def drained(self):
        self.output.drain()
        return b"".join(self.pieces)


@pytest_asyncio.fixture
async def written():
    written = Written()
    yield written
    written.output.close()


@pytest.mark.asyncio
async def test_whole_lines_come_whole(written):
    assert written.write(b"one\ntwo\n").drained() == b"one\ntwo\n"


@pytest.mark.asyncio
async def test_the_beginning_of_a_line_waits_for_its_end(written):
    assert written.write(b"one\ntw").drained() == b"one\n"
    assert written.write(b"o\nth").drained() == b"one\ntwo\n"


@pytest.mark.asyncio
async def test_what_was_left_without_a_newline_is_a_line_at_the_end(written):
    written.write(b"last words").output.flush()
    assert written.pieces == [b"last words\n"]
    written.output.flush()
    assert written.pieces == [b"last words\n"]


@pytest.mark.asyncio
async def test_draining_nothing_gives_nothing(written):
    assert written.drained() == b""
    assert written.pieces == []


@pytest.mark.asyncio
async def test_bytes_are_passed_on_whatever_they_mean(written):
    assert written.write(b"\x00\xff\r\x1b[31m\n").drained() == b"\x00\xff\r\x1b[31m\n"


@pytest.mark.asyncio
async def test_what_was_written_first_stands_first(written):
    written.write(b"of the function\n")
    written.output.drain()
    written.pieces.append(b"of the platform\n")
    written.write(b"of the next\n")
    assert written.drained() == b"of the function\nof the platform\nof the next\n"


@pytest.mark.asyncio
async def test_an_endless_line_is_cut_and_nothing_of_it_is_lost_or_kept(written):
    filling = b"x" * PIPE_BYTES
    for _ in range(16):
        written.write(filling).output.drain()
    written.output.flush()
    assert b"".join(written.pieces).replace(b"\n", b"") == filling * 16
    lines = b"".join(written.pieces).splitlines(keepends=True)
    assert len(lines) >= 3
    assert max(map(len, lines)) <= limits.log_line_bytes_max


@pytest.mark.asyncio
async def test_a_full_pipe_makes_the_writer_wait_not_the_daemon_grow(written):
    os.set_blocking(written.output.write_end, False)
    for _ in range(64):
        written.write(b"line\n" * 200 + b"x" * 24)
    with pytest.raises(BlockingIOError):
        written.write(b"one more")
    assert written.pieces == []
    assert written.drained().count(b"\n") <= PIPE_BYTES // 5


@pytest.mark.asyncio
async def test_a_guest_that_writes_without_end_does_not_hold_the_daemon():
    full = (b"x" * 1023 + b"\n") * 64
    reads = []

    def refill(_lines):
        reads.append(1)
        if len(reads) < 200:
            os.write(output.write_end, full)

    output = Output(refill, SystemClock())
    os.write(output.write_end, full)
    output.drain()
    at_once = len(reads)
    output.close()
    assert at_once < 100


@pytest.fixture
def open_descriptors():
    return lambda: {path.name for path in Path("/proc/self/fd").iterdir()}


@pytest.mark.asyncio
async def test_a_closed_output_leaves_no_descriptor(open_descriptors):
    before = open_descriptors()
    Output(lambda _: None, SystemClock()).close()
    assert open_descriptors() == before


@pytest.mark.asyncio
async def test_who_writes_without_end_is_read_in_turns(written):
    flood = b"x" * (PIPE_BYTES - 1) + b"\n"
    for number in range(3):
        written.write(flood)
        turns = 0
        while len(written.pieces) == number:
            await asyncio.sleep(0)
            turns += 1
        # The first is read at once; before each that follows everybody else has many turns.
        assert (turns > 2) == (number > 0)


@pytest.mark.asyncio
async def test_it_can_be_closed_while_a_flood_rests(written):
    written.write(b"x" * (PIPE_BYTES - 1) + b"\n")
    while not written.pieces:  # noqa: ASYNC110  a flood rests of itself
        await asyncio.sleep(0)
    assert written.output._rest is not None


def frame(text):
    return struct.pack(">IIQ", 0xA55A0003, len(text), 1_700_000_000_000_000) + text


@pytest_asyncio.fixture
async def framed():
    """An output of frames; its pieces are their texts."""
    written = Written()
    written.output.close()
    written.output = FrameOutput(lambda found: written.pieces.append(found.text), SystemClock())
    yield written
    written.output.close()


@pytest.mark.asyncio
async def test_frames_are_passed_on_one_by_one(framed):
    framed.write(frame(b"one\ntwo\n") + frame(b"three")[:18]).output.drain()
    assert framed.pieces == [b"one\ntwo\n"]
    framed.write(b"ree").output.drain()
    assert framed.pieces == [b"one\ntwo\n", b"three"]


@pytest.mark.asyncio
async def test_half_a_frame_is_dropped_when_its_writer_has_ended(framed):
    framed.write(frame(b"of the one killed")[:-3]).output.flush()
    framed.write(frame(b"of the next")).output.drain()
    assert framed.pieces == [b"of the next"]


@pytest.mark.asyncio
async def test_frames_are_read_without_being_asked_for(framed):
    framed.write(frame(b"one"))
    while not framed.pieces:  # noqa: ASYNC110  the loop reads by itself
        await asyncio.sleep(0)
    assert framed.pieces == [b"one"]


class Played:
    """A clock that says how long a sink takes: so much for each line or frame."""

    def __init__(self, event_s):
        self.event_s, self.now_s = event_s, 0.0

    def monotonic(self):
        return self.now_s

    def sink(self, lines):
        self.now_s += self.event_s * lines.count(b"\n")


@pytest.mark.asyncio
async def test_a_flood_rests_the_longer_the_more_time_it_takes():
    rests = []
    for event_s in (0.0, 1e-5, 1e-3):
        clock = Played(event_s)
        output = Output(clock.sink, clock)
        os.write(output.write_end, b"x\n" * 100)
        while output._rest is None:  # noqa: ASYNC110  the loop reads by itself
            await asyncio.sleep(0)
        rests.append(output._rest.when() - asyncio.get_running_loop().time())
        output.close()
    assert rests == sorted(rests)
    assert rests[-1] > 0.1


@pytest.mark.asyncio
async def test_a_flood_of_empty_lines_is_taken_in_short_turns(written):
    written.write(b"\n" * PIPE_BYTES)
    while sum(map(len, written.pieces)) < PIPE_BYTES:  # noqa: ASYNC110  the loop reads by itself
        await asyncio.sleep(0)
    assert max(map(len, written.pieces)) <= 1024


@pytest.mark.asyncio
async def test_a_flood_of_frames_is_taken_in_short_turns(framed):
    framed.write(frame(b"x") * 3000)
    taken = []
    while sum(taken) < 3000:
        before = len(framed.pieces)
        await asyncio.sleep(0)
        taken.append(len(framed.pieces) - before)
    assert max(taken) <= 1024


@pytest.mark.asyncio
async def test_what_a_larger_pipe_holds_is_not_followed_to_the_end(written):
    fcntl.fcntl(written.output.write_end, fcntl.F_SETPIPE_SZ, 16 * PIPE_BYTES)
    written.write(b"\n" * (16 * PIPE_BYTES))
    assert 1024 <= len(written.drained()) <= PIPE_BYTES
    while sum(map(len, written.pieces)) < 2 * PIPE_BYTES:  # noqa: ASYNC110  the rest comes later
        await asyncio.sleep(0)


@pytest.mark.asyncio
async def test_lines_that_take_long_are_not_drained_to_their_end():
    clock = Played(1e-3)
    output = Output(clock.sink, clock)
    os.write(output.write_end, b"x\n" * (PIPE_BYTES // 2))
    output.drain()
    assert clock.now_s <= 1
    output.close()


@pytest.mark.asyncio
async def test_what_a_drain_has_left_comes_without_a_further_word():
    clock = Played(1e-3)
    output = Output(clock.sink, clock)
    os.write(output.write_end, b"x\n" * 1000)
    output.drain()
    assert clock.now_s < 0.9
    while clock.now_s < 0.999:  # noqa: ASYNC110  the loop goes on by itself
        await asyncio.sleep(0)
    output.close()


@pytest.mark.asyncio
async def test_a_pipe_of_short_lines_is_drained_to_its_end(written):
    lines = b"1234\n" * (PIPE_BYTES // 5)
    assert written.write(lines).drained() == lines


@pytest.mark.asyncio
async def test_a_frame_that_waits_for_its_turn_is_not_broken_by_a_flush(framed):
    framed.write(frame(b"%04d") * 2000)
    framed.output.flush()
    framed.output.flush()
    assert framed.pieces == [b"%04d"] * 2000
