"""How telemetry reaches an extension: over connections made inside its own environment.

Who listens there is hostile. A courier connects to the environment's loopback through a socket
that was made in there, and nowhere else: it looks up no name, follows no redirect, knows no
proxy, cookie or variable, and takes little of an answer. It sets no time limit: who uses it
knows when the environment is frozen. Source: runtime-protocol 3.2; threat model, NET-6.
"""

from __future__ import annotations

import asyncio
import io
import socket
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.tracing import Trace
from yarl import URL

from lambdad.invoke.subscription import Destination, Protocol
from lambdad.invoke.telemetry import Courier
from lambdad.model import limits
from lambdad.runtime_api.answers import JSON

OpenSocket = Callable[[], Awaitable[socket.socket]]
"""Makes a TCP socket in the network of an environment: not connected, not blocking."""

_LOOPBACK = "127.0.0.1"
# What a listener that does not read keeps of ours in the kernel, after we have given up.
_SEND_BUFFER_BYTES = 64 * 1024
_NO_LIMIT = aiohttp.ClientTimeout()
_UNASKED = ("Accept", "Accept-Encoding", "User-Agent")


def courier(destination: Destination, open_socket: OpenSocket) -> Courier:
    """What brings telemetry to this destination."""
    if destination.protocol is Protocol.TCP:
        return TcpCourier(destination.port, open_socket)
    return HttpCourier(destination, open_socket)


async def _connect(port: int, open_socket: OpenSocket) -> socket.socket:
    """A socket that is connected to this port inside.

    Raises:
        OSError: nobody listens there, or the environment is gone.
    """
    connected = await open_socket()
    try:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        await asyncio.get_running_loop().sock_connect(connected, (_LOOPBACK, port))
    except BaseException:
        connected.close()
        raise
    return connected


class HttpCourier:
    """A request per batch, each on a connection of its own; its body is a JSON array.

    Args:
        destination: who is asked, in which words.
        open_socket: where it is.
    """

    def __init__(self, destination: Destination, open_socket: OpenSocket) -> None:
        self._method = destination.method
        self._url = URL(
            f"http://{destination.host}:{destination.port}{destination.path}", encoded=True
        )
        self._connect = partial(_connect, destination.port, open_socket)

    async def deliver(self, events: list[bytes]) -> None:
        """Any status from 200 to 299 acknowledges; what follows it is not waited for.

        Raises:
            OSError: anything else happened.
        """
        body = io.BytesIO(b"[" + b",".join(events) + b"]")
        try:
            async with (
                aiohttp.ClientSession(
                    connector=_Connector(self._connect),
                    cookie_jar=aiohttp.DummyCookieJar(),
                    timeout=_NO_LIMIT,
                    skip_auto_headers=_UNASKED,
                    auto_decompress=False,
                    trust_env=False,
                ) as session,
                session.request(
                    self._method,
                    self._url,
                    data=body,
                    headers={"Content-Type": JSON},
                    allow_redirects=False,
                ) as response,
            ):
                status = response.status
        except (aiohttp.ClientError, ValueError) as error:
            raise OSError("cannot deliver telemetry") from error
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            raise OSError("cannot deliver telemetry: it was not acknowledged")

    def close(self) -> None:
        """Nothing is held between two batches."""


class _Connector(aiohttp.BaseConnector):
    """Connects to one place, whatever the URL says; no connection is used twice."""

    def __init__(self, connect: Callable[[], Awaitable[socket.socket]]) -> None:
        super().__init__(force_close=True)
        self._connect_inside = connect

    async def _create_connection(
        self,
        req: aiohttp.ClientRequest,  # noqa: ARG002  it names a host, and none is looked up
        traces: list[Trace],  # noqa: ARG002  there are none
        timeout: aiohttp.ClientTimeout,  # noqa: ARG002, ASYNC109  there is none
    ) -> ResponseHandler:
        connected = await self._connect_inside()
        try:
            _, protocol = await self._loop.create_connection(
                partial(_Answer, self._loop), sock=connected
            )
        except BaseException:
            connected.close()
            raise
        return protocol


class _Answer(ResponseHandler):
    """An answer, up to a bound; what is not sent when it is over is not sent any more."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop)
        self._left_bytes = limits.telemetry_answer_bytes_max

    def data_received(self, data: bytes) -> None:
        self._left_bytes -= len(data)
        if self._left_bytes >= 0:
            super().data_received(data)
        elif self.transport is not None:
            self.transport.abort()

    def close(self) -> None:
        self.abort()


class TcpCourier:
    """An event per line on one connection; nobody acknowledges anything.

    Args:
        port: where the extension listens.
        open_socket: where it is.
    """

    def __init__(self, port: int, open_socket: OpenSocket) -> None:
        self._connect = partial(_connect, port, open_socket)
        self._connected: socket.socket | None = None

    async def deliver(self, events: list[bytes]) -> None:
        """Write the events; if the connection breaks they are lost, and the next has a new one.

        Raises:
            OSError: there is no connection.
        """
        if self._connected is None:
            self._connected = await self._connect()
        lines = b"".join(event + b"\n" for event in events)
        try:
            await asyncio.get_running_loop().sock_sendall(self._connected, lines)
        except OSError:
            self.close()
        except BaseException:
            self.close()  # Cut off within a line.
            raise

    def close(self) -> None:
        if self._connected is not None:
            self._connected.close()
            self._connected = None
