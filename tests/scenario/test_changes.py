"""Functions are changed, deleted and made again: what runs is what was asked for last."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest
from botocore.exceptions import ClientError
from scenario.package import zipped
from scenario.program import STOP_S_MAX, wait_until_ended, watch

pytestmark = [pytest.mark.root, pytest.mark.cgroup]


def saying(word):
    return f"""
        import os

        def handler(event, context):
            return [{word!r}, os.environ.get("COLOUR"), context.memory_limit_in_mb]
    """


def update_code(daemon, name, word):
    daemon.client.update_function_code(FunctionName=name, ZipFile=zipped(saying(word)))
    daemon.wait("function_updated_v2", name)


def test_new_code_runs_once_it_is_updated_and_old_code_never_again(daemon, deploy, invoke):
    name = deploy(saying("old"))
    assert invoke(name).payload[0] == "old"
    update_code(daemon, name, "new")
    assert [invoke(name).payload[0] for _ in range(10)] == ["new"] * 10


def test_an_update_under_load_fails_no_invoke_and_never_goes_back(daemon, deploy, invoke):
    words = [str(number) for number in range(5)]
    name = deploy(saying(words[0]))
    updated = []

    def call_until_updated(_):
        seen = []
        while not updated:
            answer = invoke(name)
            assert answer.error is None
            seen.append(answer.payload[0])
        return seen

    with ThreadPoolExecutor(4) as callers:
        calls = callers.map(call_until_updated, range(4))
        try:
            for word in words[1:]:
                update_code(daemon, name, word)
                assert invoke(name).payload[0] == word
        finally:
            updated.append(True)
        for seen in calls:
            assert seen == sorted(seen)


def test_a_new_configuration_is_that_of_the_next_invoke(daemon, deploy, invoke):
    name = deploy(saying("word"), MemorySize=256)
    assert invoke(name).payload == ["word", None, "256"]
    daemon.client.update_function_configuration(
        FunctionName=name, MemorySize=512, Environment={"Variables": {"COLOUR": "green"}}
    )
    daemon.wait("function_updated_v2", name)
    assert invoke(name).payload == ["word", "green", "512"]


def test_a_deleted_function_is_unknown_and_its_name_is_free_again(daemon, invoke):
    name = daemon.deploy(saying("first"))
    assert invoke(name).payload[0] == "first"
    daemon.client.delete_function(FunctionName=name)
    with pytest.raises(ClientError) as refused:
        invoke(name)
    assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert daemon.deploy(saying("second"), FunctionName=name) == name
    assert invoke(name).payload[0] == "second"
    daemon.client.delete_function(FunctionName=name)


def test_tmp_is_not_kept_from_one_namesake_to_the_next(daemon, invoke):
    source = """
        import os, pathlib

        def handler(event, context):
            before = os.listdir("/tmp")
            pathlib.Path("/tmp/mine").touch()
            return before
    """
    name = daemon.deploy(source)
    assert [invoke(name).payload, invoke(name).payload] == [[], ["mine"]]
    daemon.client.delete_function(FunctionName=name)
    daemon.deploy(source, FunctionName=name)
    assert invoke(name).payload == []
    daemon.client.delete_function(FunctionName=name)


def test_functions_that_come_and_go_leave_nothing_open(start):
    own = start("--spares", "0")  # They would be counted, and come when they like.
    process = psutil.Process(own.process.pid)

    def come_and_go():
        name = own.deploy(saying("word"))
        own.invoke(name)
        ends = watch(own.environments())
        own.client.delete_function(FunctionName=name)
        wait_until_ended(ends)

    come_and_go()
    wait_until(lambda: own.leaves() == [])
    before, rounds = process.num_fds(), 10
    for _ in range(rounds):
        come_and_go()
    wait_until(lambda: own.leaves() == [])
    # Not one of each round; a disk for the next may or may not stand ready.
    wait_until(lambda: process.num_fds() < before + rounds)


def wait_until(condition):
    last = time.monotonic() + STOP_S_MAX
    while not condition():
        assert time.monotonic() < last, "it never came so far"
        time.sleep(0.01)
