"""Clones of a runtime by a real keeper: what they have in common, and what they never have."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import psutil
import pytest

from lambdad_sandbox.confinement import ORIGINAL_PID
from lambdad_sandbox.messages import Forked, ProcessExited

pytestmark = pytest.mark.root

NOTHING = ["0000000000000000"]
KINDS = ("mnt", "ipc", "uts", "net", "pid", "cgroup")
LIES_STILL = "say('on'); time.sleep(1000)"


def namespaces(pid):
    return {kind: Path(f"/proc/{pid}/ns/{kind}").readlink() for kind in KINDS}


def assert_confined(runtime, uid):
    status = runtime.status
    assert {name: status[name] for name in status if name.startswith("Cap")} == {
        "CapInh": NOTHING, "CapPrm": NOTHING, "CapEff": NOTHING, "CapBnd": NOTHING,
        "CapAmb": NOTHING,
    }  # fmt: skip
    assert (status["NoNewPrivs"], status["Seccomp"]) == (["1"], ["2"])
    assert (status["Uid"], status["Gid"]) == ([str(uid)] * 4, ["990"] * 4)
    assert status["Groups"] == []
    assert status["Seccomp_filters"] == ["1"]


# --- rights ---


def test_the_original_is_a_guest_before_it_runs(stage):
    stage.keep("say(os.getuid(), os.getpid(), os.environ['WHO'])")
    sandbox = stage.sandbox()
    original = stage.fork_into(sandbox, WHO="me")
    assert isinstance(original.answer, Forked)
    assert original.line() == f"{sandbox.uid} {ORIGINAL_PID} me"
    assert original.line() == "waits"
    assert_confined(original, sandbox.uid)
    assert namespaces(original.pid) == namespaces(sandbox.init)


def test_a_clone_is_a_guest_in_its_own_sandbox_with_a_pid_of_its_own(stage):
    stage.suspended(after="say(os.getpid(), os.getuid()); time.sleep(1000)")
    sandbox = stage.sandbox()
    clone = stage.fork_into(sandbox)
    pid, uid = map(int, clone.line().split())
    assert pid != ORIGINAL_PID
    assert uid == sandbox.uid
    assert_confined(clone, sandbox.uid)
    assert namespaces(clone.pid) == namespaces(sandbox.init)
    limits = Path(f"/proc/{clone.pid}/limits").read_text()
    assert "Max open files            1024                 1024" in limits


def test_clones_have_nothing_open_that_is_the_keepers(stage):
    original = stage.suspended(after=LIES_STILL)
    clone = stage.clone()
    assert clone.line() == "on"
    leads, led = targets(clone), targets(original)
    assert leads.keys() == led.keys()
    assert leads.pop("0") == "/dev/null"
    outputs = {number: leads.pop(number) for number in ("1", "2", "62")}
    assert len(set(outputs.values())) == 1
    assert len(set(leads.values())) == 1  # one socket, at the other end of which is nobody
    assert set(leads.values()).isdisjoint(led.values())
    assert all(target.startswith("socket:") for target in leads.values())


def targets(runtime):
    """What each of its descriptors leads to."""
    return {
        entry.name: str(entry.readlink()) for entry in Path(f"/proc/{runtime.pid}/fd").iterdir()
    }


def test_a_clone_may_do_no_more_than_its_filter_lets_it(stage):
    stage.suspended(after="say(libc.unshare(0x10000000), ctypes.get_errno()); time.sleep(1000)")
    assert stage.clone().line() == "-1 1"


# --- memory, descriptors and the rest ---


def test_what_a_clone_writes_is_its_own(stage):
    before = "hoard = [object() for _ in range(100_000)]; word = bytearray(b'first')"
    after = "said = bytes(word); word[:] = b'other'; say(said.decode(), len(hoard), id(word))"
    stage.suspended(before, after)
    answers = [stage.clone().line() for _ in range(2)]
    assert answers[0] == answers[1]
    assert answers[0].startswith("first 100000 ")


def test_sockets_of_the_original_are_dead_in_a_clone(stage):
    before = "one, other = socket.socketpair(); one.send(b'unread')"
    after = """
        def sent():
            try:
                return one.send(b"more")
            except BrokenPipeError:
                return "broken"
        say(other.recv(16), sent())
    """
    stage.suspended(before, after)
    assert stage.clone().line() == "b'' broken"


def test_files_are_opened_again_where_they_were_read(stage):
    before = "os.chdir('/'); file = os.open('/etc/hostname', os.O_RDONLY); os.read(file, 2)"
    after = "say(os.read(file, 1), os.lseek(file, 0, os.SEEK_CUR), os.getcwd())"
    stage.suspended(before, after)
    hostname = Path("/etc/hostname").read_bytes()
    assert [stage.clone().line() for _ in range(2)] == [f"{hostname[2:3]!r} 3 /"] * 2


def test_umask_signal_mask_and_handlers_are_kept(stage):
    before = """
        os.umask(0o027)
        signal.signal(signal.SIGUSR1, lambda *_: say("handled"))
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    """
    after = """
        say(oct(os.umask(0)), *signal.pthread_sigmask(signal.SIG_BLOCK, []))
        os.kill(os.getpid(), signal.SIGUSR1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
    """
    stage.suspended(before, after)
    clone = stage.clone()
    assert clone.line() == "0o27 10"
    assert clone.line() == "handled"


def test_a_clone_has_threads_and_knows_its_own_like_any_process(stage):
    before = "signal.signal(signal.SIGUSR1, lambda *_: say('heard'))"
    after = """
        thread = threading.Thread(target=say, args=("runs",))
        thread.start()
        thread.join()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
    """
    stage.suspended(before, after)
    clone = stage.clone()
    assert [clone.line(), clone.line()] == ["runs", "heard"]


def test_as_many_descriptors_as_a_function_may_well_have(stage):
    before = """
        many = [socket.socket() for _ in range(300)]
        files = [os.open("/etc/hostname", os.O_RDONLY) for _ in range(200)]
    """
    stage.suspended(before, "say(len(os.listdir('/proc/self/fd')) > 500, os.read(files[-1], 1))")
    assert stage.clone().line() == f"True {Path('/etc/hostname').read_bytes()[:1]!r}"


# --- ends ---


def test_the_end_of_a_clone_is_told_with_its_status(stage):
    stage.suspended(after="os._exit(7)")
    assert stage.clone().ended() == ProcessExited("runtime", 7 << 8)


def test_a_sandbox_can_end_though_its_runtime_is_the_keepers_child(stage):
    """A pid namespace waits for all that were in it, so the keeper has to reap."""
    stage.suspended(after=LIES_STILL)
    sandbox = stage.sandbox()
    clone = stage.fork_into(sandbox)
    assert clone.line() == "on"
    os.kill(clone.pid, signal.SIGKILL)
    assert clone.ended() == ProcessExited("runtime", signal.SIGKILL)
    init = psutil.Process(sandbox.init)
    init.kill()
    assert psutil.wait_procs([init], 20)[1] == []


@pytest.mark.parametrize("end", ["killed", "channel", "twin"])
def test_with_its_keeper_everything_of_a_template_ends(stage, end):
    original = stage.suspended(after=LIES_STILL)
    clone = stage.clone()
    assert clone.line() == "on"
    twin = stage.twin
    if end == "killed":
        stage.process.kill()
    elif end == "channel":
        stage.end.close()
    else:
        twin.kill()
    stage.process.wait(20)
    original.wait_ended()
    clone.wait_ended()
    assert psutil.wait_procs([twin], 20)[1] == []


def test_a_sandbox_that_is_gone_costs_nothing_but_itself(stage):
    stage.suspended(after=LIES_STILL)
    gone = stage.sandbox()
    init = psutil.Process(gone.init)
    init.kill()
    psutil.wait_procs([init], 20)
    failed = stage.fork_into(gone)
    assert failed.answer.step == "join the pid namespace"
    assert stage.clone().line() == "on"


# --- what cannot be had twice ---

REFUSED = {
    "2 threads": "threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()",
    "other processes": "os.fork() or time.sleep(1000)",
    "other processes, though its parent has ended": """
        if os.fork() == 0:
            if os.fork() == 0:
                time.sleep(1000)
            os._exit(0)
        os.wait()
    """,
    "mapped /dev/zero": "shared = mmap.mmap(-1, 4096)",
    "mapped /memfd": """
        file = os.memfd_create("any")
        os.ftruncate(file, 4096)
        shared = mmap.mmap(file, 4096)
    """,
    "is open to /memfd": "file = os.memfd_create('any')",
    "anon_inode:[eventfd]": "file = libc.eventfd(0, 0)",
    "anon_inode:[eventpoll]": "file = libc.epoll_create1(0)",
    "pipe:": "ends = os.pipe()",
    "(deleted)": "file = open('/tmp/a', 'w'); os.unlink('/tmp/a')",
    "/tmp/fifo": "os.mkfifo('/tmp/fifo'); file = os.open('/tmp/fifo', os.O_RDWR)",
    "timers": "libc.syscall(222, 1, None, ctypes.byref(ctypes.c_int()))",
    "resource limits": "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))",
    "open /tmp/a again": "file = open('/tmp/a', 'w'); os.chmod('/tmp/a', 0)",
    "working directory": "os.mkdir('/tmp/a'); os.chdir('/tmp/a'); os.rmdir('/tmp/a')",
    "descriptors open": "files = [os.dup(1) for _ in range(1_000)]",
    "another program": "say('waits'); os.execv('/bin/sleep', ['sleep', '1000'])",
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_cannot_be_had_twice_is_a_reason_by_name(stage, reason):
    said = stage.refusal(REFUSED[reason])
    assert reason.partition(",")[0] in said


def test_files_in_a_tmp_that_is_in_memory_are_a_reason(stage):
    stage.keep("open('/tmp/a', 'w').close()")
    stage.begin()
    assert "written to /tmp" in stage.suspend(tmp_in_memory=True).refusal


def test_one_that_has_not_begun_cannot_be_suspended(stage):
    stage.keep()
    assert stage.suspend().refusal == "it has not begun"
