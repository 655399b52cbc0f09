"""pandas and NumPy, restored from a snapshot in fifty environments at once."""

from __future__ import annotations

import io
import zipfile
from concurrent.futures import ThreadPoolExecutor

import pytest
from clients.installed import pandas
from scenario import held
from scenario.package import add, folder
from scenario.program import PATIENCE
from scenario.snapshots import publish

pytestmark = [pytest.mark.root, pytest.mark.cgroup, pytest.mark.slow]

AT_ONCE = 50

FUNCTION = """
import os, random, secrets, time, uuid

import numpy
import pandas

table = pandas.DataFrame({"a": range(1_000), "b": numpy.arange(1_000) / 2})
of_init = random.random(), numpy.random.random(), str(uuid.uuid4())

def handler(event, context):
    open(f"/tmp/{event}.awaited", "w").close()
    while not os.path.exists(f"/tmp/{event}"):
        time.sleep(0.1)
    drawn = random.random(), numpy.random.random(), str(uuid.uuid4()), secrets.token_hex()
    return of_init, drawn, float(table["b"].sum())
"""


@pytest.fixture(scope="module")
def package():
    """The function with all it imports, and the runtime that this is for."""
    version, modules = pandas()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, file in {**folder(modules), "lambda_function.py": FUNCTION}.items():
            add(archive, name, file, 0o644)
    return f"python{version}", content.getvalue()


def test_fifty_first_events_at_once_are_answered_and_no_two_draw_the_same(daemon, package):
    runtime, content = package
    name = daemon.deploy(
        content,
        Runtime=runtime,
        Timeout=120 * PATIENCE,
        SnapStart={"ApplyOn": "PublishedVersions"},
    )
    said = publish(daemon, name)
    assert (said["State"], said.get("StateReason")) == ("Active", None), said
    with ThreadPoolExecutor(AT_ONCE) as callers:
        waiting = [callers.submit(daemon.invoke, f"{name}:1", "pandas") for _ in range(AT_ONCE)]
        held.let_go(daemon, "pandas", AT_ONCE)
        answers = [one.result() for one in waiting]
    assert [answer.error for answer in answers] == [None] * AT_ONCE
    assert all("RESTORE_REPORT" in answer.log for answer in answers)
    payloads = [answer.payload for answer in answers]
    assert {total for _, _, total in payloads} == {249_750.0}
    assert len({tuple(of_init) for of_init, _, _ in payloads}) == 1
    for drawn in zip(*(drawn for _, drawn, _ in payloads), strict=True):
        assert len(set(drawn)) == AT_ONCE
    daemon.client.delete_function(FunctionName=name)
