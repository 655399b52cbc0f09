"""What may not be the same in all processes restored from one snapshot, made anew in each.

Only modules that the function has loaded are touched, and none is loaded for this. It stands in
for Python's fork handlers as well: a restored process is a copy that nobody forked.

Nothing is needed for what the kernel gives: os.urandom, secrets, uuid4. Out of reach, and the
same in every copy as it is on AWS, are the seed of hash(), generators that a function has made
for itself (random.Random, numpy's default_rng), and the state of C libraries. A hook of the
function can renew the latter two:
https://docs.aws.amazon.com/lambda/latest/dg/snapstart-uniqueness.html
"""

# ruff: noqa: SLF001  the standard library has no public way to any of this

from __future__ import annotations

import contextlib
import gc
import os
import select
import socket
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_ENTROPY_BYTES = 32


def renew() -> None:
    """Be unlike every other process restored from the same snapshot; may be called again."""
    for name, renewed in _RENEWALS:
        module = sys.modules.get(name)
        if module is not None:
            # What a function has loaded under this name may be another module, or patched.
            with contextlib.suppress(AttributeError, TypeError):
                renewed(module)


def suspend_loops() -> list[Any]:
    """Take from the event loops of asyncio what a copy would share with its original: epoll.

    A dead socket holds its number. Call it before `gc.freeze()`, which hides what there is.

    Returns:
        the loops, which are of no use until `resume_loop`.
    """
    events = sys.modules.get("asyncio.selector_events")
    selectors = sys.modules.get("selectors")
    if events is None or selectors is None:
        return []
    # isinstance() would ask each object for its class, which proxies answer with code.
    loops = [it for it in gc.get_objects() if issubclass(type(it), events.BaseSelectorEventLoop)]
    # One that is closed has none.
    epoll = selectors.EpollSelector
    waiting = [loop for loop in loops if type(getattr(loop, "_selector", None)) is epoll]
    for loop in waiting:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
            os.dup2(dead.fileno(), loop._selector.fileno(), inheritable=False)
    return waiting


def resume_loop(loop: Any) -> None:
    """Give a loop an epoll of its own, and new sockets to wake it, under the old numbers."""
    selector = loop._selector
    with select.epoll() as fresh:
        os.dup2(fresh.fileno(), selector.fileno(), inheritable=False)
    for end, place in zip(socket.socketpair(), (loop._ssock, loop._csock)):
        with end:
            end.setblocking(False)
            os.dup2(end.fileno(), place.fileno(), inheritable=False)
    for key in tuple(selector.get_map().values()):
        selector.unregister(key.fileobj)
        # A connection whose number is gone is no loss.
        with contextlib.suppress(OSError):
            selector.register(key.fileobj, key.events, key.data)


def _renew_ssl(ssl: Any) -> None:
    # OpenSSL knows a copy by its pid, which may be the same in another namespace.
    ssl.RAND_add(os.urandom(_ENTROPY_BYTES), _ENTROPY_BYTES)


def _renew_uuid(uuid: Any) -> None:
    # libuuid remembers node and clock where nobody reaches them, so it is passed by; the node
    # is random then, as RFC 9562 allows.
    uuid._node, uuid._generate_time_safe = uuid._random_getnode(), None


def _renew_tempfile(tempfile: Any) -> None:
    tempfile._name_sequence = None


# The first comes first: uuid draws from it.
_RENEWALS: tuple[tuple[str, Callable[[Any], object]], ...] = (
    ("random", lambda random: random.seed()),
    ("numpy.random", lambda numpy_random: numpy_random.seed()),
    ("ssl", _renew_ssl),
    ("uuid", _renew_uuid),
    ("tempfile", _renew_tempfile),
    ("threading", lambda threading: threading.main_thread()._set_native_id()),
)
