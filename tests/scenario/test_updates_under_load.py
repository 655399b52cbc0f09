"""A function is changed again and again while 16 clients call it: nobody hears of it but by the
answers, and nobody who asks after a change is answered as before it.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest
from scenario.package import zipped
from scenario.program import PATIENCE, START_S_MAX

pytestmark = [pytest.mark.root, pytest.mark.cgroup, pytest.mark.slow]

CLIENTS = 16
LOAD_S = 10.0 * PATIENCE


def code(number):
    """A function that says which code it is of, and which configuration."""
    return f"""
        import os

        def handler(event, context):
            return [{number}, int(os.environ["NUMBER"])]
    """


@dataclass
class Load:
    """What was asked and what changed, in the order of one clock.

    Attributes:
        answers: when each was asked for, and its payload.
        changes: when it was Successful, and what is answered from then on at least.
    """

    until: float
    answers: list[tuple[float, list[int]]] = field(default_factory=list)
    changes: list[tuple[float, list[int]]] = field(default_factory=list)

    def call(self, program, name):
        while (sent := time.monotonic()) < self.until:
            answer = program.invoke(name)
            assert answer.error is None, answer.payload
            self.answers.append((sent, answer.payload))

    def change(self, program, name, least, **wanted):
        """Change the code or the configuration; ``least`` is what is answered then."""
        if "ZipFile" in wanted:
            program.client.update_function_code(FunctionName=name, **wanted)
        else:
            program.client.update_function_configuration(FunctionName=name, **wanted)
        last = time.monotonic() + START_S_MAX
        while status(program, name) != "Successful":
            assert time.monotonic() < last, "it is never Successful"
        self.changes.append((time.monotonic(), least))

    def stale(self):
        """The answers that are older than the last change before they were asked for."""
        return [
            (sent, answer, least)
            for sent, answer in self.answers
            for at, least in self.changes
            if at < sent and (answer[0] < least[0] or answer[1] < least[1])
        ]


def status(program, name):
    return program.client.get_function_configuration(FunctionName=name)["LastUpdateStatus"]


def variables(number):
    return {"Variables": {"NUMBER": str(number)}}


def test_no_change_under_load_fails_an_invoke_or_is_answered_by_what_was_before(daemon, deploy):
    name = deploy(code(0), Environment=variables(0), MemorySize=512)
    load = Load(time.monotonic() + LOAD_S)
    with ThreadPoolExecutor(CLIENTS) as callers:
        calls = [callers.submit(load.call, daemon, name) for _ in range(CLIENTS)]
        number = 0
        while time.monotonic() < load.until:
            number += 1
            load.change(daemon, name, [number, number - 1], ZipFile=zipped(code(number)))
            load.change(daemon, name, [number, number], Environment=variables(number))
        for call in calls:
            call.result()
    assert len(load.changes) >= 4, "there was hardly any change"
    assert len(load.answers) > CLIENTS
    assert load.stale() == []
