"""Where disks are looked for, and guests that write to them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import time
import traceback
from pathlib import Path

from lambdad_sandbox import syscalls

MIB = 1024 * 1024
GUEST_UID = 1_879_048_192
_LOOP_CTL_REMOVE = 0x4C81
_WAIT_S_MAX = 120


def loop_devices():
    return {path.name for path in Path("/sys/block").glob("loop*")}


def files_in_use(directory):
    """The files below ``directory`` that loop devices have, by device."""
    found = {}
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with contextlib.suppress(OSError):  # It may go while one looks.
            if path.read_text().startswith(str(directory)):
                found[path.parts[3]] = path.read_text().strip()
    return found


def wait_until(condition):
    end = time.monotonic() + _WAIT_S_MAX
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def remove_devices(names):
    """Loop devices that stand free stay with the kernel until they are removed."""
    control = os.open("/dev/loop-control", os.O_RDWR)
    for name in names:
        with contextlib.suppress(OSError):  # It is somebody else's.
            fcntl.ioctl(control, _LOOP_CTL_REMOVE, int(name.removeprefix("loop")))
    os.close(control)


class Guests:
    """Processes as those of an environment: a mount namespace, a cgroup, no privilege."""

    def __init__(self, mount_point):
        self._mount_point = mount_point
        self._children: list[int] = []

    def start(self, disk, act, leaf=None, uid=GUEST_UID):
        """Run ``act`` with the disk as its directory, in a child; its result is the status."""
        reader, writer = os.pipe()
        pid = self._fork_into(leaf)
        if pid == 0:
            try:
                self._enter(disk, uid)
                os.write(writer, b"in")
                status = act()
            except OSError as error:
                status = error.errno
            except BaseException:  # noqa: BLE001  nothing may return into the test in a child
                traceback.print_exc()
                status = 255
            os._exit(status or 0)
        self._children.append(pid)
        os.close(writer)
        assert os.read(reader, 2) == b"in"
        os.close(reader)
        return pid

    def run(self, disk, act, leaf=None, uid=GUEST_UID):
        """The same, to its end."""
        return self.wait(self.start(disk, act, leaf, uid))

    def wait(self, pid):
        """The exit status, or the negative signal that ended it."""
        self._children.remove(pid)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def end(self):
        for pid in list(self._children):
            os.kill(pid, signal.SIGKILL)
            self.wait(pid)

    @staticmethod
    def _fork_into(leaf):
        if leaf is not None and leaf.clone_fd is not None:
            return syscalls.clone3(0, signal.SIGCHLD, leaf.clone_fd)
        pid = os.fork()
        if pid == 0 and leaf is not None:
            for tasks in leaf.attach_fds:
                os.write(tasks, b"0")
        return pid

    def _enter(self, disk, uid):
        syscalls.unshare(syscalls.CLONE_NEWNS)
        syscalls.mount(None, "/", None, syscalls.MS_REC | syscalls.MS_PRIVATE)
        syscalls.move_mount(disk.tree_fd, str(self._mount_point))
        os.chdir(self._mount_point)
        for descriptor in (
            disk.tree_fd,
            disk._root_fd,
            disk._image,
        ):  # It is a mount now, as in environments.
            os.close(descriptor)
        os.setgroups([])
        os.setgid(990)
        os.setuid(uid)
