"""The promises of the wall, and which of them this host keeps only in part. Pure.

What is promised, by what, and what is left over is told in docs/hardening.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

PROMISES = {
    "FS-1": "no file of the host is readable beyond the runtime's",
    "FS-2": "no other function's code is there",
    "FS-3": "only /tmp is writable",
    "FS-4": "/tmp is private to the environment",
    "FS-5": "/tmp has the promised size, beside the memory, and no more",
    "FS-6": "no devices but null, zero, full, random and urandom",
    "FS-7": "root and mounts cannot be changed or left",
    "FS-8": "knobs of the kernel are unwritable, its secrets unreadable",
    "FS-9": "cleaning up never leaves an environment's files, never hangs",
    "PID-1": "no process outside is seen or signalled",
    "PID-2": "no process is traced, no foreign memory or environ read",
    "PID-3": "no descriptor is inherited",
    "PRV-1": "no root, no capability, no new privileges",
    "PRV-2": "each environment has a user id of its own on the host",
    "PRV-3": "set-uid files have no effect",
    "PRV-4": "a function's variables and files act only after confinement",
    "SYS-1": "dangerous system calls are refused",
    "SYS-2": "no namespace is made or joined",
    "SYS-3": "no keyring is shared",
    "SYS-4": "there is no terminal to inject into",
    "RES-1": "the memory of a whole environment is limited",
    "RES-2": "processes and threads are limited to 1,024",
    "RES-3": "descriptors are limited, and what the kernel counts by user",
    "RES-4": "cgroup files are out of reach",
    "RES-5": "logs are bounded",
    "RES-6": "processor time is shared by memory size",
    "NET-1": "environments have networks of their own",
    "NET-2": "the Lambda API and other environments cannot be reached",
    "NET-3": "IPC objects and abstract sockets are private",
    "NET-4": "no metadata service can be reached",
    "NET-5": "no raw, packet, vsock or alg sockets",
    "NET-6": "the daemon connects nowhere for a function",
    "LIF-1": "a timeout ends whatever runs",
    "LIF-2": "nothing survives its environment",
    "LIF-3": "a crash is one failed invocation",
    "LIF-4": "nothing runs between invocations",
    "LIF-5": "nothing carries over between functions",
    "LIF-6": "init failures are bounded and reported",
    "RAPI-1": "the Runtime API gives nobody another's event",
    "RAPI-2": "hostile HTTP from inside hinders nobody",
    "API-1": "archives are parsed within bounds",
    "API-2": "archives write nowhere else",
    "API-3": "names are never file names",
    "API-4": "sizes are limited as on AWS",
    "API-5": "malformed input is the caller's error",
    "API-6": "nothing is injected into headers or logs",
    "API-7": "one request is one request",
    "API-8": "slow and idle clients hinder nobody",
    "API-9": "callers are who they say",
    "API-10": "no secret in processes, files, logs or errors",
}


@dataclass(frozen=True, slots=True)
class Facts:
    """What this daemon found and was told.

    Attributes:
        root: whether the host's root makes environments; else a user does.
        controllers: of cgroups, in use; none where memory is only watched.
        can_freeze: whether idle environments can be stopped.
        network: ``none``, ``outbound`` or ``host``.
        no_disk: why ``/tmp`` is in memory; empty when it is not.
        auth: ``none`` or ``sigv4``.
    """

    root: bool
    controllers: frozenset[str]
    can_freeze: bool
    network: str
    no_disk: str
    auth: str


def degraded(facts: Facts) -> dict[str, str]:
    """The promises that are kept in part only, each with what follows."""
    found: dict[str, list[str]] = {}
    for promise, consequence in _consequences(facts):
        found.setdefault(promise, []).append(consequence)
    return {name: "; ".join(found[name]) for name in PROMISES if name in found}


def _consequences(facts: Facts) -> Iterator[tuple[str, str]]:
    if not facts.root:
        yield "PRV-2", "all environments have the daemon's user id on the host (not root)"
        yield "RES-3", "what the kernel counts by user is shared by all environments (not root)"
    if facts.no_disk:
        yield "FS-5", f"files in /tmp count as the function's memory ({facts.no_disk})"
    if "memory" not in facts.controllers:
        yield "RES-1", "memory is watched, not limited (no cgroup)"
    if "pids" not in facts.controllers:
        yield "RES-2", "processes are limited for the user as a whole (no cgroup)"
    if "cpu" not in facts.controllers:
        yield "RES-6", "functions compete for processors as equals (no cpu cgroup)"
    if not facts.can_freeze:
        yield "LIF-4", "idle environments are not frozen: background threads may run (no cgroup)"
    if facts.network == "host":
        reason = "environments share the host's network (--network host)"
        for promise in ("NET-1", "NET-2", "NET-3", "NET-4"):
            yield promise, reason
    if facts.auth == "none":
        yield "API-9", "callers are not authenticated (--auth none)"
