"""What runs, and how much may: the account's share and those that functions have reserved."""

import random

import pytest

from lambdad.invoke.pool import Account


@pytest.fixture
def account():
    return Account(10)


def test_functions_that_reserve_nothing_share_the_account(account):
    account.begin("a")
    account.begin("b")
    assert (account.running_beside("a"), account.running_beside("c")) == (2, 2)
    account.end("a")
    assert account.running_beside("b") == 1


def test_what_is_reserved_is_the_functions_alone(account):
    account.reserve("a", 4)
    account.begin("a")
    account.begin("b")
    assert (account.running_beside("a"), account.running_beside("b")) == (1, 1)
    assert account.unreserved == 6
    assert account.running == 2


def test_a_reservation_counts_what_runs_already(account):
    account.begin("a")
    account.reserve("a", 4)
    assert (account.running_beside("a"), account.running_beside("b")) == (1, 0)
    account.reserve("a", None)
    assert (account.running_beside("a"), account.running_beside("b")) == (1, 1)
    account.end("a")
    assert account.running_beside("b") == 0


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_lost_whatever_is_reserved_meanwhile(account, seed):
    dice, running = random.Random(seed), []
    for _ in range(200):
        name = dice.choice("abc")
        match dice.choice(["begin", "end", "reserve", "free"]):
            case "begin":
                account.begin(name)
                running.append(name)
            case "end" if running:
                account.end(running.pop(dice.randrange(len(running))))
            case "reserve":
                account.reserve(name, dice.randint(0, 5))
            case "free":
                account.reserve(name, None)
        shared = sum(one not in account.reserved for one in running)
        for one in "abc":
            own = one in account.reserved
            assert account.running_beside(one) == (running.count(one) if own else shared)
        assert account.running == len(running)
