"""Functions that bring their own runtime: AWS's client from PyPI, a shell script, none at all."""

from __future__ import annotations

import importlib.util
import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from scenario.package import FUNCTIONS, add, folder
from scenario.program import PATIENCE

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

OS_ONLY = {"Runtime": "provided.al2023", "Handler": "app.handler", "Timeout": 30 * PATIENCE}
SYSTEM_PYTHON = Path("/usr/bin/python3")
RIC_MODULES = ("awslambdaric", "simplejson", "snapshot_restore_py", "runtime_client")


def aws_client_files():
    """AWS's runtime client as it was installed here, for a package."""
    if not SYSTEM_PYTHON.exists():
        pytest.skip("there is no /usr/bin/python3 for AWS's runtime client to run on")
    asked = [SYSTEM_PYTHON, "-c", "import sys; print(*sys.version_info[:2])"]
    version = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.split()
    if version != [str(number) for number in sys.version_info[:2]]:
        pytest.skip("AWS's runtime client is installed for another Python than /usr/bin/python3")
    files = {}
    for module in RIC_MODULES:
        found = importlib.util.find_spec(module)
        if found is None:
            pytest.skip(f"AWS's runtime client is not installed: there is no {module}")
        origin = Path(found.origin)
        if origin.name == "__init__.py":
            inner = folder(origin.parent)
            files |= {f"{module}/{name}": content for name, content in inner.items()}
        else:
            files[origin.name] = origin.read_bytes()
    return files


def test_awss_runtime_client_runs_as_a_bootstrap(deploy, invoke):
    name = deploy(aws_client_files() | folder(FUNCTIONS / "awslambdaric"), **OS_ONLY)
    answer = invoke(name, {"key": "value"})
    assert answer.error is None, answer.payload
    assert answer.payload == {"event": {"key": "value"}, "memory": "1769", "name": name}
    assert answer.lines[1] == f"as on AWS {answer.request_id}"
    failed = invoke(name, {"fail": True})
    assert failed.error == "Unhandled"
    assert failed.payload["errorType"] == "ValueError"
    assert failed.payload["errorMessage"] == "as asked"
    assert invoke(name, {}).error is None


def test_a_shell_script_with_curl_is_a_runtime(deploy, invoke):
    if shutil.which("curl", path="/usr/bin") is None:
        pytest.skip("there is no /usr/bin/curl for a shell script to speak HTTP with")
    name = deploy(FUNCTIONS / "curl", **OS_ONLY)
    for event in ({"number": 1}, {"number": 2}):
        answer = invoke(name, event)
        assert answer.error is None, answer.payload
        assert answer.payload == {"handler": "app.handler", "event": event}
        assert answer.lines[1] == f"event {answer.request_id}"


@pytest.mark.parametrize(
    ("files", "text"),
    [
        (
            {"app.sh": ""},
            "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]",
        ),
        (
            {"bootstrap": "#!/no/such/interpreter\n"},
            "fork/exec /var/task/bootstrap: no such file or directory",
        ),
        ({"bootstrap": "\0"}, "fork/exec /var/task/bootstrap: exec format error"),
        ({"bootstrap/file": ""}, "fork/exec /var/task/bootstrap: permission denied"),
    ],
    ids=["missing", "interpreter", "format", "directory"],
)
def test_a_bootstrap_that_cannot_be_executed_is_an_invalid_entrypoint(
    daemon, deploy, invoke, files, text
):
    name = deploy(files, **OS_ONLY)
    answer = invoke(name)
    assert answer.error == "Unhandled"
    assert answer.payload == {
        "errorType": "Runtime.InvalidEntrypoint",
        "errorMessage": f"RequestId: {answer.request_id} Error: {text}",
    }
    assert answer.lines[-1].endswith("\tStatus: error\tError Type: Runtime.InvalidEntrypoint")
    for phase in ("init", "invoke"):  # Told at once, not when init has run out of time.
        ends = f"\tPhase: {phase}\tStatus: error\tError Type: Runtime.InvalidEntrypoint\n"
        assert daemon.log_of(name).count(ends) == 1


def test_a_bootstrap_without_the_executable_bit_is_an_invalid_entrypoint(deploy, invoke):
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        add(archive, "bootstrap", "#!/bin/sh\n", 0o644)
    answer = invoke(deploy(package.getvalue(), **OS_ONLY))
    assert answer.payload["errorType"] == "Runtime.InvalidEntrypoint"
    assert answer.payload["errorMessage"].endswith("bootstrap: permission denied")


def test_a_bootstrap_that_exits_at_once_is_told_with_its_status(deploy, invoke):
    answer = invoke(deploy({"bootstrap": "#!/bin/sh\necho last words\nexit 9\n"}, **OS_ONLY))
    assert answer.payload["errorType"] == "Runtime.ExitError"
    assert answer.payload["errorMessage"].endswith("Runtime exited with error: exit status 9")
    assert "last words\n" in answer.log
