"""SnapStart, as AWS's client has it: init once, and environments that are clones of it."""

from __future__ import annotations

import os
import secrets
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError
from scenario import held
from scenario.package import zipped
from scenario.program import START_S_MAX, wait_until_ended, watch
from scenario.snapshots import deploy, keepers, publish, published

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

# Waits as the functions of ``held`` do, so that several environments are there at once.
WAITS = """
    import os, time

    def wait(event):
        open(f"/tmp/{event}.awaited", "w").close()
        while not os.path.exists(f"/tmp/{event}"):
            time.sleep(0.01)
"""


@pytest.fixture
def publish_here(daemon):
    """Publishes to the shared daemon; what was published goes with the test."""
    names = []

    def done(code, **settings):
        names.append(published(daemon, code, **settings))
        return names[-1]

    yield done
    for name in names:
        daemon.client.delete_function(FunctionName=name.partition(":")[0])


@pytest.fixture
def doubted(daemon):
    """Publishes what is not as it should be; gives the name and what is said of the version."""
    names = []

    def done(code, **settings):
        names.append(deploy(daemon, code, **settings))
        return names[-1], publish(daemon, names[-1])

    yield done
    for name in names:
        daemon.client.delete_function(FunctionName=name)


def at_once(program, name, count):
    """The answers of so many environments that were there at the same time."""
    event = secrets.token_hex(4)
    with ThreadPoolExecutor(count) as callers:
        under_way = [callers.submit(program.invoke, name, event) for _ in range(count)]
        held.let_go(program, event, count)
        return [answer.result().payload for answer in under_way]


def refused(program, name, event=None):
    """The error that an invocation is answered with, instead of a result."""
    with pytest.raises(ClientError) as caught:
        program.invoke(name, event)
    return caught.value.response["Error"]


# --- from publishing to the first event ---

HOOKED = """
    import os
    from snapshot_restore_py import register_after_restore, register_before_snapshot

    told = []
    register_before_snapshot(told.append, "first before")
    register_after_restore(told.append, "first after")

    @register_before_snapshot
    def before():
        told.append("second before")

    @register_after_restore
    def after():
        told.append("second after")

    def handler(event, context):
        return told, os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"]
"""


def test_a_version_is_active_when_its_init_has_run_and_restored_from_it(daemon, doubted):
    name, said = doubted("import random\nhere = random.random()\ndef handler(*_): return here")
    assert said["State"] == "Active"
    assert said["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    first, second = daemon.invoke(f"{name}:1"), daemon.invoke(f"{name}:1")
    assert first.payload == second.payload
    assert daemon.log_of(name).count("INIT_START") == 1
    assert first.lines[0].startswith("RESTORE_START Runtime Version: python:3.")
    assert first.lines[1].startswith("RESTORE_REPORT Restore Duration: ")
    assert "\tRestore Duration: " in first.lines[-1]
    assert "Restore" not in second.log


def test_publishing_waits_for_no_init(daemon, doubted):
    name, _ = doubted("def handler(*_): pass")
    code = zipped("def handler(*_): return 2")
    daemon.client.update_function_code(FunctionName=name, ZipFile=code)
    daemon.wait("function_updated_v2", name)
    said = daemon.client.publish_version(FunctionName=name)
    assert (said["Version"], said["State"]) == ("2", "Pending")
    assert said["StateReasonCode"] == "Creating"


def test_hooks_run_around_the_snapshot_in_the_order_that_aws_has(daemon, publish_here):
    told, kind = daemon.invoke(publish_here(HOOKED)).payload
    assert told == ["second before", "first before", "first after", "second after"]
    assert kind == "snap-start"


def test_the_latest_version_runs_its_own_init(daemon, publish_here):
    name = publish_here(HOOKED).partition(":")[0]
    answer = daemon.invoke(name)
    assert answer.payload == [[], "on-demand"]
    assert "RESTORE" not in answer.log


# --- what fails ---

FAILS_BEFORE = """
    from snapshot_restore_py import register_before_snapshot

    @register_before_snapshot
    def before():
        raise RuntimeError("not today")

    def handler(event, context):
        pass
"""
FAILS_AFTER = """
    import os
    from snapshot_restore_py import register_after_restore

    @register_after_restore
    def after():
        raise RuntimeError("not today")

    def handler(event, context):
        pass
"""


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise RuntimeError('not today')", "not today"),
        ("import os\nos._exit(3)", "Runtime exited with error: exit status 3"),
        ("def handel(*_): pass", "Handler 'handler' missing on module 'lambda_function'"),
        (FAILS_BEFORE, "Runtime.BeforeSnapshotError: not today"),
    ],
)
def test_a_version_whose_init_fails_is_failed_and_says_why(daemon, doubted, code, reason):
    name, said = doubted(code)
    assert said["State"] == "Failed"
    assert reason in said["StateReason"]
    assert said["SnapStart"]["OptimizationStatus"] == "Off"
    assert "ResourceConflictException" in refused(daemon, f"{name}:1")["Code"]


def test_a_hook_that_fails_after_the_restore_is_an_error_of_each_invocation(daemon, publish_here):
    name = publish_here(FAILS_AFTER)
    for _ in range(2):
        error = refused(daemon, name)
        assert error["Code"] == "SnapStartException"
        assert "not today" in error["Message"]
    assert "Error Type: Runtime.AfterRestoreError" in daemon.log_of(name.partition(":")[0])


CLUMSY = """
    import os, time, uuid

    here = str(uuid.uuid4())

    def handler(how, context):
        if how == "wait":
            time.sleep(1000)
        if how == "exit":
            os._exit(1)
        if how == "fill":
            hoard = bytearray(os.urandom(1)) * (1 << 30)
        return how
"""


@pytest.mark.parametrize(
    ("how", "error_type"),
    [
        ("wait", "Sandbox.Timedout"),
        ("exit", "Runtime.ExitError"),
        ("fill", "Runtime.OutOfMemory"),
    ],
)
def test_after_a_failure_in_a_restored_environment_the_next_event_is_served(
    daemon, publish_here, how, error_type
):
    # To fill memory takes a second and more where its pages are cold.
    timeout_s = 2 if how == "wait" else 60
    name = publish_here(CLUMSY, Timeout=timeout_s, MemorySize=256)
    failed = daemon.invoke(name, how)
    assert failed.error == "Unhandled"
    assert error_type in failed.log or failed.payload["errorType"] == error_type
    assert daemon.invoke(name, "rest").payload == "rest"


# --- what cannot be cloned ---

NOT_CLONED = {
    "it has 2 threads": """
        import threading
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    """,
    "it has started other processes": """
        import subprocess
        child = subprocess.Popen(["/bin/sleep", "1000"])
    """,
    "it has mapped": """
        import mmap
        shared = mmap.mmap(-1, 4096)
    """,
    "is open to anon_inode:[eventfd]": """
        import os
        descriptor = os.eventfd(0)
    """,
}


@pytest.mark.parametrize("reason", NOT_CLONED)
def test_what_cannot_be_cloned_runs_its_own_init_and_the_version_says_so(daemon, doubted, reason):
    code = (
        NOT_CLONED[reason]
        + """
        import uuid
        here = str(uuid.uuid4())

        def handler(event, context):
            return here
    """
    )
    name, said = doubted(code)
    assert said["State"] == "Active"
    assert said["StateReason"].startswith("The snapshot cannot be cloned: ")
    assert reason in said["StateReason"]
    assert said["SnapStart"]["OptimizationStatus"] == "Off"
    answer = daemon.invoke(f"{name}:1")
    assert answer.error is None
    assert daemon.log_of(name).count("INIT_START") >= 2
    assert reason in daemon.said()
    assert f"LAMBDA_WARNING: {said['StateReason']}" in daemon.log_of(name)


# --- what clones share, and what they do not ---

UNLIKE = (
    WAITS
    + """
    import random, secrets, ssl, tempfile, uuid

    of_init = str(uuid.uuid4()), random.random()
    ssl.RAND_bytes(8)
    tempfile.mktemp()

    def handler(event, context):
        wait(event)
        drawn = [random.random(), str(uuid.uuid4()), str(uuid.uuid1()), secrets.token_hex()]
        return of_init, [*drawn, ssl.RAND_bytes(8).hex(), tempfile.mktemp()]
"""
)


def test_two_environments_never_draw_the_same(daemon, publish_here):
    answers = at_once(daemon, publish_here(UNLIKE), 3)
    assert len({tuple(of_init) for of_init, _ in answers}) == 1
    for drawn in zip(*(drawn for _, drawn in answers), strict=True):
        assert len(set(drawn)) == len(answers), drawn


FILES = (
    WAITS
    + """
    import uuid

    with open("/tmp/init", "w") as file:
        file.write("of init")
    os.mkdir("/tmp/folder")
    open_file = open("/tmp/init")
    open_file.seek(3)

    def handler(event, context):
        wait(event)
        with open("/tmp/init") as file:
            found = file.read()
        with open("/tmp/init", "a") as file:
            file.write(str(uuid.uuid4()))
        return found, open_file.read(4), sorted(os.listdir("/tmp"))
"""
)


def test_what_init_wrote_to_tmp_is_there_and_each_environment_has_its_own(daemon, publish_here):
    if "FS-5" in daemon.degraded:
        pytest.skip("what is in memory is not copied: the version says so")
    for found, read, listed in at_once(daemon, publish_here(FILES), 3):
        assert (found, read) == ("of init", "init")
        assert {"init", "folder"} <= set(listed)


SOCKETS = """
    import asyncio, socket

    ours, theirs = socket.socketpair()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(asyncio.sleep(0))

    def heard(end):
        try:
            end.sendall(b"hello")
        except BrokenPipeError:
            return end.recv(8).decode()

    async def both():
        async def answer(reader, writer):
            writer.write(await reader.readexactly(5))
            await writer.drain()
            writer.close()
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"hello")
        said = await reader.read()
        server.close()
        return said.decode()

    def handler(event, context):
        return [heard(ours), heard(theirs), loop.run_until_complete(both())]
"""


def test_sockets_of_init_are_dead_and_its_event_loop_lives(daemon, publish_here):
    assert daemon.invoke(publish_here(SOCKETS)).payload == ["", "", "hello"]


# --- versions, and the end ---


def test_each_version_keeps_its_snapshot(daemon, doubted):
    name, _ = doubted("def handler(*_): return 'one'")
    daemon.client.update_function_code(
        FunctionName=name, ZipFile=zipped("def handler(*_): return 'two'")
    )
    daemon.wait("function_updated_v2", name)
    assert publish(daemon, name)["State"] == "Active"
    assert [daemon.invoke(f"{name}:{number}").payload for number in (1, 2)] == ["one", "two"]


def test_concurrency_of_a_version_with_a_snapshot_cannot_be_provisioned(daemon, publish_here):
    name, _, version = publish_here("def handler(*_): pass").partition(":")
    with pytest.raises(ClientError) as caught:
        daemon.client.put_provisioned_concurrency_config(
            FunctionName=name, Qualifier=version, ProvisionedConcurrentExecutions=1
        )
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"


def test_with_the_version_its_template_ends(start):
    program = start("--spares", "0")
    name = published(program, "def handler(*_): pass")
    program.invoke(name)
    (keeper,) = keepers(program)
    ends = watch([keeper, *keeper.children(recursive=True)])
    assert len(ends) >= 4  # with its twin, the original and one clone
    program.client.delete_function(FunctionName=name.partition(":")[0], Qualifier="1")
    wait_until_ended(ends)
    wait_until_none(program.leaves)


@pytest.mark.parametrize("code", ["raise RuntimeError", "import os\nos._exit(0)", FAILS_BEFORE])
def test_of_an_init_that_failed_nothing_is_left(start, code):
    program = start("--spares", "0")
    assert publish(program, deploy(program, code))["State"] == "Failed"
    wait_until_none(program.leaves)
    wait_until_none(lambda: keepers(program))


def wait_until_none(of):
    last = time.monotonic() + START_S_MAX
    while found := of():
        assert time.monotonic() < last, f"these stay: {found}"
        time.sleep(0.01)


def test_a_daemon_that_starts_again_has_its_snapshots_again(start):
    program = start()
    name = published(program, HOOKED)
    program.stop()
    program = start()
    assert program.invoke(name).payload[0][:2] == ["second before", "first before"]
    assert "RESTORE_START" in program.log_of(name.partition(":")[0])


def test_nothing_of_a_template_outlives_a_daemon_that_is_killed(start):
    program = start()
    published(program, "def handler(*_): pass")
    (keeper,) = keepers(program)
    ends = watch([keeper, *keeper.children(recursive=True)])
    everything = program.kill()
    start()  # On version 1 of cgroups what is frozen ends when this sweeps.
    wait_until_ended([*ends, *everything])


STUBBORN = """
    import ctypes

    def handler(event, context):
        ctypes.CDLL(None).prctl(1, 0)  # PR_SET_PDEATHSIG: no signal when the parent ends
        return event
"""


@pytest.mark.parametrize("spares", [0, 1])
def test_without_its_keeper_a_template_is_made_again(start, spares):
    """Whether there is a clone of it or none."""
    program = start("--spares", str(spares))
    name = published(program, STUBBORN)
    if spares:
        assert program.invoke(name, "before").payload == "before"
    (keeper,) = keepers(program)
    ends = watch(keeper.children(recursive=True)[:2])  # the twin and the original
    os.kill(keeper.pid, signal.SIGKILL)
    wait_until_ended(ends)
    wait_until_none(lambda: "lost a template" not in program.said())
    assert [program.invoke(name, number).payload for number in range(3)] == [0, 1, 2]
    program.stop()
