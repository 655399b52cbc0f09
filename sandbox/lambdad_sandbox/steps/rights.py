"""Steps that take rights away, and the last one, into another program."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from functools import cache

from lambdad_sandbox import syscalls
from lambdad_sandbox.seccomp.compile import load
from lambdad_sandbox.steps.step import Descriptors, Step


@dataclass(frozen=True)
class Rlimits(Step):
    """Limits of the process, soft and hard, by the names of getrlimit(2); -1 is unlimited."""

    limits: tuple[tuple[str, int, int], ...]

    def apply(self, at_hand: Descriptors) -> None:
        for name, soft, hard in self.limits:
            resource.setrlimit(getattr(resource, "RLIMIT_" + name), (soft, hard))

    def describe(self) -> str:
        return "set limits " + ", ".join(f"{name} {soft}" for name, soft, _ in self.limits)


@dataclass(frozen=True)
class CloseDescriptors(Step):
    """Close all that is open but the standard streams and what is named."""

    keep: tuple[str, ...]

    def apply(self, at_hand: Descriptors) -> None:
        kept = sorted(at_hand[name] for name in self.keep)
        for name in [name for name in at_hand if name not in self.keep]:
            del at_hand[name]
        first = 3
        for descriptor in kept:
            if first < descriptor:
                syscalls.close_range(first, descriptor - 1)
            first = descriptor + 1
        syscalls.close_range(first, 2**32 - 1)

    def describe(self) -> str:
        return "close every descriptor but " + ", ".join(self.keep)


@dataclass(frozen=True)
class Identity(Step):
    """Become an ordinary user with no groups but one; checked, not believed."""

    uid: int
    gid: int

    def apply(self, at_hand: Descriptors) -> None:
        os.setgroups([])
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        assert os.getresuid() == (self.uid,) * 3
        assert os.getresgid() == (self.gid,) * 3

    def describe(self) -> str:
        return f"become uid {self.uid}, gid {self.gid}"


@dataclass(frozen=True)
class DropBoundingSet(Step):
    """Empty the capability bounding set, while one still may; see capabilities(7)."""

    def apply(self, at_hand: Descriptors) -> None:
        for capability in range(64):
            try:
                syscalls.prctl(syscalls.PR_CAPBSET_DROP, capability)
            except OSError:  # EINVAL: past the last one that this kernel knows.
                break
        syscalls.prctl(syscalls.PR_SET_SECUREBITS, syscalls.SECBITS_LOCKED)

    def describe(self) -> str:
        return "empty the capability bounding set"


@dataclass(frozen=True)
class DropCapabilities(Step):
    """Give up every capability in the other four sets."""

    def apply(self, at_hand: Descriptors) -> None:
        syscalls.prctl(syscalls.PR_CAP_AMBIENT, syscalls.PR_CAP_AMBIENT_CLEAR_ALL)
        syscalls.capset_none()

    def describe(self) -> str:
        return "drop all capabilities"


@dataclass(frozen=True)
class NewKeyring(Step):
    """A session keyring of one's own, see keyrings(7)."""

    def apply(self, at_hand: Descriptors) -> None:
        syscalls.join_new_session_keyring()

    def describe(self) -> str:
        return "join a new session keyring"


@dataclass(frozen=True)
class DieWithParent(Step):
    """Be killed when the zygote ends; after the change of ids, which clears the wish."""

    def apply(self, at_hand: Descriptors) -> None:
        syscalls.prctl(syscalls.PR_SET_PDEATHSIG, 9)
        syscalls.prctl(syscalls.PR_SET_DUMPABLE, 0)

    def describe(self) -> str:
        return "die with the zygote, be opaque to the guest"


@dataclass(frozen=True)
class NoNewPrivileges(Step):
    """Set-uid files and file capabilities mean nothing from now on."""

    def apply(self, at_hand: Descriptors) -> None:
        syscalls.prctl(syscalls.PR_SET_NO_NEW_PRIVS, 1)

    def describe(self) -> str:
        return "set no_new_privs"


@cache
def guest_filter() -> syscalls.SeccompProgram:
    """The filter for guests, compiled once: by the zygote, for its clones."""
    return syscalls.SeccompProgram(load())


@dataclass(frozen=True)
class Seccomp(Step):
    """The system call filter; always the last step before a guest."""

    def apply(self, at_hand: Descriptors) -> None:
        syscalls.seccomp(guest_filter())

    def describe(self) -> str:
        return "install the system call filter"


@dataclass(frozen=True)
class Exec(Step):
    """Become another program, which keeps the channel and gets no other variable."""

    command: tuple[str, ...]
    environ: dict[str, str]

    def apply(self, at_hand: Descriptors) -> None:
        os.set_inheritable(at_hand["channel"], True)
        os.execve(self.command[0], self.command, self.environ)

    def describe(self) -> str:
        return "execute " + " ".join(self.command)
