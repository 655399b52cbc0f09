"""When the cap of an environment is written, and what is asked of the kernel for that."""

import pytest

from lambdad.invoke.init_credit import InitCredit
from lambdad.model import limits

WHOLE = limits.init_phase_cpus
SMALL = 0.25


class Cgroup:
    """Of a blank sandbox: its cap is that of the init phase."""

    def __init__(self):
        self.caps, self.used_s, self.asked = [], 0.0, 0

    def cap_cpus(self, cpus):
        self.caps.append(cpus)

    def cpu_usage_us(self):
        self.asked += 1
        return int(self.used_s * 1e6)


@pytest.fixture
def cgroup():
    return Cgroup()


pytestmark = pytest.mark.asyncio


async def test_a_short_init_costs_neither_a_write_nor_a_question(stage, cgroup):
    credit = InitCredit(cgroup, SMALL)
    credit.init_took(limits.init_phase_cpu_s / 2)
    assert (cgroup.caps, cgroup.asked) == ([], 0)


async def test_one_that_buys_more_than_a_processor_has_that_at_once_and_for_ever(stage, cgroup):
    credit = InitCredit(cgroup, 2.0)
    credit.init_took(10.0)
    credit.working()
    credit.worked(100.0)
    assert (cgroup.caps, cgroup.asked) == ([2.0], 0)


async def test_a_long_init_that_used_its_time_is_capped(stage, cgroup):
    credit = InitCredit(cgroup, SMALL)
    cgroup.used_s = limits.init_phase_cpu_s
    credit.init_took(limits.init_phase_cpu_s)
    assert cgroup.caps == [SMALL]


async def test_a_long_init_that_slept_keeps_what_it_did_not_use(stage, cgroup):
    credit = InitCredit(cgroup, SMALL)
    cgroup.used_s = limits.init_phase_cpu_s / 2
    credit.init_took(9.0)
    assert (cgroup.caps, cgroup.asked) == ([], 1)


async def test_work_is_capped_the_moment_the_credit_is_spent(stage, cgroup):
    credit = InitCredit(cgroup, SMALL)
    credit.init_took(0.0)
    credit.working()
    cgroup.used_s = limits.init_phase_cpu_s
    stage.clock.advance(limits.init_phase_cpu_s)
    assert cgroup.caps == [SMALL]


async def test_work_that_sleeps_on_the_last_of_it_is_hardly_looked_at(stage, cgroup):
    credit = InitCredit(cgroup, SMALL)
    cgroup.used_s = limits.init_phase_cpu_s - 1e-6
    credit.init_took(limits.init_phase_cpu_s)
    credit.working()
    stage.clock.advance(1.0)
    assert cgroup.caps == []
    assert cgroup.asked < 30


async def test_the_cap_is_lifted_for_another_init_and_put_on_again(stage, cgroup):
    credit = InitCredit(cgroup, SMALL)
    cgroup.used_s = limits.init_phase_cpu_s
    credit.init_took(limits.init_phase_cpu_s)
    credit.lift()
    credit.init_took(0.1)
    assert cgroup.caps == [SMALL, WHOLE, SMALL]
