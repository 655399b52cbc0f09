"""Messages and descriptors over SOCK_SEQPACKET: the blocking end, for zygote and init.

The daemon's end of the same sockets is driven by its event loop, with ``receive_now``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence

from lambdad_sandbox import messages

MESSAGE_BYTES_MAX = 64 * 1024
_DESCRIPTORS_MAX = 32


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends, not inherited over exec."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(end: socket.socket, message: messages.Message, descriptors: Sequence[int] = ()) -> None:
    """Send one message.

    Raises:
        OSError: EMSGSIZE above 64 KiB or the socket's buffer, EPIPE when nobody listens.
    """
    data = messages.encode(message)
    if descriptors:
        socket.send_fds(end, [data], list(descriptors))
    else:
        end.send(data)


def receive(end: socket.socket) -> tuple[messages.Message | None, list[int]]:
    """The next message and its descriptors (not inherited over exec); None at the end."""
    data, descriptors, _, _ = socket.recv_fds(
        end, MESSAGE_BYTES_MAX, _DESCRIPTORS_MAX, socket.MSG_CMSG_CLOEXEC
    )
    if not data:
        close_all(descriptors)
        return None, []
    return messages.decode(data), descriptors


def close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
