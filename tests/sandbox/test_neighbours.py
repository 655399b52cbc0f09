"""Environments beside each other: nothing of one is seen, reached or exhausted by another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from scenario.program import PATIENCE

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

# Takes its time, so that as many environments stand as there are callers.
PORTRAIT = """
    import os, pathlib, socket, time

    def handler(event, context):
        pathlib.Path(f"/tmp/{event}").touch()
        server = socket.socket()
        server.bind(("127.0.0.1", 8080))
        server.listen()
        hidden = socket.socket(socket.AF_UNIX)
        hidden.bind("\\0rendezvous")
        time.sleep(%s)
        server.close()
        hidden.close()
        return {
            "uid": os.getuid(),
            "tmp": os.listdir("/tmp"),
            "pids": [name for name in os.listdir("/proc") if name.isdigit()],
            "namespaces": [os.readlink(f"/proc/self/ns/{kind}") for kind in %r],
        }
"""
KINDS = ("mnt", "pid", "net", "ipc", "uts", "cgroup")


@pytest.fixture
def portraits(deploy, invoke):
    """Three environments of one function and one of another, all at the same time."""
    source = PORTRAIT % (1.0 * PATIENCE, KINDS)
    names = [deploy(source)] * 3 + [deploy(source)]
    with ThreadPoolExecutor(4) as callers:
        answers = list(callers.map(invoke, names, ("a", "b", "c", "d")))
    assert [answer.error for answer in answers] == [None] * 4, answers[0].body
    return [answer.payload for answer in answers]


def test_environments_share_no_user_no_tmp_no_process_no_namespace(portraits):
    assert len({portrait["uid"] for portrait in portraits}) == 4
    assert [portrait["tmp"] for portrait in portraits] == [["a"], ["b"], ["c"], ["d"]]
    assert [len(portrait["pids"]) for portrait in portraits] == [2] * 4
    hosts = [str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in KINDS]
    for kind, host, *seen in zip(
        KINDS, hosts, *(portrait["namespaces"] for portrait in portraits), strict=True
    ):
        assert len({host, *seen}) == 5, kind


def test_the_uids_are_nobody_elses_on_the_host(portraits):
    known = {int(line.split(":")[2]) for line in Path("/etc/passwd").read_text().splitlines()}
    assert known.isdisjoint(portrait["uid"] for portrait in portraits)


def test_a_function_that_forks_without_end_stops_at_its_own_limit(inside):
    def fork_until_refused():
        import os
        import signal

        children = []
        try:
            while True:
                child = os.fork()
                if child == 0:
                    signal.pause()
                children.append(child)
        except BlockingIOError:
            return len(children)
        finally:
            for child in children:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)

    assert 900 <= inside(fork_until_refused) <= 1_024
    assert inside(fork_until_refused) > 900


def test_a_function_that_fills_tmp_is_refused_more_and_goes_on(deploy, invoke):
    source = """
        import os

        def handler(event, context):
            if event == "after":
                return os.listdir("/tmp")
            try:
                with open("/tmp/full", "wb", buffering=0) as file:
                    while True:
                        file.write(bytes(1 << 20))
            except OSError as error:
                return [error.errno, os.path.getsize("/tmp/full")]
    """
    name = deploy(source, Timeout=40 * PATIENCE)
    no_space, size = invoke(name, "fill").payload
    assert no_space == 28
    assert size == 512 << 20
    assert invoke(name, "after").payload == ["full"]


def test_what_a_function_leaves_running_is_not_there_for_the_next(daemon, deploy, invoke):
    """A daemon that a handler leaves behind belongs to its environment and ends with it."""
    source = """
        import os, subprocess

        def handler(event, context):
            if event == "leave":
                subprocess.Popen(["/usr/bin/setsid", "/bin/sleep", "1000"])
                os._exit(1)
            return [name for name in os.listdir("/proc") if name.isdigit()]
    """
    name = deploy(source)
    assert invoke(name, "leave").payload["errorType"] == "Runtime.ExitError"
    assert len(invoke(name, "look").payload) == 2


def test_memory_of_children_and_of_files_in_memory_counts(deploy, invoke):
    source = """
        import os

        def handler(event, context):
            if event == "child":
                if os.fork() == 0:
                    bytearray(300 << 20)
                    os._exit(0)
                return os.waitstatus_to_exitcode(os.wait()[1])
            descriptor = os.memfd_create("hoard")
            for _ in range(300):
                os.write(descriptor, bytes(1 << 20))
    """
    for hoarder in ("child", "file"):
        name = deploy(source, MemorySize=256, Timeout=40 * PATIENCE)
        answer = invoke(name, hoarder)
        assert answer.error == "Unhandled" or answer.payload == -9, answer.body
        assert invoke(name, "child").log.endswith("\n")
