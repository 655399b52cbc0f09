"""RES: what a function uses up is its own."""

from __future__ import annotations

import os
import time

import psutil
import pytest
from promises.deeds import listed, mounts, read, refused, write
from scenario.package import FUNCTIONS
from scenario.program import PATIENCE

MIB = 1024 * 1024
# The segments of a log, and what the newest may be too large; what is promised at most.
LOG_BYTES_MAX = 32 * MIB + MIB
RLIMITS = {
    "NOFILE": [1_024, 1_024],
    "NPROC": [1_024, 1_024],
    "CORE": [0, 0],
    "MEMLOCK": [65_536, 65_536],
    "MSGQUEUE": [0, 0],
    "RTPRIO": [0, 0],
    "NICE": [0, 0],
}


# --- RES-1: the memory of a whole environment ---

HOARDER = """
    import ctypes, mmap, os

    def hoard(how):
        if how == "heap":
            bytearray(400 << 20)
        elif how == "shared":
            memory = mmap.mmap(-1, 400 << 20)
            for place in range(0, 400 << 20, 4096):
                memory[place] = 1
        elif how == "file in memory":
            descriptor = os.memfd_create("hoard")
            for _ in range(400):
                os.write(descriptor, bytes(1 << 20))
        elif how == "segments":
            libc = ctypes.CDLL(None)
            libc.shmat.restype = ctypes.c_void_p
            for _ in range(100):
                number = libc.shmget(0, 4 << 20, 0o600)
                ctypes.memset(libc.shmat(number, None, 0), 1, 4 << 20)

    def handler(how, context):
        if how == "rest":
            return True
        hoard(how)
"""


@pytest.mark.promise("RES-1")
@pytest.mark.parametrize("how", ["heap", "shared", "file in memory", "segments"])
def test_res_1_whoever_takes_more_memory_is_ended_and_reported(deploy, invoke, how):
    name = deploy(HOARDER, MemorySize=256, Timeout=20 * PATIENCE)
    answer = invoke(name, how)
    assert answer.error == "Unhandled", answer.body
    assert answer.payload["errorType"] == "Runtime.ExitError"
    assert answer.lines[-1].endswith("\tStatus: error\tError Type: Runtime.OutOfMemory")
    assert invoke(name, "rest").payload is True


@pytest.mark.promise("RES-1")
def test_res_1_memory_of_children_counts(deploy, invoke):
    """Each holds what fits, and starts the next: one of them is killed, or all are."""
    source = """
        import os

        def hold(generations):
            kept = bytearray(100 << 20)
            if generations == 0:
                return 0
            child = os.fork()
            if child == 0:
                os._exit(hold(generations - 1))
            return 1 if os.waitpid(child, 0)[1] else 0

        def handler(event, context):
            return hold(event)
    """
    name = deploy(source, MemorySize=256, Timeout=20 * PATIENCE)
    answer = invoke(name, 4)
    assert answer.error == "Unhandled" or answer.payload == 1, answer.body
    assert invoke(name, 0).payload == 0


# --- RES-2: processes and threads ---


@pytest.mark.promise("RES-2")
def test_res_2_a_function_that_forks_without_end_stops_at_its_own_limit(inside):
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


@pytest.mark.promise("RES-2")
def test_res_2_threads_count_and_a_neighbour_has_its_own(deploy, invoke):
    source = """
        import threading
        held, release = [], threading.Event()

        def handler(event, context):
            try:
                while len(held) < event:
                    held.append(threading.Thread(target=release.wait, daemon=True))
                    held[-1].start()
            except RuntimeError:
                held.pop()
            return len(held)
    """
    names = deploy(source, Timeout=20 * PATIENCE), deploy(source, Timeout=20 * PATIENCE)
    assert 900 <= invoke(names[0], 2_000).payload <= 1_024
    assert 900 <= invoke(names[1], 2_000).payload <= 1_024


# --- RES-3: descriptors, limits, and what the kernel counts by user ---


def test_res_3_limits_of_a_process_are_as_promised_and_cannot_be_raised(inside, daemon):
    def raised(names):
        import resource

        found = {}
        for name in names:
            kind = getattr(resource, f"RLIMIT_{name}")
            for hard in (resource.RLIM_INFINITY, resource.getrlimit(kind)[1] + 1):
                try:
                    resource.setrlimit(kind, (hard, hard))
                except (ValueError, OSError):
                    continue
            found[name] = resource.getrlimit(kind)
        return found

    # Where all share a user, a limit of the user's would let one starve the others: the cgroup's.
    own = RLIMITS if "RES-3" not in daemon.degraded else {**RLIMITS, "NPROC": None}
    names = [name for name, limit in own.items() if limit]
    assert inside(raised, names) == {name: own[name] for name in names}


def test_res_3_descriptors_end_at_a_thousand(inside):
    def open_until_refused():
        import os

        opened = []
        try:
            while True:
                opened.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as error:
            return [error.errno, opened[-1]]
        finally:
            for descriptor in opened:
                os.close(descriptor)

    assert inside(open_until_refused) == [24, 1_023]


@pytest.mark.promise("RES-3")
def test_res_3_what_the_kernel_counts_by_user_is_not_a_neighbours(deploy, invoke):
    """Instances of inotify, and queued signals: each environment exhausts its own."""
    source = """
        import ctypes, os
        libc, held = ctypes.CDLL(None), []

        def handler(event, context):
            while (descriptor := libc.inotify_init()) >= 0 and len(held) < 1_000:
                held.append(descriptor)
            return len(held)
    """
    first, second = deploy(source), deploy(source)
    number = invoke(first).payload
    assert number > 0
    assert invoke(second).payload == number


# --- RES-4: cgroups are out of reach ---


def test_res_4_no_cgroup_can_be_seen_or_mounted(inside):
    seen = [line.split(":", 2) for line in inside(read, "/proc/self/cgroup").splitlines()]
    limited = {path for _, controllers, path in seen if not controllers.startswith("name=")}
    assert limited <= {"/"}
    assert [path for path in inside(mounts) if path.startswith("/sys")] == []
    assert "sys" not in inside(listed, "/") or inside(listed, "/sys") == []


@pytest.mark.parametrize(
    "path",
    [
        "/sys/fs/cgroup/memory/release_agent",
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup/memory.max",
        "/proc/1/root/sys/fs/cgroup/memory.max",
        "/proc/1/oom_score_adj",
        "/proc/self/oom_score_adj",
    ],
)
def test_res_4_nobody_leaves_or_loosens_a_cgroup(inside, path):
    refused(inside, write, path, "-1000", also=[2])


# --- RES-5: what is printed is bounded ---


def test_res_5_what_a_function_prints_without_end_fills_neither_disk_nor_daemon(
    daemon, deploy, invoke
):
    source = """
        import os

        def handler(event, context):
            line = b"x" * (1 << 20)
            for _ in range(event):
                os.write(1, line)
            os.write(1, b"\\nlast\\n")
    """
    name = deploy(source, Timeout=60 * PATIENCE)
    process = psutil.Process(daemon.process.pid)
    before = process.memory_info().rss
    answer = invoke(name, 48)
    assert answer.error is None
    assert len(answer.log) == 4_096
    assert "\nlast\nEND" in answer.log
    files = [path for path in (daemon.state_dir / "logs").rglob("*") if name in str(path)]
    assert MIB < sum(path.stat().st_size for path in files) <= LOG_BYTES_MAX
    assert process.memory_info().rss - before < 16 * MIB


# --- RES-6: processor time ---


@pytest.mark.promise("RES-6")
def test_res_6_a_small_function_gets_its_share_and_no_more(deploy, invoke):
    window_s = 1.0 * min(PATIENCE, 4)
    name = deploy(FUNCTIONS / "spinner", MemorySize=256, Timeout=60 * PATIENCE)

    def used_s():
        since = time.monotonic() + 0.1 * PATIENCE
        return invoke(name, {"from": since, "until": since + window_s}).payload

    used_s()  # A new environment is lent processor time.
    assert used_s() < 1.5 * window_s * 256 / 1_769 + 0.1


@pytest.mark.promise("RES-6")
def test_res_6_a_neighbour_is_served_while_others_spin(daemon, deploy, invoke):
    source = """
        import os, signal

        def handler(event, context):
            for _ in range(event):
                if os.fork() == 0:
                    while True:
                        pass
            return os.getpid()
    """
    spinner, quiet = deploy(source), deploy(source)
    assert invoke(spinner, 4 * (os.cpu_count() or 1)).error is None
    first = invoke(quiet, 0)
    assert first.error is None
    assert [invoke(quiet, 0).payload for _ in range(20)] == [first.payload] * 20
