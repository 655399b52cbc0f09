"""What can go wrong between asking for a sandbox and a guest running in it.

Every error holds what was at hand, and a hint at the cure where there is one. Texts begin with
"cannot".
"""

from __future__ import annotations

import errno as errnos
import os


class SandboxError(Exception):
    """The sandbox could not be had; ``hint`` says what the operator may do."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(f"{reason} ({hint})" if hint else reason)
        self.reason, self.hint = reason, hint


class CannotIsolate(SandboxError):
    """The plan refuses: this host lacks what the isolation asked for needs."""


class StepFailed(SandboxError):
    """One step of the plan failed; nothing of the guest's has run."""

    def __init__(self, step: str, number: int) -> None:
        self.step, self.number = step, number
        name = errnos.errorcode.get(number, str(number))
        super().__init__(f"cannot {step}: {name}, {os.strerror(number)}", HINTS.get(number, ""))


class UnexpectedMessage(SandboxError):
    """The other end of a channel said something that has no place in the conversation."""

    def __init__(self, expected: str, got: object) -> None:
        super().__init__(f"cannot go on: expected {expected}, got {got!r}")


HINTS = {
    errnos.EPERM: "run as root, or in a container with CAP_SYS_ADMIN and no seccomp profile",
    errnos.ENOSYS: "Linux 5.12 or later is needed",
    errnos.ENOSPC: "a namespace or mount limit is reached: see /proc/sys/user and fs.mount-max",
    errnos.ENOMEM: "the host is out of memory",
}
