"""The composition root: builds everything, starts it in order, stops it in reverse.

The only module that knows all others, and the only one that knows uvloop.
"""

from __future__ import annotations

import asyncio
import gc
import resource
import socket
from collections.abc import AsyncIterator, Coroutine, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog
import uvloop

from lambdad import ground
from lambdad.api import credentials
from lambdad.api.admin import Admin
from lambdad.api.logs.door import LogsApi
from lambdad.api.operations.account import AccountOperations
from lambdad.api.operations.aliases import AliasOperations
from lambdad.api.operations.concurrency import ConcurrencyOperations
from lambdad.api.operations.functions import FunctionOperations, table
from lambdad.api.operations.invoke import InvokeOperations
from lambdad.api.operations.layers import LayerOperations
from lambdad.api.operations.packages import Packages
from lambdad.api.operations.provisioned import ProvisionedOperations
from lambdad.api.operations.versions import VersionOperations
from lambdad.api.origin import is_loopback
from lambdad.api.server import TERMS, ApiServer, Handler
from lambdad.api.sigv4 import Key
from lambdad.code.blobs import Blobs
from lambdad.code.layers import Layers
from lambdad.code.removal import remove
from lambdad.code.runtimes import own_interpreter
from lambdad.config import Settings
from lambdad.events.queue import EventQueue
from lambdad.ground import CannotStart
from lambdad.invoke.account import Account
from lambdad.invoke.host import Host, Parts
from lambdad.invoke.preloading import Preloading
from lambdad.invoke.registry import Registry
from lambdad.invoke.snap_start import Original
from lambdad.invoke.templates import Templates
from lambdad.invoke.zygotes import Zygotes
from lambdad.model import limits
from lambdad.model.clock import SystemClock
from lambdad.model.errors import PlatformFault
from lambdad.model.function import Function
from lambdad.observe.log_store import LogStore
from lambdad.observe.promises import Facts, degraded
from lambdad.runtime_api.server import RuntimeApi
from lambdad.store.protocol import Store
from lambdad.store.sqlite.driver import SqliteStore

_log = structlog.get_logger()
_Result = TypeVar("_Result")

# What is under way has this long to end, then as long again to take note of the end.
DRAIN_S_MAX = 2.5


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run on the daemon's event loop."""
    return uvloop.run(work)


@dataclass(frozen=True, slots=True)
class Daemon:
    """All of lambdad but its outside door.

    Attributes:
        degraded: the promises that are kept in part only, each with what follows.
    """

    degraded: Mapping[str, str]
    registry: Registry
    blobs: Blobs
    operations: dict[str, Handler]
    logs: LogsApi
    admin: Admin


@asynccontextmanager
async def daemon(settings: Settings) -> AsyncIterator[Daemon]:
    """Everything but the outside door, for as long as the context lasts.

    Raises:
        CannotStart: this host or this state directory will not do.
    """
    ground.keep_to_oneself()
    async with AsyncExitStack() as stack:
        state = stack.enter_context(ground.state_dir(settings.state_dir))
        disk = stack.enter_context(ThreadPoolExecutor(2, "disk"))
        blobs, clock = Blobs(state / "code"), SystemClock()
        store: Store = SqliteStore(state / "lambdad.sqlite")
        try:
            await store.start()
        except PlatformFault as fault:
            raise CannotStart(str(fault)) from fault
        stack.push_async_callback(store.stop)
        place = {"region": settings.region, "account": settings.account}
        reader = stack.enter_context(ThreadPoolExecutor(1, "logs"))
        logs = LogStore(state / "logs", clock, reader)
        stack.callback(logs.close_all)
        parts, facts = await _parts(stack, state, settings, blobs=blobs, logs=logs, disk=disk)
        host = Host(parts, **place, spares=settings.spares)
        host.templates = Templates(partial(_original, host), host.no_template)
        await ground.prove(host, state, parts.features)
        account = Account(settings.concurrency, settings.scaling_rate)
        registry = Registry(
            store,
            host,
            account,
            settings.idle_s,
            budget_bytes=settings.memory_budget,
            ahead=settings.spares,
        )
        host.templates.counted_by(registry.budget)
        await registry.start()
        stack.push_async_callback(registry.stop)
        layers = Layers(store, blobs)
        await layers.start()
        kept = registry.trees() | layers.trees()
        await asyncio.get_running_loop().run_in_executor(disk, blobs.sweep, kept)
        events = EventQueue(store, registry, clock)
        await events.start()
        stack.push_async_callback(events.stop)
        forget = registry.forget_code
        packages = Packages(blobs, disk, forget)
        yield Daemon(
            degraded(facts),
            registry,
            blobs,
            {
                **table(FunctionOperations(registry, layers, packages, clock, **place)),
                **table(LayerOperations(layers, packages, forget, clock, **place)),
                **table(VersionOperations(registry, **place)),
                **table(AliasOperations(registry, **place)),
                **table(ConcurrencyOperations(registry, **place)),
                **table(ProvisionedOperations(registry, clock, **place)),
                **table(AccountOperations(registry, layers, account)),
                **table(InvokeOperations(registry, events, clock, **place)),
            },
            LogsApi(logs, reader, **place),
            Admin(registry, account, host.spares, clock),
        )


async def _parts(
    stack: AsyncExitStack,
    state: Path,
    settings: Settings,
    *,
    blobs: Blobs,
    logs: LogStore,
    disk: Executor,
) -> tuple[Parts, Facts]:
    """What environments are made with, as this host has it to give.

    Raises:
        CannotStart: it has not.
    """
    keeper, found = ground.host_features(state, settings)
    stack.callback(keeper.close)
    kernel = stack.enter_context(ThreadPoolExecutor(1, "kernel"))
    if keeper.version == "none":
        await stack.enter_async_context(ground.watched(keeper, kernel))
    networks, resolv_conf = await stack.enter_async_context(ground.networks(state, settings, found))
    payload = stack.enter_context(ground.payload(state))
    first_uid = stack.enter_context(ground.uids(state))
    zygotes = Zygotes(
        payload, found, own_interpreter(), resolv_conf=resolv_conf, first_uid=first_uid
    )
    stack.push_async_callback(zygotes.stop)
    disks, no_disk = await stack.enter_async_context(ground.disks(state, max(1, settings.spares)))
    parts = Parts(
        keeper=keeper,
        zygotes=zygotes,
        preloading=Preloading(settings.zygote_packages, zygotes),
        features=found,
        door=RuntimeApi(),
        logs=logs,
        clock=SystemClock(),
        kernel=kernel,
        code_path=blobs.path,
        code_root=payload.code,
        forget_code=partial(_forget_code, blobs, disk),
        networks=networks,
        disks=disks,
        host_network=settings.network == "host",
        first_uid=first_uid,
    )
    facts = Facts(
        root=found.root,
        controllers=keeper.controllers,
        can_freeze=keeper.can_freeze,
        network=settings.network,
        no_disk=no_disk,
        auth=settings.auth,
    )
    return parts, facts


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[tuple[str, Mapping[str, str]]]:
    """A daemon that listens; gives its URL, and the promises that it keeps in part only.

    Raises:
        CannotStart: as ``daemon``, or there are no keys, or the address cannot be had.
    """
    _refuse_strangers(settings)
    async with daemon(settings) as composed:
        api = ApiServer(
            composed.operations,
            composed.blobs,
            SystemClock(),
            host=settings.host,
            region=settings.region,
            keys=_keys(settings) if settings.auth == "sigv4" else None,
            logs=composed.logs,
            admin=composed.admin,
            terms=replace(TERMS, connections=_connections_max()),
        )
        protocol = api.protocol_factory()
        try:
            # As many may come at once as may stand: a queue of the default length, 100, makes the
            # kernel reset the others.
            server = await asyncio.get_running_loop().create_server(
                protocol, settings.host, settings.port, backlog=limits.api_connections_max
            )
        except OSError as error:
            raise CannotStart(
                f"cannot listen on {settings.host}:{settings.port}: {error.strerror}"
            ) from error
        # What stands now stands to the end: the collector need not look at it time and again.
        gc.collect()
        gc.freeze()
        try:
            yield _url(server.sockets[0]), composed.degraded
        finally:
            server.close()
            protocol.pre_shutdown()  # Idle connections have nothing to wait for.
            await protocol.shutdown(DRAIN_S_MAX)


def _original(host: Host, function: Function, templates: Templates) -> Original:
    """The environment in which the init of a template runs."""
    return Original(function, host, templates)


def _forget_code(blobs: Blobs, disk: Executor, tree: str) -> None:
    """Remove the code that nobody uses: out of its place now, from the disk in a while."""
    away = blobs.set_aside(tree)
    if away is not None:
        disk.submit(_remove, away)


def _remove(path: Path) -> None:
    try:
        remove(path)
    except OSError as error:  # The next start tries again.
        _log.warning("cannot remove code", path=str(path), reason=str(error))


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _connections_max() -> int:
    """As many connections as half of the files that we may open; as many of those as we may."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return min(limits.api_connections_max, hard // 2)


def _keys(settings: Settings) -> dict[str, Key]:
    """The keys of those who may call; one is made where none were asked for by name.

    Raises:
        CannotStart: they cannot be read, or trusted.
    """
    path = settings.credentials or settings.state_dir / "credentials"
    try:
        if settings.credentials is None and not path.exists():
            credentials.make(path)
            _log.warning("made a key for those who call", credentials=str(path))
        return credentials.load(path)
    except credentials.NoCredentials as error:
        raise CannotStart(str(error)) from error


def _refuse_strangers(settings: Settings) -> None:
    """Nobody but this host may call, as long as callers are not asked who they are."""
    if not is_loopback(settings.host) and settings.auth != "sigv4":
        raise CannotStart(
            f"cannot listen on {settings.host}: callers are not authenticated. "
            "Use 127.0.0.1, or --auth sigv4"
        )
