"""What a daemon stands on: its state directory, and what this host has to give.

Everything here is had before the first function is, and given back when the daemon ends. What
cannot be had is ``CannotStart``.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
import resource
import shutil
import socket
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import structlog

from lambdad.code.runtimes import own_interpreter
from lambdad.config import Settings
from lambdad.invoke.disks import Disks
from lambdad.invoke.host import Host
from lambdad.invoke.probe import broken_promises
from lambdad.invoke.zygotes import Payload
from lambdad.model import limits
from lambdad.model.errors import PlatformFault
from lambdad.network.networks import Networks, NoWay, Way
from lambdad.network.policy import CannotConnect
from lambdad_bootstrap.payload import copy_guest
from lambdad_sandbox import cgroup, disk, features, syscalls
from lambdad_sandbox.errors import SandboxError
from lambdad_sandbox.machinery import copy_machinery
from lambdad_sandbox.plan import refuse_if_missing

_log = structlog.get_logger()

# What helps where an environment cannot be made though everything seemed to be there.
_CURE_ROOT = "In a container, start it with --privileged"
_CURE_USER = (
    "An ordinary user needs user namespaces (user.max_user_namespaces, "
    "kernel.unprivileged_userns_clone, kernel.apparmor_restrict_unprivileged_userns, see "
    "sysctl(8)) and a /proc with nothing mounted over it (in a container, --security-opt "
    "systempaths=unconfined and seccomp=unconfined)"
)


class CannotStart(Exception):
    """The daemon refuses to start; the message says why and what to do."""


def keep_to_oneself() -> None:
    """Nobody reads this process: no core dump, and /proc shows nothing to its own user."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)


async def prove(host: Host, state: Path, found: features.HostFeatures) -> None:
    """See that isolation holds, by trying to break it.

    Raises:
        CannotStart: it does not, or no environment can be made.
    """
    try:
        broken = await broken_promises(host, own_interpreter(), state / "lock")
    except PlatformFault as fault:
        raise CannotStart(f"{fault}. {_CURE_ROOT if found.root else _CURE_USER}") from fault
    if broken:
        deeds = ", ".join(f"{deed} ({promise})" for promise, deed in broken)
        raise CannotStart(f"cannot isolate: on this host an environment can {deeds}")


@asynccontextmanager
async def watched(keeper: cgroup.Keeper, kernel: Executor) -> AsyncIterator[None]:
    """See to memory, where the kernel does not. In the executor that also ends environments."""

    async def watch() -> None:
        while True:
            await asyncio.get_running_loop().run_in_executor(kernel, keeper.enforce)
            await asyncio.sleep(limits.memory_watch_s)

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.wait([watching])


@asynccontextmanager
async def networks(
    state: Path, settings: Settings, found: features.HostFeatures
) -> AsyncIterator[tuple[Networks | None, str]]:
    """Networks, unless environments make their own or share the host's; and their resolv.conf.

    Raises:
        CannotStart: this host has no way out to give.
    """
    outbound = settings.network == "outbound"
    if outbound and not found.root:
        raise CannotStart("cannot give environments a way out: not root. Use --network none")
    if not found.root or settings.network == "host":
        yield None, ""
        return
    marker = state / "outbound"  # It stands for as long as something on the host is changed.
    if marker.exists() and not outbound:
        await asyncio.to_thread(_take_back, _way_out(state, settings))
        marker.unlink()
    way: Way = NoWay()
    if outbound:
        way = _way_out(state, settings)
        marker.touch()
    networks = Networks(way, 1 + settings.spares)
    try:
        resolv_conf = await networks.start()
    except CannotConnect as error:
        marker.unlink(missing_ok=True)
        raise CannotStart(str(error)) from error
    try:
        yield networks, resolv_conf
    finally:
        await networks.stop()
        marker.unlink(missing_ok=True)


def _way_out(state: Path, settings: Settings) -> Way:
    from lambdad.network.outbound import Outbound  # noqa: PLC0415  to import it takes 0.2 s

    return Outbound(subtree(state), settings.allow_host, settings.dns)


def _take_back(way: Way) -> None:
    """Undo what a daemon that was killed has changed on the host: take it over, and close it."""
    try:
        way.open()
        way.close()
    except (CannotConnect, OSError) as error:
        _log.warning("cannot take back the way out of a killed daemon", reason=str(error))


@asynccontextmanager
async def disks(state: Path, ready: int) -> AsyncIterator[tuple[Disks | None, str]]:
    """Disks for ``/tmp``, or why there are none."""
    folder = state / "tmp"
    folder.mkdir(exist_ok=True)
    with ThreadPoolExecutor(2, "disks") as executor, contextlib.ExitStack() as stack:
        stack.callback(folder.rmdir)  # Its files have no names.
        reason = await asyncio.get_running_loop().run_in_executor(
            executor, disk.supported, str(folder)
        )
        if reason:
            yield None, reason
            return
        maker = stack.enter_context(contextlib.closing(disk.DiskMaker(str(folder))))
        disks = Disks(maker, ready, executor)
        try:
            yield disks, ""
        finally:
            await disks.stop()


@contextlib.contextmanager
def state_dir(path: Path) -> Iterator[Path]:
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
        lock.write(str(os.getpid()))
        lock.flush()
        yield path


def subtree(state: Path) -> str:
    """What marks everything on the host that is this daemon's."""
    return "lambdad-" + hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:12]


@contextlib.contextmanager
def uids(state: Path) -> Iterator[int]:
    """The first of a range of user ids that no other daemon of this host uses meanwhile.

    A range is claimed by an abstract socket, see unix(7), which goes with whoever has it.

    Raises:
        CannotStart: all ranges are claimed.
    """
    first, size = limits.environment_uid_first, limits.environments_max
    ranges = (limits.environment_uid_last + 1 - first) // size
    wish = int(subtree(state).rpartition("-")[2], 16)
    for number in ((wish + more) % ranges for more in range(ranges)):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0lambdad-uids-{number}")
        except OSError:
            claim.close()
            continue
        with claim:
            yield first + number * size
            return
    raise CannotStart("cannot run environments: other daemons have claimed all user ids")


def host_features(state: Path, settings: Settings) -> tuple[cgroup.Keeper, features.HostFeatures]:
    """What this host can do; sweeps the cgroups that a killed daemon of this state left.

    Raises:
        CannotStart: it cannot isolate or limit.
    """
    with contextlib.ExitStack() as undo:
        try:
            found = features.detect(allow_shared_uid=settings.allow_shared_uid)
            refuse_if_missing(found)
            keeper = cgroup.keeper(subtree(state), allow_unlimited=settings.allow_unlimited_memory)
            undo.callback(keeper.close)
            swept = keeper.sweep()
        except cgroup.CannotLimit as error:
            raise CannotStart(f"{error}. Or ask for less: --allow-unlimited-memory") from error
        except SandboxError as error:
            raise CannotStart(str(error)) from error
        undo.pop_all()
    if swept:
        _log.info("swept cgroups of a daemon that was killed", count=swept)
    return keeper, replace(found, cgroup_version=keeper.version)


@contextlib.contextmanager
def payload(state: Path) -> Iterator[Payload]:
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
        yield Payload(folder / "guest", folder / "machinery", folder / "roots", state / "code")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
