"""Each promise of the threat model is attacked by a test that bears its name."""

import ast
import re

PROMISES = {
    "FS": 9, "PID": 3, "PRV": 4, "SYS": 4, "RES": 6, "NET": 6, "LIF": 6, "RAPI": 2, "API": 10,
}  # fmt: skip
IDS = {f"{kind}-{number}" for kind, last in PROMISES.items() for number in range(1, last + 1)}


def attacks(sources):
    """The tests of promises, by path and name."""
    return [
        (source.path, node.name)
        for source in sources
        if source.path.parts[:2] == ("tests", "promises")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]


def promise_of(name):
    """``test_fs_1_no_way_leads_out`` is of FS-1."""
    found = re.match(r"test_([a-z]+)_(\d+)_", name)
    return f"{found[1].upper()}-{found[2]}" if found else None


def test_every_promise_is_attacked(sources):
    assert {promise_of(name) for _, name in attacks(sources)} == IDS


def test_an_attack_stands_where_its_promise_does(sources):
    astray = [
        f"{path}: {name}"
        for path, name in attacks(sources)
        if path.stem.split("_")[1] != str(promise_of(name)).partition("-")[0].lower()
    ]
    assert astray == []


def test_a_promise_is_marked_as_the_name_says(sources):
    """The mark skips a test where the promise is degraded: it must be the test's own."""
    marked = [
        (node.name, decorator.args[0].value)
        for source in sources
        if source.path.parts[:2] == ("tests", "promises")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.promise"
    ]
    assert marked
    assert [name for name, promise in marked if promise_of(name) != promise] == []
