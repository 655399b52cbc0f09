"""The files that a zygote runs from: a clean copy of this package and of msgpack.

Clean means sources only: a zygote runs under another interpreter than the one that compiled
what is installed. msgpack's compiled part is taken along for the interpreters that can use it;
the others fall back on its Python part.
"""

from __future__ import annotations

import importlib.util
import os
import shutil

_OWN = os.path.dirname(os.path.abspath(__file__))


def copy_machinery(to: str) -> None:
    """Write the files to ``to``, which must not exist; a zygote runs it as a directory."""
    spec = importlib.util.find_spec("msgpack")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("cannot find msgpack")
    ignore = shutil.ignore_patterns("__pycache__", "*.pyx", "*.md", "py.typed")
    shutil.copytree(_OWN, os.path.join(to, "lambdad_sandbox"), ignore=ignore)
    shutil.copytree(os.path.dirname(spec.origin), os.path.join(to, "msgpack"), ignore=ignore)
    shutil.copyfile(os.path.join(_OWN, "__main__.py"), os.path.join(to, "__main__.py"))
