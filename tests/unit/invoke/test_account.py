"""What runs, and how much may: of the account, of what is reserved, of what is provisioned."""

import random

import pytest

from lambdad.invoke.account import Account


@pytest.fixture
def account():
    return Account(10)


def test_functions_that_reserve_nothing_share_the_account(account):
    account.begin("a", "1")
    account.begin("b", "1")
    assert account.share("a", "1") == account.share("c", "1") == (2, 10, False)
    account.end("a", "1")
    assert account.share("b", "1").running == 1


def test_what_is_reserved_is_the_functions_alone_over_all_its_versions(account):
    account.reserve("a", 4)
    account.begin("a", "1")
    account.begin("a", "2")
    account.begin("b", "1")
    assert account.share("a", "3") == (2, 4, True)
    assert account.share("b", "1") == (1, 6, False)
    assert (account.unreserved, account.running) == (6, 3)


def test_a_reservation_counts_what_runs_already(account):
    account.begin("a", "1")
    account.reserve("a", 4)
    assert (account.share("a", "1").running, account.share("b", "1").running) == (1, 0)
    account.reserve("a", None)
    assert (account.share("a", "1").running, account.share("b", "1").running) == (1, 1)
    account.end("a", "1")
    assert account.share("b", "1").running == 0


def test_what_is_provisioned_is_set_aside_for_its_version(account):
    account.provision("a", "1", 3)
    assert account.share("a", "1") == (0, 3, False)
    assert account.share("a", "$LATEST") == account.share("b", "1") == (0, 7, False)


def test_what_a_version_runs_beyond_what_is_provisioned_counts_with_all_others(account):
    account.provision("a", "1", 2)
    for _ in range(3):
        account.begin("a", "1")
    assert account.share("a", "1") == account.share("b", "1") == (1, 8, False)
    account.end("a", "1")
    account.end("a", "1")
    assert account.share("a", "1") == (1, 2, False)
    assert account.share("b", "1") == (0, 8, False)


def test_provisioned_environments_that_are_free_run_though_the_function_is_throttled(account):
    account.reserve("a", 3)
    account.provision("a", "1", 2)
    account.begin("a", "$LATEST")
    assert account.share("a", "$LATEST") == (1, 1, True)
    assert account.share("a", "1") == (0, 2, True)


def test_with_all_that_is_reserved_provisioned_on_a_version_another_has_nothing(account):
    account.reserve("a", 3)
    account.provision("a", "1", 3)
    assert account.share("a", "$LATEST") == (0, 0, True)
    assert account.provisioned_of("a") == 3
    account.provision("a", "1", 0)
    assert account.share("a", "$LATEST") == (0, 3, True)
    assert account.provisioned == {}


def test_a_function_adds_as_many_environments_as_its_rate_allows():
    account = Account(10_000, scaling_rate=1_000)
    for _ in range(1_000):
        assert account.may_add("a", 100.0)
        account.add("a", 100.0)
    assert not account.may_add("a", 100.0)
    assert account.may_add("b", 100.0)


def test_the_rate_comes_back_evenly():
    account = Account(10_000, scaling_rate=10)
    for _ in range(10):
        account.add("a", 0.0)
    assert not account.may_add("a", 0.9)
    assert account.may_add("a", 1.0)
    account.add("a", 1.0)
    assert not account.may_add("a", 1.5)
    assert account.may_add("a", 100.0)


def test_without_a_rate_there_is_no_bound(account):
    for _ in range(5_000):
        account.add("a", 0.0)
    assert account.may_add("a", 0.0)


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_whatever_is_reserved_and_provisioned_meanwhile(account, seed):
    dice, running = random.Random(seed), []
    for _ in range(200):
        name, version = dice.choice("abc"), dice.choice("12")
        match dice.choice(["begin", "end", "reserve", "free", "provision"]):
            case "begin":
                account.begin(name, version)
                running.append((name, version))
            case "end" if running:
                account.end(*running.pop(dice.randrange(len(running))))
            case "reserve":
                account.reserve(name, dice.randint(0, 5))
            case "free":
                account.reserve(name, None)
            case "provision":
                account.provision(name, version, dice.randint(0, 3))
        assert account.running == len(running)
        for one in "abc":
            for of in "12":
                assert account.share(one, of) == expected_share(account, running, one, of)


def expected_share(account, running, name, version):
    """Counted anew from what runs."""
    reserved, aside = account.reserved, account.provisioned
    own = aside.get((name, version), 0)
    if running.count((name, version)) < own:
        return running.count((name, version)), own, name in reserved
    if name in reserved:
        among = {name}
        limit = reserved[name] - sum(n for (one, _), n in aside.items() if one == name)
    else:
        among = set("abc") - set(reserved)
        limit = account.limit - sum(reserved.values())
        limit -= sum(n for (one, _), n in aside.items() if one in among)
    places = {place for place in running if place[0] in among}
    beyond = sum(max(0, running.count(place) - aside.get(place, 0)) for place in places)
    return beyond, max(0, limit), name in reserved
