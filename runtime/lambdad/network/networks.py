"""Networks of environments, made before they are needed and removed when nobody waits.

No network is made, joined or removed on the event loop; none is ever another environment's
again.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Protocol, TypeVar

import structlog

from lambdad.model import limits
from lambdad.network import namespaces
from lambdad.network.policy import CannotConnect
from lambdad_sandbox.errors import SandboxError

_log = structlog.get_logger()
_Result = TypeVar("_Result")

# A start that has just taken one is to be over before the next is made beside it.
REFILL_AFTER_S = 0.03
# Graves are closed when nothing was taken or given back for so long.
QUIET_S = 1.0
_HINT = "CAP_SYS_ADMIN and CAP_NET_ADMIN are needed, and for a way out the veth module"


@dataclass(frozen=True, slots=True)
class Network:
    """The network of one environment.

    Args:
        fd: its namespace, to be joined with setns(2); it is the pool's, who closes it.
        address: the environment's own, or ``None`` where there is only ``lo``.
    """

    fd: int
    address: IPv4Address | None


class Way(Protocol):
    """How environments are connected; every call blocks, one at a time."""

    def open(self) -> str:
        """Make the way; returns the resolv.conf(5) of environments."""

    def connect(self, runtime_api_host: str) -> tuple[int, IPv4Address | None]:
        """A namespace that is connected, and its address."""

    def disconnected(self, address: IPv4Address) -> None:
        """The namespace of this address was closed."""

    def close(self) -> None:
        """Remove the way."""


class NoWay:
    """Environments reach nobody but themselves: the mode ``none``."""

    def open(self) -> str:
        return ""

    def connect(self, runtime_api_host: str) -> tuple[int, IPv4Address | None]:
        return namespaces.make(runtime_api_host, lambda: None), None

    def disconnected(self, address: IPv4Address) -> None:
        """Nobody has an address."""

    def close(self) -> None:
        """Nothing was made."""


class Networks:
    """Keeps ``count`` of them ready.

    Args:
        way: how they are connected.
        count: ready to be taken at once.
        runtime_api_host: the address of the Runtime API, on ``lo``.
    """

    def __init__(
        self, way: Way, count: int, runtime_api_host: str = limits.runtime_api_host
    ) -> None:
        self._way, self._count, self._runtime_api_host = way, count, runtime_api_host
        self._ready: list[Network] = []
        self._taken: set[Network] = set()
        self._graves: list[Network] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._making = 0
        self._quiet: asyncio.TimerHandle | None = None
        self._stopped = False
        # One thread: the kernel makes networks one at a time, whoever asks.
        self._kernel = ThreadPoolExecutor(1, "network")

    async def start(self) -> str:
        """Make the way, and a first network; returns the resolv.conf(5) of environments.

        Raises:
            CannotConnect: this host cannot, with the cure; nothing is left behind.
        """
        try:
            resolv_conf = await self._do(self._open)
        except BaseException:
            self._kernel.shutdown()
            raise
        self._refill()
        return resolv_conf

    async def take(self) -> Network:
        """One that stands ready, or one made now; another is made soon.

        Raises:
            OSError, SandboxError: none can be made.
        """
        self._busy()
        asyncio.get_running_loop().call_later(REFILL_AFTER_S, self._refill)
        network = self._ready.pop() if self._ready else await self._do(self._connect)
        self._taken.add(network)
        return network

    def give_back(self, network: Network) -> None:
        """Nothing runs in it any more. It is closed later, with others."""
        self._taken.remove(network)
        self._graves.append(network)
        if len(self._graves) >= limits.networks_in_graves_max:
            self._bury()
        else:
            self._busy()

    async def stop(self) -> None:
        """Close all, those that were not given back as well, and remove the way.

        Raises:
            OSError: something stays on the host.
        """
        self._stopped = True
        if self._quiet:
            self._quiet.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        left = [*self._ready, *self._taken, *self._graves]
        await self._do(functools.partial(self._close, left))
        try:
            await self._do(self._way.close)
        finally:
            self._kernel.shutdown()

    def _open(self) -> str:
        resolv_conf = self._way.open()
        try:
            self._ready.append(self._connect())
        except OSError as error:
            self._way.close()
            raise CannotConnect(f"cannot make a network: {error}", _HINT) from error
        return resolv_conf

    def _connect(self) -> Network:
        return Network(*self._way.connect(self._runtime_api_host))

    async def _do(self, deed: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._kernel, deed)

    def _refill(self) -> None:
        if self._stopped:
            return
        for _ in range(self._count - len(self._ready) - self._making):
            self._making += 1
            self._start(self._add())

    async def _add(self) -> None:
        try:
            self._ready.append(await self._do(self._connect))
        except (OSError, SandboxError) as error:
            _log.warning("cannot make a network ahead of time", reason=str(error))
        finally:
            self._making -= 1

    def _busy(self) -> None:
        """Put off the burial."""
        if self._quiet:
            self._quiet.cancel()
        self._quiet = asyncio.get_running_loop().call_later(QUIET_S, self._bury)

    def _bury(self) -> None:
        if self._graves and not self._stopped:
            graves, self._graves = self._graves, []
            self._start(self._do(functools.partial(self._close, graves)))

    def _start(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _close(self, networks: list[Network]) -> None:
        """The kernel removes their links by itself, all of them in one go."""
        for network in networks:
            os.close(network.fd)
            if network.address:
                self._way.disconnected(network.address)
