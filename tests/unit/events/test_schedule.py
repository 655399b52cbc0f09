"""When events are tried again, and when they are given up."""

import pytest

from lambdad.events import schedule
from lambdad.model.event import Event


def event(attempts=0, accepted=0.0):
    return Event("r", "fn", "$LATEST", b"", "", "", None, "", None, False, accepted, 0.0, attempts)


@pytest.mark.parametrize(("attempts", "due"), [(0, 160.0), (1, 220.0), (2, None), (3, None)])
def test_what_fails_is_tried_twice_more(attempts, due):
    assert schedule.after_failure(event(attempts), 100.0, schedule.RETRY_DELAYS_S) == due


def test_nothing_is_tried_again_that_would_be_too_old_by_then():
    assert schedule.after_failure(event(), 21_540.0, (60.0,)) == 21_600.0
    assert schedule.after_failure(event(), 21_541.0, (60.0,)) is None


def test_an_event_is_too_old_after_six_hours():
    assert not schedule.is_too_old(event(accepted=5.0), 21_605.0)
    assert schedule.is_too_old(event(accepted=5.0), 21_605.1)


@pytest.mark.parametrize(
    ("refusals", "wait_s"), [(0, 1), (1, 2), (2, 4), (8, 256), (9, 300), (10_000, 300)]
)
def test_what_could_not_be_run_waits_longer_each_time(refusals, wait_s):
    assert schedule.after_refusal(event(), refusals, 100.0) == 100.0 + wait_s


def test_what_can_never_be_run_is_given_up():
    assert schedule.after_refusal(event(), 9, 21_301.0) is None
