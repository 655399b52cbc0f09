"""The project's own files, as text and as syntax trees."""

import ast
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
# What users write is theirs.
NOT_OURS = ("tests/fixtures", "examples")


class Source(NamedTuple):
    """A Python file of ours; ``path`` is relative to the root."""

    path: Path
    text: str
    tree: ast.Module

    @property
    def folder(self):
        return self.path.parts[0]


def _listed():
    """What git knows or would add; without git, whatever is there and not hidden."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        found = [path.relative_to(ROOT) for path in ROOT.rglob("*") if path.is_file()]
        return [path for path in found if not any(part.startswith(".") for part in path.parts)]
    paths = [Path(name) for name in listed.decode().split("\0") if name]
    return [path for path in paths if (ROOT / path).is_file()]


@pytest.fixture(scope="session")
def root():
    return ROOT


@pytest.fixture(scope="session")
def files():
    """Every file of the project, relative to its root."""
    return sorted(_listed())


@pytest.fixture(scope="session")
def sources(files):
    """Every Python file of ours."""
    found = []
    for path in files:
        if path.suffix == ".py" and not str(path).startswith(NOT_OURS):
            text = (ROOT / path).read_text(encoding="utf-8")
            found.append(Source(path, text, ast.parse(text)))
    return found


@pytest.fixture(scope="session")
def packages(sources):
    """Those of the three packages."""
    return [source for source in sources if source.folder in {"runtime", "sandbox", "bootstrap"}]


@pytest.fixture(scope="session")
def guest_files(sources):
    """What runs inside an environment, beside the user's code."""
    return [source for source in sources if source.path.parent.name == "guest"]
