"""What functions import to register hooks for SnapStart, under the name it has on AWS.

https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html
It only remembers. The runtime runs the hooks once, around the snapshot: what is registered later,
in the handler for one, is remembered for nothing. A function that packs its own copy gets that.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Function = TypeVar("Function", bound=Callable[..., Any])
    Hook = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]

_before_snapshot: list[Hook] = []
_after_restore: list[Hook] = []


def register_before_snapshot(func: Function, *args: Any, **kwargs: Any) -> Function:
    """Have ``func`` called with these arguments before the snapshot; the last one comes first.

    Returns ``func`` itself, and so is a decorator. Twice registered is twice called.
    """
    _before_snapshot.append((func, args, kwargs))
    return func


def register_after_restore(func: Function, *args: Any, **kwargs: Any) -> Function:
    """Have ``func`` called with these arguments after each restore; the first one comes first.

    Returns ``func`` itself, and so is a decorator. Twice registered is twice called.
    """
    _after_restore.append((func, args, kwargs))
    return func


def get_before_snapshot() -> list[Hook]:
    """The list itself, in the order of registration, for the runtime to use up."""
    return _before_snapshot


def get_after_restore() -> list[Hook]:
    """The list itself, in the order of registration."""
    return _after_restore
