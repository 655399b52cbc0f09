"""Each check of the protocol's list is a test that bears its number."""

import ast
import re

FOLDER = ("tests", "conformance", "runtime_api")
CHECKS = set(range(1, 101))


def numbers(sources):
    """The numbers of checks: ``test_007_the_content_type`` is of 7."""
    return [
        int(found[1])
        for source in sources
        if source.path.parts[:3] == FOLDER
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef)
        and (found := re.match(r"test_(\d{3})_[a-z]", node.name))
    ]


def test_every_check_of_the_protocol_is_a_test(sources):
    assert set(numbers(sources)) == CHECKS


def test_a_test_of_the_protocol_bears_a_number(sources):
    nameless = [
        f"{source.path}: {node.name}"
        for source in sources
        if source.path.parts[:3] == FOLDER
        for node in ast.walk(source.tree)
        if isinstance(node, ast.FunctionDef)
        and node.name.startswith("test_")
        and not re.match(r"test_\d{3}_[a-z]", node.name)
    ]
    assert nameless == []
