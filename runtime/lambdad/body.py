"""Request bodies, as both doors read them: opaque bytes up to a limit, and no further."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import ClientError, hdrs, web

# What is too large is read to its end all the same, so that the client sees the answer: up to
# twice the largest request that there is.
DISCARDED_BYTES_MAX = 140 * 1024 * 1024


class CutOff(Exception):
    """The client closed before its body was complete, sent something else, or far too much."""


async def read_body(request: web.BaseRequest, bytes_max: int) -> tuple[bytes | None, int]:
    """The body and its size; ``None`` for a body that is larger than ``bytes_max``.

    Raises:
        CutOff: there is no whole body.
    """
    content = request.content
    if content.is_eof() and content.exception() is None and content.total_bytes <= bytes_max:
        return content.read_nowait(), content.total_bytes  # It has come with its head.
    chunks: list[bytes] = []
    size = 0
    async for chunk in pieces(request):
        size += len(chunk)
        if size <= bytes_max:
            chunks.append(chunk)
        elif not may_be_discarded(request, size):
            break
        else:
            chunks.clear()
    return (b"".join(chunks) if size <= bytes_max else None), size


async def pieces(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """The body as it comes.

    Raises:
        CutOff: there is no more of it, and it is not complete.
    """
    try:
        if hdrs.EXPECT in request.headers and not request.content.total_bytes:
            await _invite(request)
        async for chunk in request.content.iter_any():
            yield chunk
    except (ClientError, OSError, web.RequestPayloadError) as error:
        raise CutOff from error


def may_be_discarded(request: web.BaseRequest, size: int) -> bool:
    """Whether so much that nobody wants is read on; if not, the connection is cut."""
    if size <= DISCARDED_BYTES_MAX:
        return True
    # Who sends so much is not waiting for an answer.
    if request.protocol.transport:
        request.protocol.transport.abort()
    return False


async def _invite(request: web.BaseRequest) -> None:
    """Say that the body may come: clients wait a second for it otherwise (RFC 9110, 10.1.1)."""
    if request.headers[hdrs.EXPECT].lower() == "100-continue" and request.protocol.transport:
        request.protocol.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
