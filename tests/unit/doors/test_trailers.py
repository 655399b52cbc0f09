"""The scanner alone: the same bytes in any pieces give the same fields."""

import pytest

from lambdad.http_trailers import BadTrailers, Trailers
from lambdad.model import limits

BODY = b"5\r\nhel\r\n\r\n6;ext=1\r\n\n0\r\n\r\n\r\n0\r\n"
SECTION = b"X-Type: Some.Error\r\nX-BODY:\t aGk= \r\n\r\n"
FIELDS = {"x-type": "Some.Error", "x-body": "aGk="}


def fed(*parts):
    trailers = Trailers()
    for part in parts:
        trailers.feed(part)
    return trailers


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1_000])
def test_the_pieces_do_not_matter(size):
    data = BODY + SECTION
    trailers = fed(*(data[at : at + size] for at in range(0, len(data), size)))
    assert trailers.done
    assert trailers.fields == FIELDS
    assert trailers.section_bytes == len(SECTION)


@pytest.mark.parametrize("at", range(len(BODY + SECTION)))
def test_it_may_be_torn_anywhere(at):
    data = BODY + SECTION
    assert fed(data[:at], data[at:]).fields == FIELDS


def test_what_follows_is_no_trailer():
    trailers = fed(BODY + SECTION + b"GET / HTTP/1.1\r\nX-Type: Other\r\n\r\n", b"X-Body: x\r\n")
    assert trailers.fields == FIELDS


def test_a_body_without_trailers_has_none():
    trailers = fed(BODY + b"\r\n")
    assert (trailers.done, trailers.fields) == (True, {})


def test_it_is_not_done_before_the_last_line():
    assert not fed(BODY + SECTION[:-1]).done


@pytest.mark.parametrize(
    "data",
    [
        b"zz\r\n",
        b"\r\n",
        b"-6\r\n1\r\nx\r\n",
        b"+5\r\nhello\r\n",
        b"1_0\r\n",
        b"5\nhello\r\n",
        BODY + b"X-Type: a\n\r\n",
        b"1;" + b"x" * 10_000,
        BODY + b"X: " + b"x" * limits.trailer_section_bytes_max,
        BODY + b"X: y\r\n" * 300_000,
    ],
    ids=[
        "no size",
        "empty size",
        "minus",
        "plus",
        "underscore",
        "LF",
        "LF in the section",
        "extension",
        "field",
        "fields",
    ],
)
def test_nonsense_is_refused(data):
    with pytest.raises(BadTrailers):
        fed(data)
