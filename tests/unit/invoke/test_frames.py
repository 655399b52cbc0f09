import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdad.invoke.frames import Frame, Frames
from lambdad.invoke.log_level import Level
from lambdad.model import limits

TEXT, JSON, OLDEST = 0xA55A0003, 0xA55A0002, 0xA55A0001
MICROS = 1_700_000_000_123_456
PIECE = limits.log_line_bytes_max


def frame(text=b"text\n", kind=TEXT, size=None):
    return struct.pack(">IIQ", kind, len(text) if size is None else size, MICROS) + text


def texts(frames):
    return [found.text for found in frames]


@pytest.mark.parametrize(
    ("kind", "level"),
    [
        (0xA55A0003, None),
        (0xA55A0002, None),
        (0xA55A0007, Level.TRACE),
        (0xA55A0006, Level.TRACE),
        (0xA55A000B, Level.DEBUG),
        (0xA55A000A, Level.DEBUG),
        (0xA55A000F, Level.INFO),
        (0xA55A000E, Level.INFO),
        (0xA55A0013, Level.WARN),
        (0xA55A0012, Level.WARN),
        (0xA55A0017, Level.ERROR),
        (0xA55A0016, Level.ERROR),
        (0xA55A001B, Level.FATAL),
        (0xA55A001A, Level.FATAL),
    ],
)
def test_a_type_says_the_level(kind, level):
    assert Frames().feed(frame(kind=kind)) == [Frame(level, b"text\n")]


def test_the_oldest_form_has_no_time():
    data = struct.pack(">II", OLDEST, 3) + b"old"
    assert Frames().feed(data + frame()) == [
        Frame(None, b"old"),
        Frame(None, b"text\n"),
    ]


def test_a_frame_keeps_all_its_lines():
    assert texts(Frames().feed(frame(b"one\n\ntwo\n"))) == [b"one\n\ntwo\n"]


def test_an_empty_frame_is_no_event():
    assert texts(Frames().feed(frame(b"") + frame(b"a"))) == [b"a"]


def test_a_frame_may_hold_what_looks_like_another():
    inner = frame(b"inner")
    assert texts(Frames().feed(frame(inner))) == [inner]


@pytest.mark.parametrize(
    "garbage",
    [
        b"what is no frame\n",
        b"\xa5",
        b"\xa5\x5a\x00",
        b"\xa5\x5a\x00\x00",
        b"\xa5\x5a\x00\x1f",
        b"\xa5\x5a\x00\x04" + bytes(12),
        b"\xa5\xa5\x5a\xa5\x5a\x00",
        bytes(100_000),
    ],
)
@pytest.mark.parametrize("bytes_at_once", [1, 1_000_000])
def test_what_is_no_frame_is_skipped_up_to_the_next(garbage, bytes_at_once):
    data = garbage + frame(b"a") + garbage + frame(b"b")
    frames, found = Frames(), []
    for start in range(0, len(data), bytes_at_once):
        found += frames.feed(data[start : start + bytes_at_once])
    assert texts(found) == [b"a", b"b"]


def test_a_frame_too_long_comes_in_pieces():
    text = bytes(range(256)) * 2048 + b"the rest"
    found = Frames().feed(frame(text, TEXT | 0x10) + frame(b"next"))
    assert [len(piece.text) for piece in found] == [PIECE, PIECE, 8, 4]
    assert b"".join(texts(found[:3])) == text
    assert {piece.level for piece in found[:3]} == {Level.WARN}


def test_a_frame_that_never_ends_is_never_kept():
    frames = Frames()
    frames.feed(frame(b"", size=0xFFFF_FFFF))
    pieces = 0
    for _ in range(100):
        pieces += len(frames.feed(bytes(65_536)))
        assert len(frames._rest) < PIECE
    assert pieces == 100 * 65_536 // PIECE


cut_anywhere = st.lists(st.integers(1, 40), max_size=60)
some_frame = st.tuples(st.binary(min_size=1, max_size=60), st.sampled_from([TEXT, JSON, TEXT | 24]))


def fed(data, sizes):
    """What is found when the data comes in chunks of these sizes, the rest at once."""
    frames, found = Frames(), []
    for size in sizes:
        found += frames.feed(data[:size])
        data = data[size:]
    return found + frames.feed(data)


@given(st.lists(some_frame, max_size=8), cut_anywhere)
def test_it_does_not_matter_where_the_stream_is_cut(written, sizes):
    data = b"".join(frame(text, kind) for text, kind in written)
    assert texts(fed(data, sizes)) == [text for text, _ in written]


broken = st.one_of(
    st.binary(max_size=40),
    st.just(b"\xa5\x5a\x00"),
    st.builds(
        frame, st.binary(max_size=9), st.integers(0xA55A0000, 0xA55A00FF), st.integers(0, 99)
    ),
)


@given(st.lists(broken, max_size=20).map(b"".join), cut_anywhere)
def test_whatever_comes_it_is_read_the_same_however_it_is_cut(data, sizes):
    assert fed(data, sizes) == fed(data, [])


no_frame = st.one_of(
    st.binary(max_size=40).filter(lambda data: b"\xa5" not in data),
    st.sampled_from([b"\xa5\x5a\x00\x00", b"\xa5\x5a\x00\x04", b"\xa5\x5a\x00\x1f", b"\xa5\x5a!"]),
)


@given(
    st.lists(no_frame, max_size=20).map(b"".join), st.binary(min_size=1, max_size=40), cut_anywhere
)
def test_behind_anything_that_is_no_frame_the_next_one_is_found(garbage, text, sizes):
    assert texts(fed(garbage + frame(text), sizes)) == [text]
