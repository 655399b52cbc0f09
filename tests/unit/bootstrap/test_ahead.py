"""What the client does before there is a function: it rehearses, and connects."""

import json
import socket
import subprocess

import pytest

from lambdad_bootstrap import payload

REHEARSES = """
import json, logging, os, sys
sys.path.insert(0, sys.argv[1])
import bootstrap

def state():
    root = logging.getLogger()
    return [
        sys.path, sorted(sys.modules), sorted(sys.path_importer_cache), dict(os.environ),
        root.level, len(root.handlers), len(os.listdir("/proc/self/fd")),
    ]

bootstrap.rehearse()
first = state()
bootstrap.rehearse()
print(json.dumps([first, state()]))
"""
CONNECTS = """
import sys
sys.path.insert(0, sys.argv[1])
import bootstrap, lambdad_client
host, port = sys.argv[2].split(":")
bootstrap.stand_by(host, int(port))
for _ in range(2):
    client = lambdad_client.RuntimeClient(sys.argv[2])
    print(client.next_invocation().request_id, flush=True)
"""


@pytest.fixture
def run(interpreter):
    """Runs a script that finds the guest's files, with nothing else around it."""

    def started(script, *arguments):
        command = [str(interpreter), "-I", "-B", "-c", script, str(payload.GUEST), *arguments]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={})

    return started


def test_a_rehearsal_leaves_no_trace(run):
    """A folder that an import has not found, or found empty, would not be looked into again."""
    said, _ = run(REHEARSES).communicate(timeout=60)
    first, second = json.loads(said)
    assert first == second
    assert not [path for path in second[2] if path.startswith(("/var/task", "/opt"))]


def test_a_connection_made_ahead_is_the_first_clients_and_nobody_elses(run, event):
    answer = event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)
        process = run(CONNECTS, f"127.0.0.1:{server.getsockname()[1]}")
        for _ in range(2):
            connection, _ = server.accept()
            with connection:
                connection.settimeout(60)
                assert connection.recv(1024).startswith(b"GET /2018-06-01/runtime/invocation/next")
                connection.sendall(answer)
                assert process.stdout.readline()
        process.communicate(timeout=60)
    assert process.returncode == 0
