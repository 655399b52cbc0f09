"""Small enough to be read. Exceptions bear a name, and the lists may only shrink."""

import ast

FUNCTION_LINES_MAX, MODULE_LINES_MAX = 70, 500
LONG_FUNCTIONS = frozenset()
LONG_MODULES = frozenset()
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def test_no_function_is_longer_than_a_screen(sources):
    long = {
        f"{source.path}:{node.lineno} {node.name}"
        for source in sources
        for node in ast.walk(source.tree)
        if isinstance(node, FUNCTIONS) and node.end_lineno - node.lineno + 1 > FUNCTION_LINES_MAX
    }
    assert long == LONG_FUNCTIONS


def test_no_module_is_longer_than_can_be_kept_in_mind(sources):
    long = {str(source.path) for source in sources if source.text.count("\n") > MODULE_LINES_MAX}
    assert long == LONG_MODULES
