import pytest

from lambdad.invoke.bandwidth import Bandwidth

BURST, PER_S = 1_000, 800  # that is 100 a tick


@pytest.fixture
def bandwidth():
    return Bandwidth(BURST, PER_S, now_s=50.0)


def test_a_burst_goes_at_once_and_not_a_byte_more(bandwidth):
    assert bandwidth.take(600, 50.0) == 600
    assert bandwidth.take(600, 50.0) == 400
    assert bandwidth.take(1, 50.0) == 0


def test_it_fills_up_in_ticks_of_an_eighth_of_a_second(bandwidth):
    bandwidth.take(BURST, 50.0)
    assert bandwidth.take(1, 50.124) == 0
    assert bandwidth.take(1_000, 50.125) == 100
    assert bandwidth.take(1_000, 50.5) == 300


def test_it_says_how_long_it_stays_empty(bandwidth):
    bandwidth.take(BURST, 50.0)
    assert bandwidth.refill_in_s(50.0) == 0.125
    assert bandwidth.refill_in_s(50.1) == pytest.approx(0.025)
    assert bandwidth.take(1_000, 50.125) == 100
    assert bandwidth.refill_in_s(50.125) == 0.125


def test_ticks_are_not_lost_by_asking_between_them(bandwidth):
    bandwidth.take(BURST, 50.0)
    taken = sum(bandwidth.take(1_000, 50.0 + step / 100) for step in range(101))
    assert taken == PER_S


def test_it_never_holds_more_than_a_burst(bandwidth):
    bandwidth.take(10, 50.0)
    assert bandwidth.take(10_000, 5_000.0) == BURST
    assert bandwidth.take(10_000, 5_000.0) == 0
