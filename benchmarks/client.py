"""The load: HTTP/1.1 over kept connections, the same for lambdad and for its reference.

Not boto3: it takes a millisecond or two of its own, several times what is to be measured. Not a
general client either: it understands answers with a Content-Length, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from typing import Any

_CONTENT_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_STATUS = slice(9, 12)  # of "HTTP/1.1 200 OK"


class UnexpectedAnswer(Exception):
    """A run with an error in it measures nothing."""


class Connection(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self._data = b""
        self._answer: asyncio.Future[tuple[bytes, bytes]] | None = None
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data += data
        head, separator, body = self._data.partition(b"\r\n\r\n")
        if separator and len(body) >= _length(head):
            self._data = b""
            assert self._answer is not None
            self._answer.set_result((head, body))

    def connection_lost(self, _: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(UnexpectedAnswer("the connection was closed"))

    async def ask(self, request: bytes) -> bytes:
        """Send a request; the body of the answer.

        Raises:
            UnexpectedAnswer: it is no success, or the error of a function.
        """
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        head, body = await self._answer
        if not head[_STATUS].startswith(b"2") or b"x-amz-function-error" in head.lower():
            raise UnexpectedAnswer(f"{head.decode()}\n\n{body.decode()}")
        return body

    async def timed(self, request: bytes) -> float:
        """Send a request; the seconds until its answer was there."""
        since = time.perf_counter()
        await self.ask(request)
        return time.perf_counter() - since

    def close(self) -> None:
        self._transport.close()


def _length(head: bytes) -> int:
    """Of the body: 204 has none, and says nothing of it."""
    found = _CONTENT_LENGTH.search(head)
    return int(found[1]) if found else 0


async def connect(port: int) -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(
        Connection, "127.0.0.1", port
    )
    return connection


def request(method: str, path: str, document: Any = None) -> bytes:
    """A request, ready to be sent as often as one likes."""
    body = b"" if document is None else json.dumps(document).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body
