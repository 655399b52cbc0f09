import time

import pytest

from lambdad.model.clock import SystemClock, iso_milliseconds, last_modified


@pytest.mark.parametrize(
    ("epoch_s", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_253_400.123, "2026-11-21T09:30:00.123Z"),
        (1_795_253_400.9999, "2026-11-21T09:30:00.999Z"),
        (951_782_400, "2000-02-29T00:00:00.000Z"),
        (4_102_444_799.5, "2099-12-31T23:59:59.500Z"),
    ],
)
def test_a_date_in_a_log_line_is_utc_to_the_millisecond(epoch_s, text):
    assert iso_milliseconds(epoch_s) == text


def test_last_modified_names_the_zone_by_its_offset():
    assert last_modified(1_795_253_400.123) == "2026-11-21T09:30:00.123+0000"


def test_the_hosts_time_zone_does_not_show(monkeypatch):
    try:
        with monkeypatch.context() as patch:
            patch.setenv("TZ", "Asia/Kathmandu")
            time.tzset()
            assert iso_milliseconds(0) == "1970-01-01T00:00:00.000Z"
    finally:
        time.tzset()


def test_the_monotonic_clock_never_goes_back():
    clock = SystemClock()
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)
