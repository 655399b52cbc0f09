"""Connections to the kernel by pyroute2, with the errors of the standard library."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from pyroute2 import NetlinkError


@contextlib.contextmanager
def connection(kind: Callable[[], Any]) -> Iterator[Any]:
    """A socket of pyroute2's, in the namespace of the calling thread.

    Raises:
        OSError: what the kernel refuses.
    """
    try:
        with kind() as kernel:
            yield kernel
    except NetlinkError as error:
        raise OSError(error.code, str(error.args[-1])) from error
