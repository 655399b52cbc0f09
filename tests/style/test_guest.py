"""Guest files stand alone: the standard library and each other, on every Python offered."""

import ast
import subprocess
import sys

import pytest

from lambdad.code.runtimes import find_python

COMPILE = """
import sys
for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        compile(file.read(), path, "exec", dont_inherit=True)
"""


class Imports(ast.NodeVisitor):
    """The top-level names that are imported when a module runs, but not for type checkers."""

    def __init__(self):
        self.names = set()

    def visit_If(self, node):
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for other in node.orelse:
                self.visit(other)
        else:
            self.generic_visit(node)

    def visit_Import(self, node):
        self.names |= {alias.name.partition(".")[0] for alias in node.names}

    def visit_ImportFrom(self, node):
        self.names.add((node.module or "").partition(".")[0])


def imports_of(tree):
    visitor = Imports()
    visitor.visit(tree)
    return visitor.names


def test_there_are_guest_files(guest_files):
    assert {"bootstrap.py", "lambdad_client.py"} <= {source.path.name for source in guest_files}


def test_guest_files_import_the_standard_library_and_each_other(guest_files):
    own = {source.path.stem for source in guest_files}
    allowed = sys.stdlib_module_names | own
    strange = {
        str(source.path): imports_of(source.tree) - allowed
        for source in guest_files
        if imports_of(source.tree) - allowed
    }
    assert strange == {}


@pytest.mark.parametrize("minor", range(9, 15))
def test_guest_and_sandbox_files_compile_under_this_interpreter(root, packages, minor):
    interpreter = find_python(f"3.{minor}")
    if interpreter is None:
        pytest.skip(f"there is no python3.{minor} here")
    inside = [
        str(root / source.path)
        for source in packages
        if source.folder == "sandbox" or source.path.parent.name == "guest"
    ]
    ran = subprocess.run(
        [interpreter.executable, "-I", "-S", "-W", "error", "-c", COMPILE, *inside],
        capture_output=True, check=False, text=True, timeout=60,
    )  # fmt: skip
    assert (ran.returncode, ran.stderr) == (0, "")
