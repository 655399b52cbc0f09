"""What differs between processes that were restored from one snapshot."""

import sys

import pytest
from unit.bootstrap.copies import CLONE_NEWPID, copies

STANDARD = """
import random, tempfile, threading, uuid
def draw():
    return {
        "random": random.random(),
        "node of uuid1": uuid.uuid1().node,
        "name of a temporary file": next(tempfile._get_candidate_names()),
        "thread": threading.main_thread().native_id - threading.get_native_id(),
    }
"""
OPENSSL = """
import ssl
def draw():
    return ssl.RAND_bytes(16).hex()
"""
NUMPY = """
import numpy.random
def draw():
    return numpy.random.random()
"""
FAKE_NUMPY = """
import os
state = 0
def seed():
    global state
    state = os.urandom(16).hex()
def random():
    return state
"""
EVENT_LOOP = """
import asyncio, os
from concurrent.futures import ThreadPoolExecutor
class Proxy:
    @property
    def __class__(self):
        raise RuntimeError("nobody is behind this")
proxy = Proxy()
loop, closed = asyncio.new_event_loop(), asyncio.new_event_loop()
closed.close()
wakes = loop._ssock.fileno()
reader, writer = os.pipe()
readable = []
loop.add_reader(reader, readable.append, True)
async def work():
    os.write(writer, b"x")
    with ThreadPoolExecutor(1) as executor:  # Its thread wakes the loop.
        done = await asyncio.wait_for(loop.run_in_executor(executor, int, "7"), 30)
    while not readable:
        await asyncio.sleep(0)
    return done
def draw():
    try:
        return [loop.run_until_complete(work()), os.stat(wakes).st_ino]
    except OSError:
        return "dead"
"""


def test_the_standard_library_is_another_in_each(interpreter):
    alike, restored = copies(interpreter, STANDARD)
    assert alike[0]["random"] == alike[1]["random"]
    assert alike[0]["node of uuid1"] == alike[1]["node of uuid1"]
    one, other = restored
    assert one.pop("thread") == other.pop("thread") == 0
    assert not set(one.values()) & set(other.values())


@pytest.mark.root
def test_openssl_has_other_random_numbers_though_the_pid_is_the_same(interpreter):
    alike, restored = copies(interpreter, OPENSSL, flags=CLONE_NEWPID)
    assert alike[0] == alike[1]
    assert len({*alike, *restored}) == 3


def test_numpys_global_generator_is_seeded_anew(interpreter, tmp_path):
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy/__init__.py").touch()
    (tmp_path / "numpy/random.py").write_text(FAKE_NUMPY)
    alike, restored = copies(interpreter, NUMPY, tmp_path)
    assert alike[0] == alike[1]
    assert len({*alike, *restored}) == 3


@pytest.mark.parametrize("module", ["random", "uuid", "ssl", "tempfile", "numpy.random"])
def test_a_module_of_the_functions_own_by_such_a_name_is_left_alone(module):
    code = f"import sys, types\nsys.modules[{module!r}] = types.ModuleType('own')\ndraw = list"
    assert copies(sys.executable, code) == ([[], []], [[], []])


def test_an_event_loop_of_init_runs_in_each_and_is_nobody_elses(interpreter):
    dead, (one, other) = copies(interpreter, EVENT_LOOP)
    assert dead == ["dead", "dead"]
    assert one[0] == other[0] == 7
    assert one[1] != other[1]


def test_nothing_is_imported_for_the_sake_of_it():
    code = (
        "before = set(sys.modules)\n"
        "def draw():\n    return sorted(set(sys.modules) - before - {'random', 'uuid'})"
    )
    assert copies(sys.executable, code) == ([[], []], [[], []])
