"""Steps into namespaces of one's own, and what they need to be of use."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from dataclasses import dataclass

from lambdad_sandbox import syscalls
from lambdad_sandbox.steps.step import Descriptors, Step, write_existing

_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C
_IFF_UP_RUNNING = 0x1 | 0x40


@dataclass(frozen=True)
class NewUserNamespace(Step):
    """A user namespace in which this user is ``uid`` and ``gid``, and in which no other user is.

    It gives every capability over what is made in it, and none outside; see
    user_namespaces(7). Groups cannot be left there: the kernel wants them kept.
    """

    uid: int
    gid: int

    def apply(self, at_hand: Descriptors) -> None:
        outside = (os.geteuid(), os.getegid())
        syscalls.unshare(syscalls.CLONE_NEWUSER)
        write_existing("/proc/self/setgroups", "deny")
        write_existing("/proc/self/uid_map", f"{self.uid} {outside[0]} 1")
        write_existing("/proc/self/gid_map", f"{self.gid} {outside[1]} 1")
        assert os.getresuid() == (self.uid,) * 3
        assert os.getresgid() == (self.gid,) * 3

    def describe(self) -> str:
        return f"make a user namespace as uid {self.uid}, gid {self.gid}"


@dataclass(frozen=True)
class NewMountNamespace(Step):
    """A mount namespace of one's own, in which nothing that happens outside is seen."""

    def apply(self, at_hand: Descriptors) -> None:
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)

    def describe(self) -> str:
        return "make a private mount namespace"


@dataclass(frozen=True)
class JoinCgroups(Step):
    """Enter each v1 hierarchy by its ``tasks`` file, which asks for no grace period."""

    def apply(self, at_hand: Descriptors) -> None:
        for name in [name for name in at_hand if name.startswith("tasks")]:
            descriptor = at_hand.pop(name)
            os.write(descriptor, b"0")
            os.close(descriptor)

    def describe(self) -> str:
        return "join the cgroups of the environment"


@dataclass(frozen=True)
class NewCgroupNamespace(Step):
    """See one's own cgroup as the root; only after having joined it."""

    def apply(self, at_hand: Descriptors) -> None:
        syscalls.unshare(syscalls.CLONE_NEWCGROUP)

    def describe(self) -> str:
        return "make a cgroup namespace"


@dataclass(frozen=True)
class JoinNetwork(Step):
    """Enter a network namespace that was made ahead of time, see setns(2)."""

    def apply(self, at_hand: Descriptors) -> None:
        descriptor = at_hand.pop("network")
        syscalls.setns(descriptor, syscalls.CLONE_NEWNET)
        os.close(descriptor)

    def describe(self) -> str:
        return "join the network namespace of the environment"


@dataclass(frozen=True)
class LoopbackUp(Step):
    """Bring up ``lo`` and give it the address of the Runtime API, see netdevice(7)."""

    address: str

    def apply(self, at_hand: Descriptors) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
            fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP_RUNNING))
            for request, value in (
                (_SIOCSIFADDR, self.address),
                (_SIOCSIFNETMASK, "255.255.255.255"),
            ):
                address = struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(value))
                fcntl.ioctl(control, request, struct.pack("16s16s", b"lo:api", address))

    def describe(self) -> str:
        return f"bring up lo with {self.address}"


@dataclass(frozen=True)
class Listen(Step):
    """The listening socket of the Runtime API, born in this network namespace."""

    host: str
    port: int

    def apply(self, at_hand: Descriptors) -> None:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((self.host, self.port))
        listener.listen(64)
        at_hand["listener"] = listener.detach()

    def describe(self) -> str:
        return f"listen on {self.host}:{self.port}"


@dataclass(frozen=True)
class Hostname(Step):
    """A host name that says nothing of the host."""

    name: str

    def apply(self, at_hand: Descriptors) -> None:
        syscalls.sethostname(self.name)

    def describe(self) -> str:
        return f"set the host name {self.name}"


@dataclass(frozen=True)
class NewSession(Step):
    """A session without a terminal, standard streams that lead nowhere."""

    def apply(self, at_hand: Descriptors) -> None:
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        os.close(null)
        os.umask(0o022)

    def describe(self) -> str:
        return "leave the session and its terminal"
