"""What a runtime does around the snapshot of SnapStart: the function's hooks, and lying still.

https://docs.aws.amazon.com/lambda/latest/dg/snapstart-runtime-hooks-python.html
When it is done, and what becomes of a hook that fails, is the runtime's business. What copies of
the process may not share is `lambdad_renewal`'s.
"""

from __future__ import annotations

import gc
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from lambdad_bootstrap.guest import lambdad_renewal

    Hook = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]
else:
    import lambdad_renewal


def run_before_snapshot() -> None:
    """Run these hooks, the one registered last first; each once."""
    hooks = _registered("get_before_snapshot")
    while hooks:
        hook, positional, named = hooks.pop()
        hook(*positional, **named)


def lie_still(restore_next: Callable[[Callable[[], None]], None]) -> None:
    """Wait for the restore, with memory that copies of this process can share for long.

    A collection in a copy would write to every object there is, if they were not set apart.

    Args:
        restore_next: waits; it calls what it is given in a process that is a copy.
    """
    collects = gc.isenabled()
    gc.collect()
    # Once here, so that what is only slow the first time is so for nobody else: OpenSSL takes
    # 3 ms to set up its random numbers.
    lambdad_renewal.renew()
    loops = lambdad_renewal.suspend_loops()
    gc.freeze()
    gc.disable()
    restore_next(lambdad_renewal.renew)
    for loop in loops:
        lambdad_renewal.resume_loop(loop)
    if collects:
        gc.enable()


def run_after_restore() -> None:
    """Run these hooks in the order of their registration."""
    for hook, positional, named in _registered("get_after_restore"):
        hook(*positional, **named)


def _registered(which: str) -> list[Hook]:
    """AWS's own list; a function that has not imported the module cannot have any hooks."""
    module = sys.modules.get("snapshot_restore_py")
    return getattr(module, which)() if module is not None else []
