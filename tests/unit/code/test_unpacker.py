"""What an attacker has who has taken over the unpacker: the same confinement, then an attack.

As root, and as an ordinary user with a user namespace.
"""
# ruff: noqa: PTH208  names are wanted, not paths

import ctypes
import inspect
import json
import os
import resource
import socket
import textwrap
from pathlib import Path

import pytest

from lambdad.code import unpacker, unpacking
from lambdad.model import limits
from lambdad_sandbox import steps

pytestmark = pytest.mark.root

NOBODY = 65_534

# The attack stands in the same process, and what it needs is imported before.
BEGINNING = """
import codecs, ctypes, json, os, resource, socket
from lambdad.code import unpacker
codecs.lookup("cp437")
"""
AS_NOBODY = f"""
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
ctypes.CDLL(None).prctl(4, 1)  # as a process that was started by this user is
"""
WITHOUT_FILTER = """
whole = unpacker.plan
unpacker.plan = lambda **how: whole(**how)[:-1]
"""
ENOENT, EPERM, ENOSYS = "E 2", "E 1", "E 38"


def tried(call, *arguments):
    """What a call gives, or the number of its error."""
    try:
        return call(*arguments)
    except OSError as error:
        return f"E {error.errno}"
    except ValueError as error:  # so says setrlimit
        return str(error)


@pytest.fixture(params=["root", "user"])
def attack(request, tmp_path, tree, monkeypatch):
    """Runs a function in a confined process; gives what it returns, as JSON has it."""
    children = []

    def start(function, *, filtered=True):
        source = inspect.getsource(tried) + textwrap.dedent(inspect.getsource(function))
        program = BEGINNING + (AS_NOBODY if request.param == "user" else "")
        program += "" if filtered else WITHOUT_FILTER
        program += f"unpacker.confine()\n{source}\n"
        program += f"os.write(1, json.dumps({function.__name__}()).encode() + b'\\n')\n"
        program += "os.read(0, 1)\nos._exit(0)\n"  # wait to be looked at
        monkeypatch.setattr(unpacking, "_PROGRAM", program)
        if request.param == "user":
            os.chown(tree, NOBODY, NOBODY)
        stdin, held = os.pipe2(os.O_CLOEXEC)
        heard, says = os.pipe2(os.O_CLOEXEC)
        directory = os.open(tree, os.O_RDONLY | os.O_CLOEXEC)
        pid = unpacking._spawn(stdin, says, directory)
        for descriptor in (stdin, says, directory):
            os.close(descriptor)
        children.append((pid, held, heard))
        said = os.read(heard, 65_536)
        assert said, "the attacker was not even started: its standard error says why"
        start.pid = pid
        return json.loads(said)

    yield start
    for pid, held, heard in children:
        os.close(held)
        os.close(heard)
        os.waitpid(pid, 0)


def nothing():
    return None


def status_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return dict(line.split(":\t", 1) for line in lines)


def test_seen_from_outside_it_has_no_right_left(attack):
    attack(nothing)
    status = status_of(attack.pid)
    kinds = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
    assert {int(status[kind], 16) for kind in kinds} == {0}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    for kind in ("mnt", "net", "ipc", "uts"):
        own = Path(f"/proc/self/ns/{kind}").readlink()
        assert Path(f"/proc/{attack.pid}/ns/{kind}").readlink() != own
    assert os.getsid(attack.pid) == attack.pid


def test_seen_from_outside_its_world_is_the_tree(attack, tree):
    (tree / "mark").touch()
    attack(nothing)
    process = Path(f"/proc/{attack.pid}")
    (mount,) = (process / "mountinfo").read_text().splitlines()
    assert mount.split()[4] == "/"
    assert {"nosuid", "nodev", "noexec"} <= set(mount.split()[5].split(","))
    assert os.listdir(process / "root") == ["mark"]
    assert sorted(os.listdir(process / "fd")) == ["0", "1", "2"]
    assert (process / "fd/2").readlink() == Path(os.devnull)
    assert (process / "environ").read_bytes() == b""


def test_seen_from_outside_its_limits_are_in_force(attack):
    attack(nothing)
    lines = Path(f"/proc/{attack.pid}/limits").read_text().splitlines()
    soft = {line[:26].strip(): line[26:].split()[0] for line in lines}
    expected = {
        "Max address space": limits.unpack_memory_bytes_max,
        "Max file size": limits.unzipped_bytes_max,
        "Max cpu time": limits.unpack_cpu_s_max,
        "Max processes": 0,
        "Max core file size": 0,
    }
    assert {name: soft[name] for name in expected} == {
        name: str(value) for name, value in expected.items()
    }


def test_files_outside_are_not_there(attack):
    def read_files():
        names = ("/etc/passwd", "../../../../etc/passwd", "/proc/self/environ", "/dev/null")
        return [tried(os.open, name, os.O_RDONLY) for name in names]

    assert attack(read_files) == [ENOENT] * 4


def test_other_processes_are_out_of_reach(attack):
    def reach_processes():
        libc = ctypes.CDLL(None, use_errno=True)

        def raw(*arguments):
            return libc.syscall(*arguments) and f"E {ctypes.get_errno()}"

        return [
            tried(os.kill, os.getppid(), 0),
            tried(os.pidfd_open, 1),
            tried(os.sched_setaffinity, os.getppid(), {0}),
            tried(resource.prlimit, os.getppid(), resource.RLIMIT_CORE),
            tried(os.fork),
            tried(os.execv, "/proc/self/exe", ["x"]),
            raw(101, 16, os.getppid(), 0, 0),
        ]

    assert attack(reach_processes) == [ENOSYS] * 7


def test_no_socket_no_mount_no_namespace_no_device(attack):
    def make_things():
        return [
            tried(socket.socket),
            tried(socket.socketpair),
            tried(unpacker.syscalls.mount, "none", "/", "tmpfs", 0),
            tried(unpacker.syscalls.unshare, unpacker.syscalls.CLONE_NEWUSER),
            tried(os.chroot, "/"),
            tried(os.mkfifo, "/fifo"),
            tried(os.link, "/a", "/b"),
            tried(os.chown, "/", 1, 1),
        ]

    assert attack(make_things) == [ENOSYS] * 8


def test_without_the_filter_the_rest_still_holds(attack):
    def escape():
        def connect():
            with socket.socket() as client:
                client.connect(("127.0.0.1", 22))

        return [
            os.listdir("/"),
            os.listdir("/.."),
            tried(os.chroot, "/"),
            tried(unpacker.syscalls.mount, "none", "/", "tmpfs", 0),
            tried(os.mknod, "/null", 0o20666, 0x103),
            tried(os.setuid, 1),
            tried(resource.setrlimit, resource.RLIMIT_CORE, (1, 1)),
            tried(connect),
        ]

    seen = attack(escape, filtered=False)
    assert seen[:5] == [[], [], EPERM, EPERM, EPERM]
    assert seen[5] in {EPERM, "E 22"}  # 22: the user namespace has no such uid.
    assert seen[6:] == ["not allowed to raise maximum limit", "E 101"]


def test_memory_and_files_are_bounded(attack, tree):
    def take_much():
        def write_far():
            file = os.open("/large", os.O_WRONLY | os.O_CREAT)
            try:
                os.lseek(file, 262_144_000, os.SEEK_SET)
                return os.write(file, b"x")
            finally:
                os.close(file)

        try:
            taken = len(bytes(600 * 1024 * 1024))
        except MemoryError:
            taken = "MemoryError"
        opened = [tried(os.open, "/", os.O_RDONLY) for _ in range(130)]
        for descriptor in opened:
            if isinstance(descriptor, int):
                os.close(descriptor)
        return [taken, opened[-1], tried(write_far)]

    assert attack(take_much) == ["MemoryError", "E 24", "E 27"]
    assert (tree / "large").stat().st_size == 0


def test_what_it_makes_belongs_to_the_daemons_user(attack, tree):
    def make_file():
        os.close(os.open("/file", os.O_WRONLY | os.O_CREAT, 0o600))

    attack(make_file)
    assert (tree / "file").stat().st_uid == tree.stat().st_uid


def test_the_user_namespace_comes_first_and_the_filter_last():
    privileged, ordinary = unpacker.plan(privileged=True), unpacker.plan(privileged=False)
    assert steps.NewUserNamespace(0, 0) not in privileged
    assert set(ordinary) - set(privileged) == {steps.NewUserNamespace(0, 0)}
    names = [type(step).__name__ for step in ordinary]
    assert names.index("NewUserNamespace") < names.index("NewMountNamespace")
    assert names[-4:] == ["NewKeyring", "DieWithParent", "NoNewPrivileges", "OnlyUnpacking"]
    assert all(step.describe() for step in ordinary)
