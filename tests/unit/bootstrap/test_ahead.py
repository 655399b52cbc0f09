"""What the client does before there is a function: it rehearses, and connects."""

import json
import socket
import subprocess

import pytest

from lambdad_bootstrap import payload
from lambdad_sandbox.machinery import copy_machinery

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


HIDES = """
import sys
sys.path.insert(0, sys.argv[1])
import bootstrap
import dataclasses, json, resource
bootstrap.extend_search_path(sys.argv[2], [])
import dataclasses, json, resource
print(hasattr(dataclasses, "MINE"), hasattr(json, "MINE"), hasattr(resource, "MINE"))
"""


def test_what_others_have_loaded_hides_nothing_of_the_functions(run, tmp_path):
    """As it would not, were the client executed; what the client itself has loaded does."""
    for name in ("dataclasses.py", "json.py"):
        (tmp_path / name).write_text("MINE = 1\n")
    said, _ = run(HIDES, str(tmp_path)).communicate(timeout=60)
    assert said.split() == ["True", "False", "False"]


LOADS = """
import sys
sys.path.insert(0, sys.argv[1])
for folder in sys.argv[2:]:
    sys.path.insert(0, folder)
    import lambdad_sandbox.zygote
import bootstrap
import json
print(json.dumps([sorted(bootstrap._NOT_OURS), sorted(sys.modules)]))
"""


def test_all_that_the_machinery_alone_has_loaded_is_known(run, tmp_path):
    machinery = tmp_path / "machinery"
    copy_machinery(str(machinery))
    (known, alone), (_, ahead) = (
        json.loads(run(LOADS, *folders).communicate(timeout=60)[0])
        for folders in ((), (str(machinery),))
    )
    more = {name.partition(".")[0] for name in set(ahead) - set(alone)}
    # Of packages that both have loaded there may be more; what is private is nobody's name.
    hidden = {name for name in more.difference(alone) if not name.startswith("_")}
    assert hidden - set(known) <= {"lambdad_sandbox", "msgpack", "cython_runtime"}
