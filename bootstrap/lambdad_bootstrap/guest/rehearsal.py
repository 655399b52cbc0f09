"""A function that does nothing, for `bootstrap.rehearse`; no user's function is one."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def handler(event: Any, _context: Any) -> Any:
    return event
