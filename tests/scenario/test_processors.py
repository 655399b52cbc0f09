"""Processor time follows memory, when functions compete for it."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from scenario.package import FUNCTIONS
from scenario.program import PATIENCE

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

LARGE_MB, SMALL_MB = 1_769, 442
WINDOW_S = 5.0 * min(PATIENCE, 4)
WINDOWS_MAX = 3


@pytest.fixture
def spin(deploy, invoke):
    """As many of each as there are processors, each spinning on all of them, all at once."""
    number = os.cpu_count()
    settings = {"Timeout": 40 * PATIENCE}
    large = deploy(FUNCTIONS / "spinner", MemorySize=LARGE_MB, **settings)
    small = deploy(FUNCTIONS / "spinner", MemorySize=SMALL_MB, **settings)

    def spun(seconds):
        """What the large ones and the small ones got in the same window."""
        since = time.monotonic() + 1.0 * PATIENCE
        window = {"from": since, "until": since + seconds}
        names = (large, small) * number
        with ThreadPoolExecutor(len(names)) as callers:
            answers = list(callers.map(lambda name: invoke(name, window), names))
        assert [answer.error for answer in answers] == [None] * len(names)
        return [sum(answer.payload for answer in answers[first::2]) for first in (0, 1)]

    return spun


@pytest.mark.slow
def test_processor_time_is_shared_as_memory_is_when_all_want_more(spin):
    spin(0.1)  # New environments are lent processor time; all of them stand after this.
    for _ in range(WINDOWS_MAX):
        large_s, small_s = spin(WINDOW_S)
        if large_s + small_s > 0.85 * WINDOW_S * os.cpu_count():
            break
    else:
        pytest.skip("other work takes so much of this host that shares of the rest say nothing")
    wanted = LARGE_MB / SMALL_MB
    assert 0.85 * wanted <= large_s / small_s <= 1.15 * wanted, f"{large_s:.2f}s:{small_s:.2f}s"
