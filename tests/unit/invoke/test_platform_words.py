import signal

import pytest

from lambdad.code.runtimes import CURRENT
from lambdad.invoke.platform_words import (
    exit_text,
    extension_exit_text,
    fault_text,
    not_started_text,
    runtime_version,
    timeout_text,
)


@pytest.mark.parametrize(
    ("timeout_s", "text"),
    [(1, "Task timed out after 1.00 seconds"), (900, "Task timed out after 900.00 seconds")],
)
def test_a_timeout_names_the_configured_time(timeout_s, text):
    assert timeout_text(timeout_s) == text


@pytest.mark.parametrize(
    ("errno", "has_bootstrap", "text"),
    [
        (2, False, "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"),
        (2, True, "fork/exec /var/task/bootstrap: no such file or directory"),
        (13, True, "fork/exec /var/task/bootstrap: permission denied"),
    ],
)
def test_what_cannot_be_executed_is_named_if_it_is_there(errno, has_bootstrap, text):
    command = ("/var/task/bootstrap",)
    assert not_started_text(command, errno, has_bootstrap=has_bootstrap) == text


def test_a_fault_names_its_request_if_there_is_one():
    assert fault_text("r-1", "exit code 0") == "RequestId: r-1 Error: exit code 0"
    assert fault_text("", "exit code 0") == "Error: exit code 0"


@pytest.mark.parametrize(
    ("status", "text", "extension_text"),
    [
        (0, "Runtime exited without providing a reason", "exit code 0"),
        (1 << 8, "Runtime exited with error: exit status 1", "exit status 1"),
        (127 << 8, "Runtime exited with error: exit status 127", "exit status 127"),
        (signal.SIGKILL, "Runtime exited with error: signal: killed", "signal: killed"),
        (signal.SIGTERM, "Runtime exited with error: signal: terminated", "signal: terminated"),
        (
            signal.SIGSEGV,
            "Runtime exited with error: signal: segmentation fault",
            "signal: segmentation fault",
        ),
        (signal.SIGABRT, "Runtime exited with error: signal: aborted", "signal: aborted"),
        (
            signal.SIGSYS,
            "Runtime exited with error: signal: bad system call",
            "signal: bad system call",
        ),
        (
            signal.SIGABRT | 0x80,
            "Runtime exited with error: signal: aborted (core dumped)",
            "signal: aborted (core dumped)",
        ),
        (40, "Runtime exited with error: signal: signal 40", "signal: signal 40"),
    ],
)
def test_an_exit_is_told_in_the_platforms_words(status, text, extension_text):
    assert exit_text(status) == text
    assert extension_exit_text(status) == extension_text


@pytest.mark.parametrize(
    ("runtime", "version"),
    [
        ("python3.12", "python:3.12.v1"),
        ("python3.9", "python:3.9.v1"),
        ("nodejs22.x", "nodejs:22.v1"),
        ("java21", "java:21.v1"),
        ("java8.al2", "java:8.v1"),
        ("ruby3.4", "ruby:3.4.v1"),
        ("dotnet8", "dotnet:8.v1"),
        ("provided.al2", None),
        ("provided.al2023", None),
        ("provided", None),
    ],
)
def test_the_version_of_a_runtime_follows_from_its_name(runtime, version):
    assert runtime_version(runtime) == version


@pytest.mark.parametrize("runtime", CURRENT)
def test_every_runtime_has_a_version_unless_it_is_os_only(runtime):
    assert (runtime_version(runtime) is None) == runtime.startswith("provided")
