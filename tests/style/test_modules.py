"""What each module says and does not do."""

import ast
import re

# An empty __init__ of a package whose purpose its modules tell.
SILENT = {"__init__.py"}
# Exceptions to the linter without a reason: this may only shrink.
UNEXPLAINED: set[tuple[str, str]] = set()
NOQA = re.compile(r"# (?:ruff: )?noqa: ([A-Z]+\d+(?:, [A-Z]+\d+)*)(.*)$")


def calls(source, name):
    return [
        f"{source.path}:{node.lineno}"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
    ]


def test_every_module_says_what_it_is(packages):
    silent = [
        str(source.path)
        for source in packages
        if not ast.get_docstring(source.tree)
        and not (source.path.name in SILENT and not source.text.strip())
    ]
    assert silent == []


def test_a_docstring_begins_with_a_sentence(packages):
    odd = [
        str(source.path)
        for source in packages
        if (said := ast.get_docstring(source.tree))
        and not re.search(r"[.:;)]$", said, re.MULTILINE)
    ]
    assert odd == []


def test_the_daemon_prints_nothing(packages):
    printing = [
        place
        for source in packages
        if source.folder == "runtime" and "cli" not in source.path.parts
        for place in calls(source, "print")
    ]
    assert printing == []


def test_imports_are_absolute(sources):
    relative = [
        f"{source.path}:{node.lineno}"
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    assert relative == []


def test_no_unit_test_lets_time_pass(sources):
    sleeping = [
        f"{source.path}:{node.lineno}"
        for source in sources
        if source.path.parts[:2] == ("tests", "unit")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "sleep"
        and not (isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
    ]
    assert sleeping == []


def test_an_exception_to_the_linter_gives_its_reason(sources):
    """Once in a file for each rule; the second time it is the same reason."""
    bare = []
    for source in sources:
        reasoned = {rule for path, rule in UNEXPLAINED if path == str(source.path)}
        for number, line in enumerate(source.text.splitlines(), 1):
            found = NOQA.search(line)
            if found is None:
                continue
            if found[2].strip(" -"):
                reasoned |= set(found[1].split(", "))
            elif not set(found[1].split(", ")) <= reasoned:
                bare.append(f"{source.path}:{number}")
    assert bare == []
