import datetime as dt

import pytest

from lambdad.api.wire import timestamp

MOMENT = dt.datetime(2026, 11, 21, 9, 30, 0, tzinfo=dt.UTC)


def test_a_body_has_seconds_since_the_epoch():
    assert timestamp.to_seconds(MOMENT) == 1795253400
    assert isinstance(timestamp.to_seconds(MOMENT), int)
    assert timestamp.to_seconds(MOMENT.replace(microsecond=250_000)) == 1795253400.25
    assert timestamp.from_seconds(1795253400.25) == MOMENT.replace(microsecond=250_000)


@pytest.mark.parametrize(
    "text", ["2026-11-21T09:30:00Z", "2026-11-21T10:30:00+01:00", "2026-11-21T09:30:00"]
)
def test_a_query_has_iso_8601(text):
    assert timestamp.from_iso(text) == MOMENT


def test_a_header_has_the_date_of_http():
    text = "Sat, 21 Nov 2026 09:30:00 GMT"
    assert timestamp.to_http(MOMENT) == text
    assert timestamp.from_http(text) == MOMENT


def test_a_date_is_in_utc_whatever_its_zone():
    assert timestamp.from_iso("2026-11-21T10:30:00+01:00").tzinfo is dt.UTC


@pytest.mark.parametrize("seconds", [1e18, -1e18, 1e300])
def test_seconds_beyond_the_calendar_are_refused(seconds):
    with pytest.raises(ValueError, match=r"."):
        timestamp.from_seconds(seconds)


@pytest.mark.parametrize(
    "text", ["", "now", "1795253400", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00"]
)
def test_other_text_is_no_date_of_a_query(text):
    with pytest.raises(ValueError, match=r"."):
        timestamp.from_iso(text)


@pytest.mark.parametrize("text", ["", "now", "2026-11-21T09:30:00Z", "Sat, 99 Nov 2026 09:30 GMT"])
def test_other_text_is_no_date_of_a_header(text):
    with pytest.raises(ValueError, match=r"."):
        timestamp.from_http(text)
