"""What scenarios and sandbox tests share: the running program, and functions in it."""

from __future__ import annotations

import inspect
import json
import os
import textwrap
from pathlib import Path

import pytest
from scenario.package import FUNCTIONS


def pytest_runtest_setup(item):
    if item.get_closest_marker("root") and os.geteuid() != 0:
        pytest.skip("needs root: it makes namespaces, mounts and cgroups")
    if item.get_closest_marker("cgroup") and not any(
        os.access(top, os.W_OK) for top in cgroup_mounts()
    ):
        pytest.skip("needs a cgroup hierarchy that it may write to, and there is none")


def cgroup_mounts():
    mounted = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    return [fields[1] for fields in mounted if fields[2] in {"cgroup", "cgroup2"}]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows what the daemons that it used have said."""
    report = yield
    if report.failed:
        programs = [item.funcargs.get("daemon"), *item.funcargs.get("programs", [])]
        report.sections += [
            ("lambdad", program.said()) for program in programs if hasattr(program, "said")
        ]
    return report


@pytest.fixture(scope="session")
def daemon(tmp_path_factory):
    """A daemon for tests that leave it as it was; after the last of them it must end well."""
    from scenario.program import Program  # and with it AWS's client, which unit tests do without

    program = Program(tmp_path_factory.mktemp("daemon") / "state")
    yield program
    program.stop()


@pytest.fixture(autouse=True)
def kept_here(request):
    """Skips a test of a promise that the daemon itself says it cannot keep on this host."""
    if (marker := request.node.get_closest_marker("promise")) is not None:
        (name,) = marker.args
        if name in (degraded := request.getfixturevalue("daemon").degraded):
            pytest.skip(f"{name} is degraded here: {degraded[name]}")


@pytest.fixture
def programs():
    """The daemons of one test."""
    return []


@pytest.fixture
def start(programs, tmp_path):
    """Starts a daemon of the test's own, with flags; on the same state if started again."""
    from scenario.program import Program

    def started(*flags):
        programs.append(Program(tmp_path / "state", *flags))
        return programs[-1]

    yield started
    for program in programs:
        if program.running:
            program.stop()


@pytest.fixture
def deploy(daemon):
    """Deploys to the shared daemon; what was deployed goes with the test."""
    names = []

    def deployed(code, **settings):
        names.append(daemon.deploy(code, **settings))
        return names[-1]

    yield deployed
    for name in names:
        daemon.client.delete_function(FunctionName=name)


@pytest.fixture
def invoke(daemon):
    return daemon.invoke


@pytest.fixture
def messages(daemon):
    """The log of a function, event by event, once so many of them have such a text."""
    return lambda name, text="", times=1: daemon.wait_for_log(name, text, times)


@pytest.fixture(scope="session")
def workbench(daemon):
    """A function that runs what it is sent."""
    name = daemon.deploy(FUNCTIONS / "workbench")
    yield name
    daemon.client.delete_function(FunctionName=name)


@pytest.fixture
def inside(daemon, workbench):
    """Runs a function of the test within an environment; its OSError is raised here."""

    def run(function, *arguments):
        source = textwrap.dedent(inspect.getsource(function))
        event = {"source": source, "name": function.__name__, "arguments": arguments}
        answer = daemon.invoke(workbench, event)
        assert answer.error is None, json.dumps(answer.payload, indent=1)
        if "errno" in answer.payload:
            raise OSError(answer.payload["errno"], os.strerror(answer.payload["errno"]))
        return answer.payload["result"]

    return run
