"""The hooks that a function has registered for SnapStart, with AWS's ``snapshot_restore_py``.

https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html
When they run, and what becomes of one that fails, is the runtime's business.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Hook = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


def run_before_snapshot() -> None:
    """Run these hooks, the one registered last first; each once."""
    hooks = _registered("get_before_snapshot")
    while hooks:
        hook, positional, named = hooks.pop()
        hook(*positional, **named)


def run_after_restore() -> None:
    """Run these hooks in the order of their registration."""
    for hook, positional, named in _registered("get_after_restore"):
        hook(*positional, **named)


def _registered(which: str) -> list[Hook]:
    """AWS's own list; a function that has not imported the module cannot have any hooks."""
    module = sys.modules.get("snapshot_restore_py")
    return getattr(module, which)() if module is not None else []
