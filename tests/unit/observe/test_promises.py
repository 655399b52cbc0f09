"""What is degraded at each level: the table, and nothing beside it."""

from dataclasses import replace

import pytest

from lambdad.observe.promises import PROMISES, Facts, degraded

ALL_CONTROLLERS = frozenset({"memory", "pids", "cpu"})
ROOT = Facts(
    root=True,
    controllers=ALL_CONTROLLERS,
    can_freeze=True,
    network="none",
    no_disk="",
    auth="sigv4",
)
USER = replace(ROOT, root=False, no_disk="not root")

LEVELS = {
    "root on a host, or in a privileged container": (ROOT, set()),
    "without loop devices": (replace(ROOT, no_disk="no loop devices"), {"FS-5"}),
    "a user with a delegated subtree": (USER, {"PRV-2", "RES-3", "FS-5"}),
    "a user with memory and pids delegated": (
        replace(USER, controllers=ALL_CONTROLLERS - {"cpu"}),
        {"PRV-2", "RES-3", "FS-5", "RES-6"},
    ),
    "a user without cgroups": (
        replace(USER, controllers=frozenset(), can_freeze=False),
        {"PRV-2", "RES-3", "FS-5", "RES-1", "RES-2", "RES-6", "LIF-4"},
    ),
    "in the host's network": (
        replace(ROOT, network="host"),
        {"NET-1", "NET-2", "NET-3", "NET-4"},
    ),
    "without authentication": (replace(ROOT, auth="none"), {"API-9"}),
}


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_degrades_these_promises_and_no_other(level):
    facts, expected = LEVELS[level]
    assert set(degraded(facts)) == expected


def test_a_promise_that_is_not_kept_has_a_reason():
    worst = Facts(
        root=False,
        controllers=frozenset(),
        can_freeze=False,
        network="host",
        no_disk="-",
        auth="none",
    )
    found = degraded(worst)
    assert all(found.values())
    assert list(found) == [name for name in PROMISES if name in found]


def test_every_promise_of_the_threat_model_is_listed():
    counts = {"FS": 9, "PID": 3, "PRV": 4, "SYS": 4, "RES": 6, "NET": 6, "LIF": 6, "RAPI": 2}
    counts["API"] = 10
    listed = [f"{family}-{n}" for family, count in counts.items() for n in range(1, count + 1)]
    assert list(PROMISES) == listed
