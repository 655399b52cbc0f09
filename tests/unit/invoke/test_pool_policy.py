import pytest

from lambdad.invoke.pool_policy import Await, Lease, Spawn, Throttle, View, expired, on_arrival

THROTTLE = Throttle("ConcurrentInvocationLimitExceeded")


@pytest.mark.parametrize(
    ("view", "decision"),
    [
        (View(idle=0, finishing=0, running=0, limit=1), Spawn()),
        (View(idle=1, finishing=0, running=0, limit=1), Lease()),
        (View(idle=0, finishing=1, running=1, limit=2), Await()),
        (View(idle=1, finishing=1, running=1, limit=2), Lease()),
        (View(idle=0, finishing=0, running=1, limit=2), Spawn()),
        (View(idle=3, finishing=3, running=2, limit=2), THROTTLE),
        (View(idle=0, finishing=0, running=3, limit=2), THROTTLE),
        (View(idle=0, finishing=0, running=0, limit=0), THROTTLE),
        # More wait already than are finishing: one more would wait in vain.
        (View(idle=0, finishing=0, running=2, limit=9), Spawn()),
    ],
)
def test_an_arrival_gets_the_cheapest_environment_that_may_be_had(view, decision):
    assert on_arrival(view) == decision


def test_at_its_own_limit_a_function_hears_that_it_is_its_own():
    throttle = Throttle("ReservedFunctionConcurrentInvocationLimitExceeded")
    assert on_arrival(View(1, 0, running=2, limit=2, reserved=True)) == throttle
    assert on_arrival(View(1, 0, running=0, limit=0, reserved=True)) == throttle
    assert on_arrival(View(1, 0, running=1, limit=2, reserved=True)) == Lease()


@pytest.mark.parametrize("finishing", range(3))
@pytest.mark.parametrize("idle", range(3))
@pytest.mark.parametrize("running", range(5))
def test_at_the_limit_nothing_runs_whatever_is_idle(idle, finishing, running):
    throttled = on_arrival(View(idle, finishing, running, limit=3)) == THROTTLE
    assert throttled is (running >= 3)


@pytest.mark.parametrize(
    ("idle_since", "now", "count"),
    [
        ([], 100, 0),
        ([1.0, 2.0, 3.0], 10.9, 0),
        ([1.0, 2.0, 3.0], 11.0, 1),
        ([1.0, 2.0, 3.0], 12.5, 2),
        ([1.0, 2.0, 3.0], 99, 3),
    ],
)
def test_those_expire_that_were_idle_long_enough(idle_since, now, count):
    assert expired(idle_since, now, idle_s=10) == count
