"""What a zygote does so that its clones share its memory: they work as before, and write to less.

It cannot be undone, so an interpreter of its own does it, as ``conftest`` and this file do not.
"""

import json
import subprocess

import pytest

from lambdad.code.runtimes import find_python
from lambdad_sandbox import sharing, syscalls
from lambdad_sandbox.machinery import copy_machinery

BEGIN = """
import sys
sys.path.insert(0, {machinery!r})
import collections, gc, json, os, resource
from lambdad_sandbox import sharing

class Thing:
    def __init__(self, number):
        self.number = number

def touch(things):
    return sum(thing.number for thing in list(things))

def counted(number):
    total = 0
    for one in range(number):
        total += len(str(one))
    return total

things = [Thing(number) for number in range(20_000)]

def copied_pages():
    '''How many pages a clone copies when it refers to all there is, and whether it works.'''
    told, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        works = touch(things) == sum(range(20_000)) and counted(10) == 10
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
        works = works and json.loads(json.dumps([None, 1.5, "x"])) == [None, 1.5, "x"]
        try:
            [][0]
        except IndexError:
            import colorsys
            gc.enable()
            gc.collect()
            os.write(tell, json.dumps([faults, works]).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return json.loads(os.read(told, 100))
"""


@pytest.fixture(scope="module")
def machinery(tmp_path_factory):
    folder = tmp_path_factory.mktemp("machinery") / "machinery"
    copy_machinery(str(folder))
    return folder


@pytest.fixture(params=range(9, 15))
def run(request, machinery):
    """Runs a script under one of the interpreters; what it prints, as JSON."""
    interpreter = find_python(f"3.{request.param}")
    if interpreter is None:
        pytest.skip(f"there is no python3.{request.param} here")

    def ran(script):
        told = subprocess.run(
            [interpreter.executable, "-I", "-S", "-B", "-W", "error", "-c",
             BEGIN.format(machinery=str(machinery)) + script],
            capture_output=True, check=False, text=True, timeout=60,
        )  # fmt: skip
        assert told.stderr == ""
        return request.param, json.loads(told.stdout)

    return ran


def test_a_clone_works_and_copies_less_where_objects_can_be_immortal(run):
    minor, ((before, worked), (after, works)) = run("""
first = copied_pages()
sharing.settle()
print(json.dumps([first, copied_pages()]))
""")
    assert worked
    assert works
    if minor >= 12:
        assert after < before / 2


def test_only_code_that_a_rehearsal_runs_moves_and_it_stays_what_it_is(run):
    _, (moved, stayed, answers) = run("""
was = {one: one.__code__ for one in (touch, counted, copied_pages)}
sharing.gather(lambda: (touch(things), counted(5)))
moved = [one.__code__ is not was[one] and one.__code__ == was[one] for one in (touch, counted)]
stayed = copied_pages.__code__ is was[copied_pages]
print(json.dumps([moved, stayed, [touch(things[:3]), counted(11), sys.getprofile()]]))
""")
    assert moved == [True, True]
    assert stayed
    assert answers == [3, 12, None]


def test_it_may_be_done_again_for_what_has_come_since(run):
    _, (_, works) = run("""
sharing.settle()
things += [Thing(0) for _ in range(1_000)]
sharing.settle()
print(json.dumps(copied_pages()))
""")
    assert works


def test_a_heap_that_grows_downwards_is_not_taken_as_one_hole(monkeypatch):
    """As that of some C libraries, and of glibc where it cannot go on growing upwards."""
    taken = []

    def malloc(size):
        taken.append(size)
        return (1 << 46) - sum(taken)

    monkeypatch.setattr(syscalls, "malloc", malloc)
    sharing._fill_holes_of_malloc()
    assert sum(taken) < 32 << 20
