"""The reference for warm invokes: aiohttp's hello world on uvloop, in a process of its own.

What any aiohttp service pays before it does anything. Prints its port, then serves for ever.
"""

from __future__ import annotations

import asyncio

import uvloop
from aiohttp import web


async def _hello(_: web.Request) -> web.Response:
    return web.Response(text="Hello, world!")


async def _serve() -> None:
    application = web.Application()
    application.router.add_get("/", _hello)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve())
