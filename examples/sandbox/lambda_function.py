"""A look around: what a function finds where it runs."""

import os
import socket
from pathlib import Path


def lambda_handler(event, context):
    status = dict(
        line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
    )
    return {
        "uid": os.getuid(),
        "pids": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()),
        "mounts": len(Path("/proc/self/mountinfo").read_text().splitlines()),
        "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
        "seccomp": status["Seccomp"] == "2",
        "interfaces": [name for _, name in socket.if_nameindex()],
        "hostname": socket.gethostname(),
        "writable": [path for path in ("/", "/var/task", "/tmp") if os.access(path, os.W_OK)],
    }
