import io

from hypothesis import given
from hypothesis import strategies as st

from lambdad.observe import log_records
from lambdad.observe.log_records import (
    Contents,
    Span,
    pack_deletion,
    pack_event,
    pack_stream,
    records,
    survey,
)

WHOLE = b"".join(
    (
        pack_stream(0, "a", 10),
        pack_event(0, 5, 10, b"one\n"),
        pack_stream(1, "b", 20),
        pack_event(1, 7, 20, b"\xff\x00"),
        pack_event(0, 6, 30, b""),
    )
)


def read(data, size=None):
    found = records(io.BytesIO(data), len(data) if size is None else size)
    return [(r.stream, r.timestamp_ms, r.ingested_ms, r.message) for r in found]


def test_what_was_packed_is_read():
    assert read(WHOLE) == [
        ("a", 10, 10, None),
        ("a", 5, 10, b"one\n"),
        ("b", 20, 20, None),
        ("b", 7, 20, b"\xff\x00"),
        ("a", 6, 30, b""),
    ]


def test_a_record_that_was_cut_off_is_none():
    ends = [0, *(record.end for record in records(io.BytesIO(WHOLE), len(WHOLE)))]
    for size in range(len(WHOLE) + 1):
        whole = sum(end <= size for end in ends) - 1
        assert len(read(WHOLE[:size])) == whole
        assert len(read(WHOLE, size)) == whole


def test_what_stands_behind_a_broken_record_is_none():
    assert len(read(WHOLE + b"\0" * 100)) == 5
    assert len(read(WHOLE + pack_event(7, 1, 1, b"of no stream") + WHOLE)) == 5


@given(st.binary(max_size=200))
def test_anything_can_be_read(data):
    read(data)
    read(WHOLE + data)


def test_a_survey_tells_of_each_stream():
    streams = {"a": Span(0, 10, 5, 6, 30, 4), "b": Span(1, 20, 7, 7, 20, 2)}
    assert survey(WHOLE + b"\0") == Contents(streams, set(), 2, len(WHOLE))


def test_a_survey_leaves_out_what_was_deleted():
    again = pack_deletion(0, 40) + pack_stream(2, "a", 50) + pack_event(2, 51, 52, b"new")
    streams = {"a": Span(2, 50, 51, 51, 52, 3), "b": Span(1, 20, 7, 7, 20, 2)}
    assert survey(WHOLE + again) == Contents(streams, {"a"}, 3, len(WHOLE + again))


@given(st.binary(max_size=60), st.integers(0, len(WHOLE)))
def test_a_survey_ends_where_reading_does(data, cut):
    broken = WHOLE[:cut] + data
    ends = [0, *(record.end for record in records(io.BytesIO(broken), len(broken)))]
    assert survey(broken).size == ends[-1]


def test_spans_of_two_segments_are_joined():
    earlier, later = Span(3, 10, 5, 9, 11, 100), Span(0, 20, 4, 8, 21, 1)
    assert earlier.joined(later) == Span(0, 10, 4, 9, 21, 101)
    empty = log_records.Span(5, 2)
    assert earlier.joined(empty) == Span(3, 2, 5, 9, 11, 100)
    assert empty.joined(later) == Span(0, 2, 4, 8, 21, 1)
