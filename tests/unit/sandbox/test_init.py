"""PID 1 in namespaces of its own, unconfined: what it does with what it is told."""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import lambdad_sandbox
from lambdad_sandbox import channel
from lambdad_sandbox.messages import (
    LOG_FD,
    Become,
    Emptied,
    Entered,
    KillAll,
    OpenSocket,
    ProcessExited,
    ProcessStarted,
    SignalProcess,
    SocketOpened,
    Spawned,
    SpawnFailed,
    StartProcess,
)

pytestmark = pytest.mark.root

PATIENCE_S = 30
# A zygote in short: it clones, and it waits for what it has cloned. What it has loaded as the
# client tells what it finds.
CLONES = f"""
import os, signal, socket, sys, types
sys.path[:0] = {[str(Path(lambdad_sandbox.__file__).parents[1]), *sys.path]!r}
from lambdad_sandbox import steps, syscalls
from lambdad_sandbox.init import Init

def tell():
    ours = [name for name in sys.modules if name.startswith("lambdad_sandbox")]
    found = os.environ["WHO"], os.getcwd(), len(os.environ), os.getpgrp() == os.getpid(), ours
    print(*found, *os.listdir("/proc/self/fd"), flush=True)
    if os.environ["WHO"] == "waits":
        signal.pause()

client = sys.modules["client"] = types.ModuleType("client")
client.__file__, client.rehearse, client.main = "client.py", lambda: None, tell
control, parked = int(sys.argv[1]), sys.argv[2] == "parked"
confine = eval(sys.argv[3])
pid = syscalls.clone3(syscalls.CLONE_NEWPID | syscalls.CLONE_NEWNET, signal.SIGCHLD)
if pid == 0:
    assert os.getpid() == 1
    try:
        os.environ.clear()
        Init(socket.socket(fileno=control), "client", confine).run(None, parked=parked)
    finally:
        os._exit(1)
os.close(control)
os.waitpid(pid, 0)
"""


class Told:
    """The daemon's end of the channel."""

    def __init__(self, end):
        self.end = end
        end.settimeout(PATIENCE_S)

    def tell(self, message, descriptors=()):
        channel.send(self.end, message, descriptors)

    def start(self, name, *command, descriptors=(("stdout", 1),), environ=None):
        names, numbers = zip(*descriptors, strict=True)
        self.tell(StartProcess(name, command, environ or {}, "/", names), numbers)

    def shell(self, name, script, **more):
        self.start(name, "/bin/sh", "-c", script, **more)

    def hear(self):
        message, descriptors = channel.receive(self.end)
        return (message, *descriptors)


@contextlib.contextmanager
def cloned(kind, confine="()"):
    """The daemon's end of the channel of one that is nobody's yet."""
    ours, theirs = channel.pair()
    with ours, theirs:
        command = [sys.executable, "-c", CLONES, str(theirs.fileno()), kind, confine]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()])
        theirs.close()
        try:
            yield Told(ours)
        finally:
            ours.close()  # Init ends with the channel, and its namespace with it.
            assert process.wait(PATIENCE_S) == 0


@contextlib.contextmanager
def standing_by(kind):
    with cloned(kind) as told:
        message, *pidfds = told.hear()
        assert message == Spawned(("init", "runtime") if kind == "parked" else ("init",))
        for pidfd in pidfds:
            os.close(pidfd)
        told.tell(Become((), ()))
        yield told


@pytest.fixture(params=["bare", "parked"])
def init(request):
    """One that stands, with nobody in it, or with a runtime that stands by."""
    with standing_by(request.param) as told:
        yield told


@pytest.fixture
def parked():
    """One in which a runtime stands by."""
    with standing_by("parked") as told:
        yield told


@pytest.fixture
def standing(init):
    """The same, after its first order, which was a process that ended at once."""
    init.start("first", "/bin/true")
    assert init.hear() == (Entered(),)
    assert init.hear() == (ProcessStarted("first", 0),)
    assert init.hear() == (ProcessExited("first", 0),)
    return init


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def read_to_the_end(pipe):
    """What everybody wrote until the last of them ended."""
    os.close(pipe[1])
    said = b""
    while select.select([pipe[0]], [], [], PATIENCE_S)[0] and (data := os.read(pipe[0], 65_536)):
        said += data
    return said


def read_some(pipe):
    assert select.select([pipe[0]], [], [], PATIENCE_S)[0]
    return os.read(pipe[0], 65_536)


def test_the_first_order_is_obeyed_before_it_is_said_to_stand(init):
    init.shell("one", "exit 3")
    assert [init.hear()[0] for _ in range(3)] == [
        Entered(),
        ProcessStarted("one", 0),
        ProcessExited("one", 3 << 8),
    ]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("stdout",), [b"outerr", b"", b""]),
        (("stdout", "stderr"), [b"out", b"err", b""]),
        (("stdout", "log"), [b"outerr", b"log", b""]),
        (("log", "stderr", "stdout"), [b"log", b"err", b"out"]),
    ],
)
def test_descriptors_are_given_by_their_names(standing, names, expected):
    pipes = [os.pipe() for _ in range(3)]
    script = f"printf out; printf err >&2; (printf log >/proc/self/fd/{LOG_FD}) 2>&-; :"
    given = tuple(zip(names, [end for _, end in pipes], strict=False))
    standing.shell("one", script, descriptors=given)
    assert [read_to_the_end(pipe) for pipe in pipes] == expected
    for read_end, _ in pipes:
        os.close(read_end)


def test_a_process_has_what_it_was_given_and_nothing_else(standing, pipe):
    script = "import os; print(*os.listdir('/proc/self/fd'), os.getpgrp() == os.getpid())"
    descriptors = (("stdout", pipe[1]), ("log", pipe[1]))
    standing.start("one", sys.executable, "-I", "-S", "-c", script, descriptors=descriptors)
    shown, own_group = read_to_the_end(pipe).decode().rsplit(" ", 1)
    # Number 3 is the folder that is being listed.
    assert sorted(shown.split()) == sorted(["0", "1", "2", "3", str(LOG_FD)])
    assert own_group == "True\n"


@pytest.mark.parametrize(
    ("content", "mode", "errno"),
    [
        (None, 0, 2),
        ("#!/bin/sh\n", 0o644, 13),
        ("#!/none/such\n", 0o755, 2),
        ("#!/bin/sh\r\n", 0o755, 2),
        ("no interpreter\n", 0o755, 8),
    ],
)
def test_what_cannot_be_executed_is_told_and_never_ends(standing, tmp_path, content, mode, errno):
    command = tmp_path / "command"
    if content is not None:
        command.write_text(content)
        command.chmod(mode)
    standing.start("extension:x", str(command))
    assert standing.hear() == (ProcessStarted("extension:x", errno),)
    standing.shell("next", "exit 0")
    assert standing.hear() == (ProcessStarted("next", 0),)
    assert standing.hear() == (ProcessExited("next", 0),)


def test_many_are_started_without_waiting_for_any(standing, pipe):
    """Each of them ends when the last one of them has been started."""
    names = [f"extension:{number}" for number in range(10)]
    for name in names[:-1]:
        standing.shell(
            name,
            f"read line </proc/self/fd/{LOG_FD}",
            descriptors=(("stdout", 1), ("log", pipe[0])),
        )
    standing.shell(names[-1], "yes | head -n 9", descriptors=(("stdout", pipe[1]),))
    heard = {standing.hear()[0] for _ in range(20)}
    assert {ProcessStarted(name, 0) for name in names} < heard
    assert {ProcessExited(name, 0) for name in names} < heard


def test_who_stops_all_others_does_not_stop_init(standing, pipe):
    """Some are stopped before they are what they are to be: they never say so, nor end."""
    stops = (
        "import os, signal\nprint('on', flush=True)\nfor _ in range(10**7):\n"
        "    try: os.kill(-1, signal.SIGSTOP)\n    except ProcessLookupError: pass"
    )
    standing.start("bad", sys.executable, "-c", stops, descriptors=(("stdout", pipe[1]),))
    assert read_some(pipe) == b"on\n"
    names = {"bad", *(f"good {number}" for number in range(20))}
    for name in names - {"bad"}:
        standing.shell(name, "exit 0")
    standing.tell(KillAll())
    heard = []
    while Emptied() not in heard:
        heard.append(standing.hear()[0])
    assert {message.name for message in heard if isinstance(message, ProcessExited)} == names


def test_a_signal_reaches_the_whole_group_and_nobody_else(standing, pipe):
    script = "sleep 100 & echo started; wait"
    for name in ("one", "other"):
        standing.shell(name, script, descriptors=(("stdout", pipe[1]),))
        assert standing.hear() == (ProcessStarted(name, 0),)
        assert read_some(pipe) == b"started\n"
    standing.tell(SignalProcess("one", signal.SIGTERM))
    assert standing.hear() == (ProcessExited("one", signal.SIGTERM),)
    standing.tell(SignalProcess("other", signal.SIGKILL))
    assert standing.hear() == (ProcessExited("other", signal.SIGKILL),)
    assert read_to_the_end(pipe) == b""  # Also those in the background have ended.


def test_a_signal_right_behind_the_start_is_not_lost(standing):
    standing.shell("one", "sleep 100")
    standing.tell(SignalProcess("one", signal.SIGKILL))
    assert standing.hear() == (ProcessStarted("one", 0),)
    assert standing.hear() == (ProcessExited("one", signal.SIGKILL),)


def test_one_that_left_its_group_is_signalled_all_the_same(standing, pipe):
    script = (
        "import os, time\n"
        "if (other := os.fork()) == 0: os.setpgid(0, 0); time.sleep(100)\n"
        "while os.getpgid(other) != other: pass\n"
        "os.setpgid(0, other); print('left', flush=True); time.sleep(100)"
    )
    standing.start("one", sys.executable, "-c", script, descriptors=(("stdout", pipe[1]),))
    assert standing.hear() == (ProcessStarted("one", 0),)
    assert read_some(pipe) == b"left\n"
    standing.tell(SignalProcess("one", signal.SIGTERM))
    assert standing.hear() == (ProcessExited("one", signal.SIGTERM),)


def test_a_signal_for_one_that_is_gone_or_never_was_does_nothing(standing):
    standing.tell(SignalProcess("first", signal.SIGKILL))
    standing.tell(SignalProcess("none", signal.SIGKILL))
    standing.tell(KillAll())
    assert standing.hear() == (Emptied(),)


def test_everything_is_ended_and_reported_once(standing):
    names = {"one", "other"}
    for name in names:
        standing.shell(name, "trap '' TERM; sleep 100")
    standing.tell(KillAll())
    started = {ProcessStarted(name, 0) for name in names}
    ended = {ProcessExited(name, signal.SIGKILL) for name in names}
    heard = [standing.hear()[0] for _ in range(5)]
    assert heard[-1] == Emptied()
    assert set(heard[:-1]) == started | ended


def test_a_socket_belongs_to_the_network_inside(standing, pipe):
    listens = (
        "import socket; server = socket.create_server(('127.0.0.1', 9001)); print('up', flush=True)"
        "; server.accept()[0].send(b'inside')"
    )
    standing.start("server", sys.executable, "-c", UP + listens, descriptors=(("stdout", pipe[1]),))
    assert standing.hear() == (ProcessStarted("server", 0),)
    assert read_some(pipe) == b"up\n"
    standing.tell(OpenSocket(5))
    message, number = standing.hear()
    assert message == SocketOpened(5, 0)
    with socket.socket(fileno=number) as made:
        assert (made.family, made.type) == (socket.AF_INET, socket.SOCK_STREAM)
        made.settimeout(PATIENCE_S)
        made.connect(("127.0.0.1", 9001))
        assert made.recv(6) == b"inside"


UP = """
import fcntl, socket, struct
with socket.socket() as any_one:  # netdevice(7): SIOCSIFFLAGS, IFF_UP
    fcntl.ioctl(any_one, 0x8914, struct.pack("16sH", b"lo", 1))
"""


@pytest.mark.parametrize("kind", ["bare", "parked"])
def test_a_runtime_finds_its_own_world_and_nothing_of_inits(kind, pipe):
    with standing_by(kind) as init:
        given = (("stdout", pipe[1]), ("log", pipe[1]))
        init.start("runtime", descriptors=given, environ={"WHO": "me"})
        assert init.hear() == (Entered(),)
        assert init.hear() == (ProcessExited("runtime", 0),)
        who, directory, *world = read_to_the_end(pipe).decode().split()
    assert (who, directory) == ("me", "/")
    # One variable, a group of its own, none of our modules; number 3 is the folder being listed.
    assert world[:3] == ["1", "True", "[]"]
    assert sorted(world[3:]) == sorted(["0", "1", "2", "3", str(LOG_FD)])


def test_what_stands_by_is_seen_from_outside_to_be_confined_before_it_has_an_order():
    with cloned("parked", "(steps.NoNewPrivileges(), steps.DropCapabilities())") as told:
        message, init, runtime = told.hear()
        assert message == Spawned(("init", "runtime"))
        assert (status_of(init)["CapEff"], status_of(init)["NoNewPrivs"]) != (NOTHING, "1")
        assert (status_of(runtime)["CapEff"], status_of(runtime)["NoNewPrivs"]) == (NOTHING, "1")
        for pidfd in (init, runtime):
            os.close(pidfd)


NOTHING = "0000000000000000"


def status_of(pidfd):
    """What proc(5) says of a process."""
    pid = fields_of(f"/proc/self/fdinfo/{pidfd}")["Pid"]
    return fields_of(f"/proc/{pid}/status")


def fields_of(path):
    lines = (line.partition(":") for line in Path(path).read_text(encoding="utf-8").splitlines())
    return {name: value.strip() for name, _, value in lines}


def test_what_cannot_be_confined_ahead_is_told_with_its_step():
    with cloned("parked", "(steps.PivotRoot('/none'),)") as told:
        assert told.hear() == (SpawnFailed("make /none the root", 2),)


def test_the_second_runtime_is_forked_when_it_is_asked_for(parked, pipe):
    parked.start("runtime", descriptors=(("stdout", pipe[1]),), environ={"WHO": "waits"})
    assert parked.hear() == (Entered(),)
    assert read_some(pipe).startswith(b"waits")
    parked.tell(KillAll())
    assert parked.hear() == (ProcessExited("runtime", signal.SIGKILL),)
    assert parked.hear() == (Emptied(),)
    parked.start("runtime", descriptors=(("stdout", pipe[1]),), environ={"WHO": "second"})
    assert parked.hear() == (ProcessExited("runtime", 0),)
    assert read_to_the_end(pipe).splitlines()[-1].startswith(b"second ")


def test_one_that_was_killed_while_it_stood_by_is_replaced_and_not_reported(parked, pipe):
    """An extension that fails ends everybody, also who has not begun."""
    parked.shell("extension:x", "exit 1")
    assert [parked.hear()[0] for _ in range(3)] == [
        Entered(),
        ProcessStarted("extension:x", 0),
        ProcessExited("extension:x", 1 << 8),
    ]
    parked.tell(KillAll())
    assert parked.hear() == (Emptied(),)
    parked.start("runtime", descriptors=(("stdout", pipe[1]),), environ={"WHO": "me"})
    assert parked.hear() == (ProcessExited("runtime", 0),)
    assert read_to_the_end(pipe).startswith(b"me ")


def test_a_signal_reaches_a_runtime_that_stood_by(parked, pipe):
    parked.start("runtime", descriptors=(("stdout", pipe[1]),), environ={"WHO": "waits"})
    assert parked.hear() == (Entered(),)
    assert read_some(pipe).startswith(b"waits")
    parked.tell(SignalProcess("runtime", signal.SIGTERM))
    assert parked.hear() == (ProcessExited("runtime", signal.SIGTERM),)


def test_an_order_that_is_none_ends_it(init):
    init.tell(Entered())
    with contextlib.suppress(ConnectionError):
        assert init.hear() == (None,)
