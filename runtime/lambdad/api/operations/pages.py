"""Lists in pages: ``MaxItems`` and ``Marker`` in, ``NextMarker`` out (lambda-api 23). Pure."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from lambdad.model.errors import invalid_parameter

_Item = TypeVar("_Item")
_PAGE_ITEMS = 50


def page(
    params: Mapping[str, Any], items: Iterable[_Item], key: Callable[[_Item], str]
) -> tuple[list[_Item], dict[str, str]]:
    """The items that a request asks for, and the marker of the next ones, if there are any.

    Args:
        params: of the request.
        items: all of them.
        key: what they are in order of, each with one of its own. A marker is the last key of the
            page before, which may be gone meanwhile.

    Raises:
        ApiError: the marker is none.
    """
    after = _unmark(params.get("Marker") or "")
    rest = sorted((item for item in items if key(item) > after), key=key)
    count = min(params.get("MaxItems", _PAGE_ITEMS), _PAGE_ITEMS)
    if len(rest) <= count:
        return rest, {}
    marker = base64.urlsafe_b64encode(key(rest[count - 1]).encode()).decode()
    return rest[:count], {"NextMarker": marker}


def _unmark(marker: str) -> str:
    try:
        return base64.b64decode(marker, altchars=b"-_", validate=True).decode()
    except ValueError:
        raise invalid_parameter("Invalid marker") from None
