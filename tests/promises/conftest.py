"""Who else is there: neighbours with something to lose, and a host with files."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from pathlib import Path

import pytest

# Leaves its secret wherever one environment could leave it for another, and stays.
NEIGHBOUR = """
    import ctypes, os, pathlib, socket

    kept = os.environ["SECRET"].encode()
    libc = ctypes.CDLL(None)
    libc.shmget(4711, 4096, 0o1666)
    libc.msgget(4711, 0o1666)
    tcp = socket.create_server(("0.0.0.0", 8080))
    hidden = socket.socket(socket.AF_UNIX)
    hidden.bind("\\0rendezvous")
    hidden.listen()
    named = socket.socket(socket.AF_UNIX)
    named.bind("/tmp/rendezvous")
    named.listen()
    pathlib.Path("/tmp/secret").write_bytes(kept)

    def handler(event, context):
        own = [libc.shmget(4711, 0, 0), libc.msgget(4711, 0)]
        return {"pid": os.getpid(), "request_id": context.aws_request_id, "own": min(own)}
"""


@pytest.fixture
def secret():
    """A word that occurs nowhere else."""
    return f"secret-{secrets.token_hex(12)}"


@pytest.fixture
def neighbour(deploy, invoke, secret):
    """The name of a function that has an environment, with its secret in all of its corners."""
    code = {"lambda_function.py": NEIGHBOUR, "secret.txt": secret}
    name = deploy(code, Environment={"Variables": {"SECRET": secret}})
    assert invoke(name).payload["own"] >= 0
    return name


@pytest.fixture
def host_files(secret):
    """Files of the host that any user of it may read, in places that environments have, too."""
    folders = []
    for place in ("/tmp", "/var/tmp", "/dev/shm"):
        if Path(place).is_dir():
            folders.append(Path(tempfile.mkdtemp(prefix="lambdad-test-", dir=place)))
            folders[-1].chmod(0o755)
            (folders[-1] / "secret").write_text(secret)
            (folders[-1] / "secret").chmod(0o644)
    yield [folder / "secret" for folder in folders]
    for folder in folders:
        shutil.rmtree(folder)
