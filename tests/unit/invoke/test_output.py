import asyncio
import os
import struct
from pathlib import Path

import pytest
import pytest_asyncio

from lambdad.invoke.output import FrameOutput, Output
from lambdad.model import limits

PIPE_BYTES = 64 * 1024


class Written:
    """An output, and what its sink got."""

    def __init__(self):
        self.pieces = []
        self.output = Output(self.pieces.append)

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

    output = Output(refill)
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
    Output(lambda _: None).close()
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
    written.output = FrameOutput(lambda found: written.pieces.append(found.text))
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


@pytest.mark.asyncio
async def test_a_flood_rests_the_longer_the_more_lines_it_is_made_of(written):
    loop = asyncio.get_running_loop()
    rests = []
    for line in (b"x" * 1023 + b"\n", b"x\n"):
        before = len(written.pieces)
        written.write(line * (PIPE_BYTES // len(line)))
        while len(written.pieces) == before:  # noqa: ASYNC110  the loop reads by itself
            await asyncio.sleep(0)
        rests.append(written.output._rest.when() - loop.time())
    assert rests[0] < rests[1]
