"""What was done between two censuses."""

import pytest

from lambdad.cli.rates import activity, states
from lambdad.invoke.lifecycle import State


def rows_of(before, now):
    return {row.name: row for row in activity(before, now).rows}


def test_rates_are_what_was_added_in_the_time_between(make_census):
    before = make_census(("fn", {"invocations": 10, "cold": 5, "throttled": 1}), up_s=60)
    now = make_census(("fn", {"invocations": 30, "cold": 6, "throttled": 2}), up_s=64)
    seen = activity(before, now)
    deeds = seen.rows[0].deeds
    assert (seen.over_s, seen.since_start) == (4, False)
    assert (deeds.invocations_per_s, deeds.throttled_per_s) == (5.0, 0.25)
    assert (deeds.cold, deeds.restored) == (0.05, 0.0)
    assert seen.deeds == deeds


def test_of_one_census_alone_rates_are_those_since_the_start(make_census):
    seen = activity(None, make_census(("fn", {"invocations": 30, "cold": 3}), up_s=60))
    assert (seen.over_s, seen.since_start) == (60, True)
    assert (seen.deeds.invocations_per_s, seen.deeds.cold) == (0.5, 0.1)


def test_another_daemon_has_done_nothing_before(make_census):
    before = make_census(("fn", {"invocations": 10}), up_s=60, started="before")
    now = make_census(("fn", {"invocations": 20}), up_s=100, started="after")
    assert activity(before, now).since_start
    assert activity(before, now).deeds.invocations_per_s == 0.2


def test_a_function_that_was_not_there_before_began_with_nothing(make_census):
    seen = rows_of(make_census(up_s=60), make_census(("fn", {"invocations": 4}), up_s=62))
    assert seen["fn"].deeds.invocations_per_s == 2.0


def test_a_function_that_was_made_anew_has_not_done_less_than_nothing(make_census):
    before = make_census(("fn", {"invocations": 100, "cold": 9}), up_s=60)
    now = make_census(("fn", {"invocations": 3, "cold": 1}), up_s=61)
    deeds = rows_of(before, now)["fn"].deeds
    assert (deeds.invocations_per_s, deeds.cold) == (3.0, 1 / 3)


def test_nothing_done_has_no_fractions(make_census):
    census = make_census(("fn", {"invocations": 4}))
    deeds = rows_of(census, census)["fn"].deeds
    assert (deeds.invocations_per_s, deeds.cold, deeds.restored) == (0.0, None, None)


def test_the_old_pool_of_an_update_counts_with_the_new_one(make_census):
    now = make_census(
        ("fn", {"states": ["invoke"], "waiting": 1, "invocations": 5}),
        ("fn", {"states": ["invoke", "idle"], "invocations": 7}),
        ("fn:1", {"states": ["idle"]}),
    )
    seen = rows_of(None, now)
    assert set(seen) == {"fn", "fn:1"}
    assert (seen["fn"].running, seen["fn"].waiting) == (3, 1)
    assert seen["fn"].deeds.invocations_per_s == 12 / 60
    assert states(seen["fn"].environments) == {"invoke": 2, "idle": 1}
    assert seen["fn"].memory_bytes == 30 << 20


def test_the_most_active_comes_first(make_census):
    now = make_census(
        ("asleep", {}),
        ("also-asleep", {}),
        ("large", {"states": ["idle", "idle"]}),
        ("slow", {"states": ["invoke"]}),
        ("throttled", {"throttled": 200}),
        ("quick", {"invocations": 600}),
    )
    names = [row.name for row in activity(None, now).rows]
    assert names == ["quick", "throttled", "slow", "large", "also-asleep", "asleep"]


def test_environments_at_work_come_before_those_that_rest(make_census):
    now = make_census(("fn", {"states": ["shutdown", "idle", "starting", "invoke", "another"]}))
    (row,) = activity(None, now).rows
    order = ["invoke", "starting", "idle", "shutdown", "another"]
    assert [one["state"] for one in row.environments] == order


def test_every_state_of_the_life_cycle_has_its_place(make_census):
    now = make_census(("fn", {"states": ["another", *State]}))
    (row,) = activity(None, now).rows
    assert row.environments[-1]["state"] == "another"


@pytest.mark.parametrize(("state", "ready"), [("init", 0), ("idle", 1), ("invoke", 1)])
def test_what_is_provisioned_is_ready_once_it_can_be_used(make_census, state, ready):
    now = make_census(("fn:2", {"states": [state, "idle"], "provisioned_requested": 3}))
    now["functions"][0]["environments"][0]["provisioned"] = True
    assert rows_of(None, now)["fn:2"].provisioned == (ready, 3)


def test_reserved_concurrency_is_that_of_all_versions(make_census):
    now = make_census(("fn", {}), ("fn:1", {}), ("other", {}), reserved={"fn": 5})
    seen = rows_of(None, now)
    assert [seen[name].reserved for name in ("fn", "fn:1", "other")] == [5, 5, None]
