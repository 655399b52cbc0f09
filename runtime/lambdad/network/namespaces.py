"""Network namespaces of environments, made one by one; knows nothing of a way out.

A thread that is to end makes each: whatever goes wrong, no thread goes on in a network that is
not the daemon's.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from lambdad_sandbox import syscalls
from lambdad_sandbox.steps import LoopbackUp

OWN = "/proc/thread-self/ns/net"


def make(runtime_api_host: str, furnish: Callable[[], None]) -> int:
    """A new network namespace with ``lo`` up, as a descriptor; see network_namespaces(7).

    Args:
        runtime_api_host: the address that ``lo`` gets for the Runtime API.
        furnish: run inside, by the thread that made it.

    Raises:
        OSError: the kernel refuses, or whatever ``furnish`` raises.
    """
    made: list[int] = []
    failed: list[BaseException] = []

    def inside() -> None:
        try:
            syscalls.unshare(syscalls.CLONE_NEWNET)
            LoopbackUp(runtime_api_host).apply({})
            furnish()
            made.append(os.open(OWN, os.O_RDONLY))
        except BaseException as error:  # noqa: BLE001  it is raised where it is waited for
            failed.append(error)

    thread = threading.Thread(target=inside, name="namespace")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return made[0]


def set_sysctl(name: str, value: str) -> bool:
    """Set a knob below ``net`` of the caller's namespace; whether it was otherwise before.

    Raises:
        OSError: there is none, or it is read-only and otherwise.
    """
    knob = Path("/proc/sys/net", name)
    if knob.read_text().strip() == value:
        return False
    knob.write_text(value)
    return True


def no_ipv6(link: str) -> None:
    """Switch IPv6 off on a link, or on ``default``: those to come; a kernel without will do."""
    with contextlib.suppress(FileNotFoundError):
        set_sysctl(f"ipv6/conf/{link}/disable_ipv6", "1")
