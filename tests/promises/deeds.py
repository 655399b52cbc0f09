"""What attackers do: plain functions that run inside an environment, each alone.

Each brings its imports along, and gives back what JSON can hold; the fixture ``inside`` sends its
source. An OSError is raised again where the test stands.
"""

from __future__ import annotations

import errno
import platform

import pytest

# What the kernel, a filter and a mount say to those who may not.
REFUSED = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EROFS}

x86_64 = pytest.mark.skipif(
    platform.machine() != "x86_64", reason="the numbers and the gates are those of x86-64"
)


def refused(run, deed, *arguments, also=()):
    """The deed fails, and in a way that says no, not in one that says what was misspelled."""
    with pytest.raises(OSError, match=r".") as caught:
        run(deed, *arguments)
    assert caught.value.errno in {*REFUSED, *also}, caught.value


def call(name, *arguments):
    """Call the C library; text becomes bytes, and a failure an OSError."""
    import ctypes
    import os

    library = ctypes.CDLL(None, use_errno=True)
    encoded = [item.encode() if isinstance(item, str) else item for item in arguments]
    encoded = [ctypes.c_ulong(item) if isinstance(item, int) else item for item in encoded]
    if getattr(library, name)(*encoded) == -1:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def open_for(path, how):
    with open(path, how):
        pass


def read(path):
    with open(path) as file:
        return file.read()


def listed(path):
    import os

    return sorted(os.listdir(path))


def readable(paths):
    """Those of the paths behind which there is a file that can be read, or a folder."""
    import os

    found = []
    for path in paths:
        try:
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        except OSError:
            continue
        found.append(path)
    return found


def status_of(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file)


def mounts():
    with open("/proc/self/mountinfo") as file:
        fields = [line.split() for line in file]
    return {field[4]: field[5].split(",") for field in fields}


def connect(host, port):
    import socket

    socket.create_connection((host, port), timeout=5).close()


def connect_to_name(name):
    """A Unix socket in the abstract, or in a path."""
    import socket

    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(5)
        end.connect(name)


def write(path, text):
    import os

    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)
