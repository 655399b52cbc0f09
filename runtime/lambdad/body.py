"""Request bodies, as both doors read them: opaque bytes up to a limit, and no further."""

from __future__ import annotations

from aiohttp import web

# What is too large is read to its end all the same, so that the client sees the answer: up to
# twice the largest request that there is.
DISCARDED_BYTES_MAX = 140 * 1024 * 1024


async def read_body(request: web.BaseRequest, bytes_max: int) -> tuple[bytes | None, int]:
    """The body and its size; ``None`` for a body that is larger than ``bytes_max``.

    Raises:
        ClientError, OSError: the client closed before the body was complete.
    """
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size <= bytes_max:
            chunks.append(chunk)
        elif size > DISCARDED_BYTES_MAX:
            break
    return (b"".join(chunks) if size <= bytes_max else None), size
