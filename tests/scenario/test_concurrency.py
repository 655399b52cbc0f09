"""As many invocations run at a time as may, the others hear why not; what runs, ends."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from itertools import islice

import pytest
from botocore.exceptions import ClientError
from scenario import held
from scenario.program import PATIENCE, START_S_MAX

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

OF_A_FUNCTION = "ReservedFunctionConcurrentInvocationLimitExceeded"
OF_THE_ACCOUNT = "ConcurrentInvocationLimitExceeded"
TIMEOUT_S = 60 * PATIENCE


@pytest.fixture
def callers():
    """Threads for as many clients as a test has."""
    with ThreadPoolExecutor(64) as pool:
        yield pool


def outcome(program, name, event):
    """The payload, or what was said instead."""
    try:
        return program.invoke(name, event).payload
    except ClientError as error:
        return error.response


def is_throttled(said):
    return isinstance(said, dict) and said["Error"]["Code"] == "TooManyRequestsException"


def first(calls, count):
    """The outcomes of so many calls, those that end first."""
    done = islice(as_completed(calls, timeout=START_S_MAX), count)
    return [call.result() for call in done]


def test_with_5_reserved_5_of_50_run_and_45_are_throttled(start, callers):
    own = start()
    name = own.deploy(held.SOURCE, Timeout=TIMEOUT_S)
    own.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=5)
    calls = [callers.submit(outcome, own, name, "first") for _ in range(50)]
    throttled = first(calls, 45)
    assert [is_throttled(said) for said in throttled] == [True] * 45
    assert {said["Reason"] for said in throttled} == {OF_A_FUNCTION}
    assert {said["ResponseMetadata"]["HTTPStatusCode"] for said in throttled} == {429}
    headers = [said["ResponseMetadata"]["HTTPHeaders"] for said in throttled]
    assert all(int(one["retry-after"]) > 0 for one in headers)

    held.wait_until_held(own, "first", 5)
    held.let_go(own, "first", 5)
    ran = [call.result() for call in calls if not is_throttled(call.result())]
    assert len(set(ran)) == 5

    again = [callers.submit(outcome, own, name, "second") for _ in range(5)]
    held.wait_until_held(own, "second", 5)
    assert outcome(own, name, "second")["Reason"] == OF_A_FUNCTION
    held.let_go(own, "second", 5)
    assert {call.result() for call in again} == set(ran)


def test_what_a_function_has_reserved_no_other_takes_from_it(start, callers):
    own = start("--concurrency", "105")
    mine = own.deploy("def handler(event, context): return event")
    other = own.deploy(held.SOURCE, Timeout=TIMEOUT_S)
    own.client.put_function_concurrency(FunctionName=mine, ReservedConcurrentExecutions=1)
    own.client.put_function_concurrency(FunctionName=other, ReservedConcurrentExecutions=2)
    calls = [callers.submit(outcome, own, other, "go") for _ in range(2)]
    held.wait_until_held(own, "go", 2)
    assert outcome(own, other, "go")["Reason"] == OF_A_FUNCTION
    assert outcome(own, mine, 1) == 1
    held.let_go(own, "go", 2)
    assert len({call.result() for call in calls}) == 2


def test_the_account_runs_as_many_as_its_limit_over_all_functions(start, callers):
    own = start("--concurrency", "3")
    names = [own.deploy(held.SOURCE, Timeout=TIMEOUT_S) for _ in range(2)]
    calls = [callers.submit(outcome, own, name, "go") for name in names * 5]
    throttled = first(calls, 7)
    assert Counter(said.get("Reason") for said in throttled) == {OF_THE_ACCOUNT: 7}
    held.let_go(own, "go", 3)
    assert sum(not is_throttled(call.result()) for call in calls) == 3


def test_what_runs_of_a_deleted_function_ends_well_and_nothing_of_it_starts(start, callers):
    own = start()
    name = own.deploy(held.SOURCE, Timeout=TIMEOUT_S)
    running = callers.submit(outcome, own, name, "go")
    held.wait_until_held(own, "go", 1)
    is_deleted = threading.Event()

    def call_until_unknown(_):
        """What this client got before the function was gone, and what then."""
        seen = []
        while True:
            was_deleted = is_deleted.is_set()
            said = outcome(own, name, held.AT_ONCE)
            if isinstance(said, dict):
                return seen, said
            assert not was_deleted, "it ran though it had been deleted before it was asked for"
            seen.append(said)

    clients = [callers.submit(call_until_unknown, number) for number in range(8)]
    own.wait_for_log(name, f"waits for {held.AT_ONCE}\n", 16)
    own.client.delete_function(FunctionName=name)
    is_deleted.set()
    for seen, said in (client.result() for client in clients):
        assert seen
        assert said["Error"]["Code"] == "ResourceNotFoundException"
    assert not running.done()
    held.let_go(own, "go", 1)
    assert isinstance(running.result(), str)
