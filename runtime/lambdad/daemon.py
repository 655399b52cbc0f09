"""The composition root: builds everything, starts it in order, stops it in reverse.

The only module that knows all others, and the only one that knows uvloop.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import ipaddress
import os
import shutil
import socket
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog
import uvloop

from lambdad.api.operations.functions import FunctionOperations, table
from lambdad.api.operations.invoke import InvokeOperations
from lambdad.api.server import ApiServer, Handler
from lambdad.code.blobs import Blobs
from lambdad.code.runtimes import own_interpreter
from lambdad.config import Settings
from lambdad.invoke.host import Host, Parts
from lambdad.invoke.pool import Account
from lambdad.invoke.registry import Registry
from lambdad.invoke.zygotes import Payload, Zygotes
from lambdad.model.clock import SystemClock
from lambdad.model.errors import PlatformFault
from lambdad.observe.function_log import FunctionLogs
from lambdad.runtime_api.server import RuntimeApi
from lambdad.store.protocol import Store
from lambdad.store.sqlite.driver import SqliteStore
from lambdad_bootstrap.payload import copy_guest
from lambdad_sandbox import cgroup, features
from lambdad_sandbox.errors import SandboxError
from lambdad_sandbox.machinery import copy_machinery
from lambdad_sandbox.plan import refuse_if_missing

_log = structlog.get_logger()
_Result = TypeVar("_Result")

# What is under way has this long to end, then as long again to take note of the end.
DRAIN_S_MAX = 2.5


class CannotStart(Exception):
    """The daemon refuses to start; the message says why and what to do."""


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run on the daemon's event loop."""
    return uvloop.run(work)


@dataclass(frozen=True, slots=True)
class Daemon:
    """All of lambdad but its outside door."""

    registry: Registry
    blobs: Blobs
    operations: dict[str, Handler]


@asynccontextmanager
async def daemon(settings: Settings) -> AsyncIterator[Daemon]:
    """Everything but the outside door, for as long as the context lasts.

    Raises:
        CannotStart: this host or this state directory will not do.
    """
    async with AsyncExitStack() as stack:
        state = stack.enter_context(_state_dir(settings.state_dir))
        keeper, found = _host_features(state)
        stack.callback(keeper.close)
        kernel = stack.enter_context(ThreadPoolExecutor(1, "kernel"))
        disk = stack.enter_context(ThreadPoolExecutor(2, "disk"))
        logs = FunctionLogs(state / "logs")
        stack.callback(logs.close_all)
        store: Store = SqliteStore(state / "lambdad.sqlite")
        try:
            await store.start()
        except PlatformFault as fault:
            raise CannotStart(str(fault)) from fault
        stack.push_async_callback(store.stop)
        blobs = Blobs(state / "code")
        zygotes = Zygotes(stack.enter_context(_payload(state)), found, own_interpreter())
        stack.push_async_callback(zygotes.stop)
        clock = SystemClock()
        parts = Parts(
            keeper=keeper,
            zygotes=zygotes,
            features=found,
            door=RuntimeApi(),
            logs=logs,
            clock=clock,
            kernel=kernel,
            code_path=blobs.path,
        )
        place = {"region": settings.region, "account": settings.account}
        host = Host(parts, **place, spares=settings.spares)
        registry = Registry(store, host, Account(settings.concurrency), settings.idle_s)
        await registry.start()
        stack.push_async_callback(registry.stop)
        await asyncio.get_running_loop().run_in_executor(disk, blobs.sweep, registry.trees())
        yield Daemon(
            registry,
            blobs,
            {
                **table(FunctionOperations(registry, blobs, disk, clock, **place)),
                **table(InvokeOperations(registry, clock, **place)),
            },
        )


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[str]:
    """A daemon that listens; gives its URL.

    Raises:
        CannotStart: as ``daemon``, or the address cannot be had.
    """
    _refuse_strangers(settings)
    async with daemon(settings) as composed:
        api = ApiServer(composed.operations, composed.blobs)
        protocol = api.protocol_factory()
        try:
            server = await asyncio.get_running_loop().create_server(
                protocol, settings.host, settings.port
            )
        except OSError as error:
            raise CannotStart(
                f"cannot listen on {settings.host}:{settings.port}: {error.strerror}"
            ) from error
        try:
            yield _url(server.sockets[0])
        finally:
            server.close()
            protocol.pre_shutdown()  # Idle connections have nothing to wait for.
            await protocol.shutdown(DRAIN_S_MAX)


def _url(listening: socket.socket) -> str:
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _refuse_strangers(settings: Settings) -> None:
    """Nobody but this host may call, as long as callers are not asked who they are."""
    try:
        loopback = ipaddress.ip_address(settings.host).is_loopback
    except ValueError:
        loopback = settings.host == "localhost"
    if not loopback and not settings.insecure_no_auth:
        raise CannotStart(
            f"cannot listen on {settings.host}: callers are not authenticated. "
            "Use 127.0.0.1, or --insecure-no-auth if whoever can reach it may run code here"
        )


@contextlib.contextmanager
def _state_dir(path: Path) -> Any:
    """The state directory, ours alone for as long as we run.

    Raises:
        CannotStart: others may write there, or another daemon uses it.
    """
    os.umask(0o077)
    try:
        path.mkdir(parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise CannotStart(f"cannot use {path}: {error.strerror}") from error
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise CannotStart(f"cannot use {path}: it must be yours and writable by you alone")
    path.chmod(0o700)
    (path / "logs").mkdir(exist_ok=True)
    with (path / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotStart(f"cannot use {path}: another lambdad is running on it") from None
        yield path


def _host_features(state: Path) -> tuple[cgroup.Keeper, features.HostFeatures]:
    """What this host can do; sweeps the cgroups that a killed daemon of this state left.

    Raises:
        CannotStart: it cannot isolate or limit.
    """
    subtree = "lambdad-" + hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:12]
    with contextlib.ExitStack() as undo:
        try:
            keeper = cgroup.keeper(subtree)
            undo.callback(keeper.close)
            found = features.detect(keeper.version)
            refuse_if_missing(found)
            swept = keeper.sweep()
        except SandboxError as error:
            raise CannotStart(str(error)) from error
        undo.pop_all()
    if swept:
        _log.info("swept cgroups of a daemon that was killed", count=swept)
    return keeper, found


@contextlib.contextmanager
def _payload(state: Path) -> Any:
    """Fresh copies of what zygotes and guests run from, gone with the daemon."""
    folder = state / "payload"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.umask(0o022)  # Guests read these as another user, through mounts of their own.
    try:
        copy_guest(folder / "guest")
        copy_machinery(str(folder / "machinery"))
    finally:
        os.umask(0o077)
    (folder / "roots").mkdir()
    try:
        yield Payload(folder / "guest", folder / "machinery", folder / "roots")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
