"""Disks that stand ready for /tmp: a start does not wait until one is made.

Which sizes are wanted is known from the functions there are. Not how a disk is made: that is
``lambdad_sandbox.disk``, whose methods block and so run in an executor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from functools import partial
from typing import Any, Protocol, TypeVar

import structlog

from lambdad.model.limits import disk_sizes_ready_max
from lambdad_sandbox.disk import Disk
from lambdad_sandbox.errors import SandboxError

_log = structlog.get_logger()

# A start that has just taken one is to be over before the next is made beside it.
REFILL_AFTER_S = 0.03

Result = TypeVar("Result")


class Maker(Protocol):
    """What makes disks: ``lambdad_sandbox.disk.DiskMaker``."""

    def make(self, tmp_mb: int) -> Disk: ...

    def copy(self, disk: Disk, *, from_uid: int, to_uid: int) -> Disk: ...


class Disks:
    """Keeps up to ``ready`` of each size that is in use, of the few sizes used last.

    Args:
        maker: makes one, blocking.
        executor: where it may block; it must still run when ``stop`` is called.
    """

    def __init__(self, maker: Maker, ready: int, executor: Executor) -> None:
        self._maker, self._count, self._executor = maker, ready, executor
        self._ready: dict[int, list[Disk]] = {}  # the size used last stands last
        self._making: set[int] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopped = False

    async def prepare(self, tmp_mb: int) -> None:
        """Have disks of that size ready: there is a function that will want them."""
        self._use(tmp_mb)
        await asyncio.shield(self._background(self._fill(tmp_mb)))

    def take(self, tmp_mb: int) -> Disk | None:
        """One that stands ready, if there is one; another is made soon."""
        self._use(tmp_mb)
        loop = asyncio.get_running_loop()
        loop.call_later(REFILL_AFTER_S, self._refill, tmp_mb)
        ready = self._ready[tmp_mb]
        return ready.pop() if ready else None

    async def make(self, tmp_mb: int) -> Disk:
        """One made now: a few milliseconds. Whoever waits for it may not be cancelled.

        Raises:
            SandboxError: the host has none to give.
        """
        return await self._blocking(partial(self._maker.make, tmp_mb))

    async def copy(self, disk: Disk, *, from_uid: int, to_uid: int) -> Disk:
        """One that holds what ``disk`` does, for another user; as for ``make``.

        Nothing may write to ``disk`` meanwhile, and nobody may discard it.

        Raises:
            SandboxError: as for ``make``.
        """
        copy = partial(self._maker.copy, disk, from_uid=from_uid, to_uid=to_uid)
        return await self._blocking(copy)

    async def discard(self, disk: Disk) -> None:
        """Drop a disk and what is on it; call it when its processes are told to die.

        They cannot then be kept from it by a write-back. What goes wrong is logged.
        """
        try:
            await self._blocking(disk.discard)
        except OSError as error:
            _log.warning("cannot discard a disk", reason=str(error))

    async def stop(self) -> None:
        """Drop those that stand ready and those on their way; make no more."""
        self._stopped = True
        for tmp_mb in list(self._ready):
            self._forget(tmp_mb)
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _use(self, tmp_mb: int) -> None:
        self._ready[tmp_mb] = self._ready.pop(tmp_mb, [])
        if len(self._ready) > disk_sizes_ready_max:
            self._forget(next(iter(self._ready)))

    def _forget(self, tmp_mb: int) -> None:
        for disk in self._ready.pop(tmp_mb):
            self._background(self.discard(disk))

    def _refill(self, tmp_mb: int) -> None:
        if not self._stopped:
            self._background(self._fill(tmp_mb))

    async def _fill(self, tmp_mb: int) -> None:
        """Make as many as are missing, one after the other, and by one caller at a time."""
        if tmp_mb in self._making:
            return
        self._making.add(tmp_mb)
        try:
            while self._wants(tmp_mb):
                disk = await self.make(tmp_mb)
                if self._wants(tmp_mb):
                    self._ready[tmp_mb].append(disk)
                else:
                    await self.discard(disk)
        except (OSError, SandboxError) as error:
            _log.warning("cannot make a disk", tmp_mb=tmp_mb, reason=str(error))
        finally:
            self._making.discard(tmp_mb)

    def _wants(self, tmp_mb: int) -> bool:
        ready = None if self._stopped else self._ready.get(tmp_mb)
        return ready is not None and len(ready) < self._count

    def _background(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _blocking(self, deed: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._executor, deed)
