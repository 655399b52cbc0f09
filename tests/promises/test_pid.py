"""PID: a function has processes of its own, and no others are there for it."""

from __future__ import annotations

import os

import pytest
from promises.deeds import call, open_for, read, refused, x86_64

PTRACE_ATTACH, PTRACE_SEIZE = 16, 0x4206


# --- PID-1: no process outside can be seen or signalled ---


def test_pid_1_a_function_sees_its_init_and_itself_and_no_other_process(inside):
    def processes():
        import os

        seen = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
        return [os.getppid(), os.getpid(), seen]

    parent, own, seen = inside(processes)
    assert parent == 1
    assert own > 1
    assert seen == [1, own]


def test_pid_1_the_pids_of_the_host_mean_nothing(daemon, inside, neighbour):
    def within_reach(pids):
        import os

        attempts = [
            lambda pid: os.kill(pid, 0),
            lambda pid: os.killpg(pid, 0),
            os.pidfd_open,
            os.getsid,
            os.sched_getaffinity,
            lambda pid: os.listdir(f"/proc/{pid}"),
            lambda pid: os.getpriority(os.PRIO_PROCESS, pid),
        ]
        found = []
        for pid in pids:
            for number, attempt in enumerate(attempts):
                try:
                    attempt(pid)
                except OSError:
                    continue
                found.append([pid, number])
        return found

    processes = [os.getpid(), daemon.process.pid, *(one.pid for one in daemon.descendants())]
    inner = {1, inside(own_pid)}
    assert inside(within_reach, [pid for pid in processes if pid not in inner]) == []


def own_pid():
    import os

    return os.getpid()


def signal_everybody(number):
    import contextlib
    import os

    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, number)
    return os.getpid()


@pytest.mark.parametrize("number", [9, 19, 15], ids=["KILL", "STOP", "TERM"])
def test_pid_1_a_signal_to_everybody_stays_inside(daemon, inside, invoke, neighbour, number):
    before = [process.pid for process in daemon.environments()], invoke(neighbour).payload["pid"]
    assert inside(signal_everybody, number) == inside(own_pid)
    assert [process.pid for process in daemon.environments()] == before[0]
    assert invoke(neighbour).payload["pid"] == before[1]


@pytest.mark.parametrize("number", [9, 19, 15, 6, 2, 1, 31, 64])
def test_pid_1_a_signal_to_init_does_nothing(inside, number):
    def signal_init(number):
        import os

        os.kill(1, number)
        return os.getpid()

    before = inside(own_pid)
    assert inside(signal_init, number) == before
    assert inside(own_pid) == before


# --- PID-2: no memory, environ or descriptor of another ---


@pytest.mark.parametrize("name", ["environ", "mem", "maps", "root", "cwd", "exe", "fd/0", "ns/mnt"])
def test_pid_2_init_is_a_closed_book(inside, name):
    refused(inside, open_for, f"/proc/1/{name}", "rb")


@pytest.mark.parametrize(
    "arguments",
    [
        ("ptrace", PTRACE_ATTACH, 1, None, None),
        ("ptrace", PTRACE_SEIZE, 1, None, None),
        ("ptrace", 0, 0, None, None),
        ("process_vm_readv", 1, None, 0, None, 0, 0),
        ("process_vm_writev", 1, None, 0, None, 0, 0),
    ],
    ids=["attach", "seize", "traceme", "readv", "writev"],
)
def test_pid_2_another_process_cannot_be_read_or_traced(inside, arguments):
    refused(inside, call, *arguments)


@x86_64
@pytest.mark.parametrize(
    "number", [438, 312, 440, 448], ids=["pidfd_getfd", "kcmp", "process_madvise", "mrelease"]
)
def test_pid_2_another_process_cannot_be_robbed_or_compared(inside, number):
    refused(inside, call, "syscall", number, 1, 1, 0, 0, 0)


def test_pid_2_nothing_of_the_daemons_environment_or_command_is_there(daemon, inside):
    assert str(daemon.state_dir) not in inside(read, "/proc/1/cmdline")
    text = inside(read, "/proc/self/environ") + str(inside(variables))
    assert "LAMBDAD" not in text
    for name in ("HOME", "USER", "VIRTUAL_ENV", "PWD"):
        assert f"{name}={os.environ.get(name, '?')}\0" not in text
    assert str(daemon.state_dir) not in text


def variables():
    import os

    return dict(os.environ)


def test_pid_2_a_neighbours_secret_is_not_in_ones_memory(inside, neighbour, secret):
    """What a zygote once held, all of its clones would hold."""

    def holds(halves):
        import re

        word = "".join(halves).encode()
        own = id(word), id(word) + 200
        with open("/proc/self/maps") as file:
            spans = [re.match("([0-9a-f]+)-([0-9a-f]+) r.*", line) for line in file]
        found = 0
        with open("/proc/self/mem", "rb", buffering=0) as memory:
            for span in filter(None, spans):
                start, end = (int(number, 16) for number in span.groups())
                try:
                    memory.seek(start)
                    text = memory.read(end - start)
                except (OSError, ValueError, OverflowError):
                    continue
                places = [start + one.start() for one in re.finditer(re.escape(word), text)]
                found += len([place for place in places if not own[0] <= place < own[1]])
                del text
        return found

    # The word is sent in two halves, and put together once: that one is not counted.
    assert inside(holds, [secret[:14], secret[14:]]) == 0


# --- PID-3: no descriptor is inherited ---


def descriptors():
    import os

    kinds = {}
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            kinds[name] = os.readlink(f"/proc/self/fd/{name}").partition(":")[0]
        except FileNotFoundError:  # The listing's own.
            continue
    return kinds


def test_pid_3_a_function_has_only_its_streams_and_its_connection_open(inside):
    kinds = inside(descriptors)
    streams = [kinds.pop(number) for number in ("0", "1", "2", "62")]  # The last is its log.
    assert streams == ["/dev/null", "pipe", "pipe", "pipe"]
    assert list(kinds.values()) == ["socket"]


def test_pid_3_a_program_has_only_its_streams_open(inside):
    def seen_by_a_program():
        import subprocess

        command = ["/bin/sh", "-c", "ls /proc/self/fd"]
        ran = subprocess.run(command, capture_output=True, close_fds=False, check=True)
        return ran.stdout.decode()

    assert inside(seen_by_a_program).split() == ["0", "1", "2", "3"]  # The fourth is ls's own.


def test_pid_3_no_descriptor_leads_to_a_folder(inside):
    def ways_out():
        import os

        found = []
        for number in range(1_024):
            try:
                found.append(os.open("..", os.O_RDONLY, dir_fd=number))
            except OSError:
                continue
        return found

    assert inside(ways_out) == []


def test_pid_3_the_connection_brings_no_descriptors(inside):
    """What init and the daemon speak over is not there to be read by the runtime."""

    def kinds_of_sockets():
        import os
        import socket
        import stat

        found = []
        for name in os.listdir("/proc/self/fd"):
            try:
                if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                    end = socket.socket(fileno=os.dup(int(name)))
                    found.append([end.family, end.type])
                    end.close()
            except OSError:
                continue
        return found

    assert inside(kinds_of_sockets) == [[2, 1]]  # AF_INET, SOCK_STREAM
