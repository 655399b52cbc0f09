"""Sockets of the network inside a sandbox, made there by init and handed out to the daemon.

Here is who waits for one, and the look at what came out. Connecting them is their users' matter.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import socket
from collections.abc import Callable, Sequence

from lambdad_sandbox import channel

_TCP = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
_TCP_CLOSE = 7  # neither connected nor listening nor on the way, see include/net/tcp_states.h


class InnerSockets:
    """Those of one sandbox that are asked for and have not come yet.

    Args:
        ask: passes the key of a wish on to init; may raise OSError.
    """

    def __init__(self, ask: Callable[[int], None]) -> None:
        self._ask, self._keys = ask, itertools.count()
        self._waiting: dict[int, asyncio.Future[socket.socket]] = {}

    async def open(self) -> socket.socket:
        """A TCP socket: not connected, non-blocking, the caller's to close.

        Raises:
            OSError: none is to be had, or the sandbox has ended.
        """
        key = next(self._keys)
        wish: asyncio.Future[socket.socket] = asyncio.get_running_loop().create_future()
        self._waiting[key] = wish
        try:
            self._ask(key)
            return await wish
        except asyncio.CancelledError:
            if wish.done() and not wish.cancelled() and wish.exception() is None:
                wish.result().close()  # It came, but whoever wanted it was cancelled meanwhile.
            raise
        finally:
            del self._waiting[key]

    def opened(self, key: int, errno: int, descriptors: Sequence[int]) -> None:
        """What came of a wish; without one that waits for it, a socket is closed again."""
        wish = self._waiting.get(key)
        if wish is None or wish.done():
            channel.close_all(descriptors)
            return
        try:
            wish.set_result(_unused(errno, descriptors))
        except OSError as error:
            wish.set_exception(error)

    def end(self) -> None:
        """No more will come: the sandbox has ended."""
        for wish in self._waiting.values():
            if not wish.done():
                wish.set_exception(ConnectionAbortedError("cannot make a socket: init has ended"))


def _unused(errno: int, descriptors: Sequence[int]) -> socket.socket:
    """Take over a TCP socket that nobody has used yet; whatever else came is closed.

    Raises:
        OSError: it is something else, or init could not make one.
    """
    if errno or len(descriptors) != 1:
        channel.close_all(descriptors)
        raise OSError(errno, f"cannot make a socket inside: {os.strerror(errno)}")
    try:
        made = socket.socket(fileno=descriptors[0])
    except OSError:
        channel.close_all(descriptors)
        raise
    if not _is_unused_tcp(made):
        made.close()
        raise OSError("cannot use what is no unconnected TCP socket")
    made.setblocking(False)
    return made


def _is_unused_tcp(made: socket.socket) -> bool:
    """Look at its kind and at the first byte of what tcp(7) calls ``TCP_INFO``, its state."""
    if (made.family, made.type, made.proto) != _TCP:
        return False
    return made.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE
