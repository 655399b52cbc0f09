"""A stage for templates: a real keeper, real sandboxes, and a runtime that each test writes.

A sandbox here is less than an environment has: namespaces of its own, and a process as PID 1.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import textwrap
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

import lambdad_sandbox
from lambdad_sandbox import channel, remote
from lambdad_sandbox.messages import ForkInto, KeepTemplate, Suspend

WITHIN_S = 20
GID = 990
LIMITS = (("NOFILE", 1_024, 1_024), ("CORE", 0, 0))
SANDBOX = """
    mount -t tmpfs tmpfs /var && mkdir /var/task && mount -t tmpfs -o mode=1777 tmpfs /tmp &&
    ip link set lo up; echo stands; exec sleep 1000
"""
# What comes before and after it stands still; a test writes both.
RUNTIME = """
import ctypes, mmap, os, resource, signal, socket, struct, sys, threading, time

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

def say(*what):
    print(*what, flush=True)

def keeper():
    frame = sys._getframe()
    while not hasattr(frame.f_locals.get("self"), "_room"):
        frame = frame.f_back
    return frame.f_locals["self"]

def main():
    ours, theirs = socket.socketpair()
{before}
    say("waits")
    ours.recv(1)
{after}
"""


class Runtime:
    """The original or a clone, from outside."""

    def __init__(self, control, output):
        self.control, self.output, self.said = control, output, b""
        self.answer, descriptors = channel.receive(control)
        self.pidfd = descriptors[0] if descriptors else None

    @property
    def pid(self):
        info = Path(f"/proc/self/fdinfo/{self.pidfd}").read_text()
        return int(info.partition("Pid:")[2].split()[0])

    @property
    def status(self):
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return {name: value.split() for name, _, value in (line.partition(":") for line in lines)}

    def line(self):
        """The next line that it has written."""
        while b"\n" not in self.said:
            assert readable(self.output), f"it says no more than {self.said!r}"
            more = os.read(self.output, 4_096)
            assert more, f"it has ended after {self.said!r}"
            self.said += more
        line, _, self.said = self.said.partition(b"\n")
        return line.decode()

    def ended(self):
        """What is told of its end."""
        assert readable(self.control)
        return channel.receive(self.control)[0]

    def wait_ended(self):
        assert readable(self.pidfd), "it goes on"


class Sandbox:
    """Namespaces, and who is PID 1 in them."""

    def __init__(self, init, uid):
        self.init, self.uid = init, uid
        self.pidfd = os.pidfd_open(init)


class Stage:
    """One template."""

    def __init__(self, stack, folder):
        self._stack, self._folder, self._uids = stack, folder, iter(range(70_001, 71_000))

    def keep(self, before="    pass", after="    pass"):
        """Start the keeper of a runtime that does this before and after it stands still."""
        source = self._folder / "runtime.py"
        parts = [textwrap.indent(textwrap.dedent(part), "    ") for part in (before, after)]
        source.write_text(RUNTIME.format(before=parts[0], after=parts[1]))
        ours, theirs = channel.pair()
        self.end, keeps = channel.pair()
        for end in (ours, theirs, self.end, keeps):
            self._stack.callback(end.close)
        number = str(theirs.fileno())
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).with_name("keeper.py"), source, number],
            env={"PYTHONPATH": str(Path(lambdad_sandbox.__file__).parent.parent)},
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
        )
        self._stack.callback(self._kill)
        request = KeepTemplate(LIMITS, ("control",))
        channel.send(ours, request, [keeps.fileno()])
        keeps.close()
        theirs.close()

    def _kill(self):
        self.process.kill()
        self.process.wait(WITHIN_S)

    def sandbox(self):
        made = subprocess.Popen(
            ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child",
             "--mount-proc", "/bin/sh", "-c", SANDBOX],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._stack.callback(made.wait, WITHIN_S)
        self._stack.callback(made.kill)
        self._stack.callback(made.stdout.close)
        assert made.stdout.readline() == b"stands\n"
        (init,) = psutil.Process(made.pid).children()
        return Sandbox(init.pid, next(self._uids))

    def fork_into(self, sandbox, **environ):
        """Have the keeper put a runtime in there."""
        control, theirs = channel.pair()
        output, write_end = os.pipe()
        self._stack.callback(control.close)
        self._stack.callback(os.close, output)
        wanted = ForkInto(True, sandbox.uid, GID, environ, ("control", "init", "stdout", "log"))
        descriptors = [theirs.fileno(), sandbox.pidfd, write_end, write_end]
        channel.send(self.end, wanted, descriptors)
        theirs.close()
        os.close(write_end)
        assert readable(control), "the keeper says nothing"
        return Runtime(control, output)

    def begin(self, **environ):
        """The original, when it stands still."""
        original = self.fork_into(self.sandbox(), **environ)
        while (line := original.line()) != "waits":
            self.said.append(line)
        return original

    said: list[str]

    def suspend(self, *, tmp_in_memory=False):
        channel.send(self.end, Suspend(tmp_in_memory))
        assert readable(self.end), "the keeper says nothing"
        return channel.receive(self.end)[0]

    def suspended(self, before="    pass", after="    pass", **environ):
        """The original, of which clones can be made from now on."""
        self.keep(before, after)
        original = self.begin(**environ)
        assert self.suspend().refusal == ""
        return original

    def refusal(self, before):
        """Why there are no clones of a runtime that does this."""
        self.keep(before)
        self.begin()
        return self.suspend().refusal

    def clone(self):
        return self.fork_into(self.sandbox())

    @property
    def twin(self):
        """The process that shares the original's memory and has rights."""
        children = psutil.Process(self.process.pid).children()
        (twin,) = (child for child in children if child.uids().effective == 0)
        return twin


def readable(end: socket.socket | int) -> bool:
    waiting = select.poll()
    waiting.register(end, select.POLLIN)
    return bool(waiting.poll(WITHIN_S * 1_000))


@pytest.fixture
def stage(tmp_path):
    if not remote.supported():
        pytest.skip("clones of a process are made on x86-64 only")
    with ExitStack() as stack:
        played = Stage(stack, tmp_path)
        played.said = []
        yield played
