"""NumPy as functions have it: restored from one snapshot, none draws what another draws."""

from __future__ import annotations

import pytest
from clients.installed import pandas
from unit.bootstrap.copies import copies

from lambdad.code.runtimes import find_python

LOADS_NUMPY = """
import numpy.random
def draw():
    return numpy.random.random()
"""
LOADS_PANDAS = """
import pandas, sys
def draw():
    return sys.modules["numpy.random"].random()
"""
HAS_A_GENERATOR_OF_ITS_OWN = """
import numpy
numpy.random.set_bit_generator(numpy.random.PCG64(7))
def draw():
    return numpy.random.random()
"""


@pytest.mark.parametrize("code", [LOADS_NUMPY, LOADS_PANDAS, HAS_A_GENERATOR_OF_ITS_OWN])
def test_restored_processes_draw_other_numbers(code):
    version, modules = pandas()
    alike, restored = copies(find_python(version).executable, code, modules)
    assert alike[0] == alike[1]
    assert len({*alike, *restored}) == 3
