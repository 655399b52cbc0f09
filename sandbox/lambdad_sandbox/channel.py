"""Messages and descriptors over SOCK_SEQPACKET: the blocking end, for zygote and init.

The daemon's end of the same sockets is driven by its event loop, with ``receive_now``.
"""

from __future__ import annotations

import errno
import os
import socket
from array import array
from collections.abc import Sequence

from lambdad_sandbox import messages
from lambdad_sandbox.errors import UnexpectedMessage

MESSAGE_BYTES_MAX = 64 * 1024
_ROOM = socket.CMSG_LEN(32 * 4)  # for 32 descriptors


def pair() -> tuple[socket.socket, socket.socket]:
    """Two connected ends, not inherited over exec."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(end: socket.socket, message: messages.Message, descriptors: Sequence[int] = ()) -> None:
    """Send one message.

    Raises:
        OSError: EMSGSIZE above 64 KiB or the socket's buffer, EPIPE when nobody listens.
    """
    data = messages.encode(message)
    if len(data) > MESSAGE_BYTES_MAX:
        raise OSError(errno.EMSGSIZE, os.strerror(errno.EMSGSIZE))
    if descriptors:
        socket.send_fds(end, [data], list(descriptors))
    else:
        end.send(data)


def receive(end: socket.socket) -> tuple[messages.Message | None, list[int]]:
    """The next message and its descriptors (not inherited over exec); None at the end."""
    data, ancillary, _, _ = end.recvmsg(MESSAGE_BYTES_MAX, _ROOM, socket.MSG_CMSG_CLOEXEC)
    descriptors = array("i")
    for _, kind, content in ancillary:
        if kind == socket.SCM_RIGHTS:
            descriptors.frombytes(content[: len(content) // descriptors.itemsize * 4])
    try:
        message = messages.decode(data) if data else None
    except UnexpectedMessage:
        close_all(descriptors)
        raise
    return message, descriptors.tolist()


def close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
