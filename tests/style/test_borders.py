"""Who may know whom, and which words lead nowhere."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lambdad.store.sqlite import statements

LOCK_FILES = {
    "Cargo.lock", "Pipfile.lock", "package-lock.json", "pdm.lock", "poetry.lock", "pylock.toml",
    "uv.lock",
}  # fmt: skip
# Folders of a machine on which somebody works; what an environment sees is something else.
MACHINE_PATH = re.compile(r"(?<![\w.~])/(?:root|work|Users|home/(?!sbx_user|user)\w+)/")
SUFFIXES_OF_BINARIES = {".whl", ".gz", ".zip", ".png", ".pyc", ".so"}
# In the document, what looks like a path and is one.
PATH_IN_TEXT = re.compile(r"`([A-Za-z_.][\w.-]*(?:/[\w.*<>{},-]*)+)`")


def test_the_import_contracts_are_kept(root):
    command = shutil.which("lint-imports", path=str(Path(sys.executable).parent))
    if command is None:
        pytest.skip("import-linter is not installed")
    ran = subprocess.run(
        [command, "--no-cache"], cwd=root, capture_output=True, check=False, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stdout


def test_every_query_is_used(packages):
    spoken = {
        node.value
        for source in packages
        if source.path.parts[:4] == ("runtime", "lambdad", "store", "sqlite")
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(statements.queries()) <= spoken


def test_every_query_has_one_name_and_some_text(root):
    text = (root / "runtime/lambdad/store/sqlite/queries.sql").read_text(encoding="utf-8")
    names = re.findall(r"^-- (\w+) --$", text, re.MULTILINE)
    assert len(set(names)) == len(names)
    assert set(names) == set(statements.queries())
    assert all(statements.queries().values())


def test_the_architecture_names_only_what_there_is(root):
    document = root / "ARCHITECTURE.md"
    if not document.exists():
        pytest.skip("ARCHITECTURE.md is not written yet")
    named = PATH_IN_TEXT.findall(document.read_text(encoding="utf-8"))
    assert named
    wings = ("runtime/lambdad", "sandbox/lambdad_sandbox", "bootstrap/lambdad_bootstrap")
    places = [root, *(root / wing for wing in wings), *((root / wing).parent for wing in wings)]
    missing = [
        path
        for path in named
        if not any(mark in path for mark in "<>*{")
        and not any((place / path).exists() for place in places)
    ]
    assert missing == []


def test_there_is_no_lock_file(files):
    assert [path for path in files if path.name in LOCK_FILES] == []


def test_no_machine_of_anybodys_shows(root, files):
    found = []
    for path in files:
        if path.parts[0] not in {"runtime", "sandbox", "bootstrap", "docs"}:
            continue
        if path.suffix in SUFFIXES_OF_BINARIES:
            continue
        text = (root / path).read_text(encoding="utf-8")
        found += [f"{path}: {match[0]}" for match in MACHINE_PATH.finditer(text)]
    assert found == []
