"""LIF: what one invocation does ends with it, and what one environment is ends with it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from scenario.package import zipped
from scenario.program import PATIENCE, STOP_S_MAX, wait_until_ended, watch


@pytest.fixture
def born(daemon):
    """Tells what environments, and all processes in them, there are since the test began."""
    before = set(daemon.environments())

    def processes():
        inits = [init for init in daemon.environments() if init not in before]
        return [one for init in inits for one in (init, *init.children(recursive=True))]

    return processes


# --- LIF-1: a timeout ends whatever is done ---

STUBBORN = """
    import os, signal, subprocess, time

    def handler(how, context):
        if how == "rest":
            return len([name for name in os.listdir("/proc") if name.isdigit()])
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
        if how == "stopped":
            os.kill(os.getpid(), signal.SIGSTOP)
        if how == "sessions":
            for _ in range(50):
                subprocess.Popen(["/usr/bin/setsid", "/bin/sleep", "1000"])
        if how == "forks":
            while True:
                try:
                    if os.fork():
                        os._exit(0)
                except OSError:
                    pass
        if how == "traps":
            for number in {*signal.valid_signals()} - {9, 19}:
                signal.signal(number, signal.SIG_IGN)
        while True:
            pass
"""


@pytest.mark.parametrize("how", ["blocked", "stopped", "sessions", "traps"])
def test_lif_1_a_timeout_ends_a_function_whatever_it_does(deploy, invoke, how):
    name = deploy(STUBBORN, Timeout=PATIENCE)
    answer = invoke(name, how)
    assert answer.payload["errorType"] == "Sandbox.Timedout"
    assert answer.lines[-1].endswith("\tStatus: timeout")
    assert invoke(name, "rest").payload == 2


def test_lif_1_a_function_that_is_never_where_it_was_is_ended_too(deploy, invoke):
    """A chain of processes, each of which ends when it has made the next."""
    name = deploy(STUBBORN, Timeout=PATIENCE)
    assert invoke(name, "forks").error == "Unhandled"
    assert invoke(name, "rest").payload == 2


# --- LIF-2: nothing survives its environment ---

LEAVER = """
    import os, subprocess, time

    def handler(event, context):
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(1000)
            os._exit(0)
        os.wait()
        subprocess.Popen(["/usr/bin/setsid", "/bin/sleep", "1000"])
        if event == "exit":
            os._exit(1)
        return len([name for name in os.listdir("/proc") if name.isdigit()])
"""


def test_lif_2_daemons_that_a_function_leaves_end_with_its_environment(daemon, born, invoke):
    name = daemon.deploy(LEAVER)
    assert invoke(name, "stay").payload >= 4
    processes = born()
    assert len(processes) >= 4
    ends = watch(processes)
    daemon.client.delete_function(FunctionName=name)
    wait_until_ended(ends)


def test_lif_2_what_a_failed_runtime_leaves_is_not_there_for_the_next(deploy, invoke):
    name = deploy(LEAVER)
    assert invoke(name, "exit").payload["errorType"] == "Runtime.ExitError"
    assert invoke(name, "stay").payload <= 4


def test_lif_2_nothing_is_left_of_a_daemon_that_is_killed(start):
    own = start()
    name = own.deploy(LEAVER)
    assert own.invoke(name, "stay").error is None
    ends = own.kill()
    left = own.leaves()
    again = start()
    wait_until_ended(ends)
    assert [leaf for leaf in left if leaf.exists()] == []
    assert again.mounts() == []
    again.stop()


# --- LIF-3: a crash is one failed invocation ---


@pytest.mark.parametrize(
    ("deed", "error_type"),
    [
        ("os._exit(7)", "Runtime.ExitError"),
        ("os.abort()", "Runtime.ExitError"),
        ("os.kill(os.getpid(), 9)", "Runtime.ExitError"),
        ("ctypes.string_at(0)", "Runtime.ExitError"),
        ("os.execv('/bin/false', ['false'])", "Runtime.ExitError"),
        ("[os.close(number) for number in range(1024)]", None),
        ("os.closerange(3, 1024)", None),
        ("sys.setrecursionlimit(10**9); (deep := lambda: deep())()", None),
        ("ctypes.CDLL(None).syscall(ctypes.c_long(0x40000000 + 39))", None),
    ],
)
def test_lif_3_a_crash_is_one_failed_invocation(deploy, invoke, deed, error_type):
    source = f"""
        import ctypes, os, sys

        def handler(event, context):
            if event == "crash":
                {deed}
            return "well"
    """
    name = deploy(source, Timeout=2 * PATIENCE)
    answer = invoke(name, "crash")
    assert answer.error == "Unhandled"
    assert answer.status == 200
    if error_type is not None:
        assert answer.payload["errorType"] == error_type
    assert invoke(name).payload == "well"


# --- LIF-4: no processor time between invocations ---


@pytest.mark.promise("LIF-4")
def test_lif_4_an_idle_environment_uses_no_processor_time(born, deploy, invoke):
    source = """
        import os, threading, time
        counted = [0]

        def count():
            while True:
                counted[0] += 1

        def handler(event, context):
            if event == "begin":
                threading.Thread(target=count, daemon=True).start()
                if os.fork() == 0:
                    os.setsid()
                    count()
            before = counted[0]
            while counted[0] == before:
                time.sleep(0)
            return "it counts"
    """
    name = deploy(source)
    invoke(name, "begin")
    processes = born()
    assert len(processes) >= 3
    clock = deploy("""
        import time
        def handler(event, context):
            until = time.process_time() + 0.2
            while time.process_time() < until:
                pass
    """)
    last = time.monotonic() + STOP_S_MAX
    while True:
        before = [process.cpu_times()[:2] for process in processes]
        assert invoke(clock).error is None
        if [process.cpu_times()[:2] for process in processes] == before:
            break
        assert time.monotonic() < last, "it never came to rest"
    assert invoke(name).payload == "it counts"  # It goes on where it was.


# --- LIF-5: nothing carries over, and nothing is drawn twice ---

DICE = """
    import os, random, secrets, tempfile, uuid
    import ssl

    def handler(event, context):
        return {
            "urandom": os.urandom(16).hex(),
            "random": random.random(),
            "getrandbits": random.getrandbits(64),
            "uuid1": str(uuid.uuid1()),
            "uuid4": str(uuid.uuid4()),
            "secrets": secrets.token_hex(16),
            "ssl": ssl.RAND_bytes(16).hex(),
            "tempfile": tempfile.mktemp(),
            "auxiliary": random.SystemRandom().random(),
        }
"""


def test_lif_5_no_two_environments_draw_the_same_numbers(deploy, invoke):
    drawn = [invoke(deploy(DICE)).payload for _ in range(5)]
    for kind in drawn[0]:
        assert len({numbers[kind] for numbers in drawn}) == 5, kind


def test_lif_5_a_runtime_that_is_started_again_draws_other_numbers(deploy, invoke):
    source = DICE.replace("return {", "if event == 'exit': os._exit(1)\n        return {")
    name = deploy(source)
    drawn = [invoke(name).payload]
    for _ in range(2):
        invoke(name, "exit")
        drawn.append(invoke(name).payload)
    for kind in drawn[0]:
        assert len({numbers[kind] for numbers in drawn}) == 3, kind


def saying(word):
    return f"""
        import os, uuid
        here = str(uuid.uuid4())

        def handler(event, context):
            found = os.listdir("/tmp")
            open("/tmp/left", "w").close()
            return [{word!r}, found, here]
    """


def test_lif_5_no_old_code_runs_after_an_update(daemon, deploy, invoke):
    name = deploy(saying("old"))
    assert invoke(name).payload[:2] == ["old", []]
    daemon.client.update_function_code(FunctionName=name, ZipFile=zipped(saying("new")))
    daemon.wait("function_updated_v2", name)
    assert invoke(name).payload[:2] == ["new", []]
    assert {invoke(name).payload[0] for _ in range(10)} == {"new"}


def test_lif_5_a_namesake_finds_nothing_of_the_one_before(daemon, deploy, invoke):
    name = daemon.deploy(saying("first"))
    first = invoke(name).payload
    daemon.client.delete_function(FunctionName=name)
    assert deploy(saying("second"), FunctionName=name) == name
    second = invoke(name).payload
    assert second[:2] == ["second", []]
    assert second[2] != first[2]


def test_lif_5_a_new_configuration_is_a_new_environment(daemon, deploy, invoke):
    name = deploy(saying("word"))
    before = invoke(name).payload
    assert invoke(name).payload == ["word", ["left"], before[2]]
    daemon.client.update_function_configuration(FunctionName=name, MemorySize=512)
    daemon.wait("function_updated_v2", name)
    after = invoke(name).payload
    assert after[:2] == ["word", []]
    assert after[2] != before[2]


# --- LIF-6: failures of init are bounded and reported ---


def test_lif_6_an_init_that_fails_is_tried_twice_and_reported(daemon, deploy, invoke):
    name = deploy("print('tried', flush=True)\nraise SystemExit(3)")
    for number in (1, 2):
        answer = invoke(name)
        assert answer.payload["errorType"] == "Runtime.ExitError"
        assert daemon.log_of(name).count("tried\n") <= 2 * number
    assert "INIT_REPORT" in daemon.log_of(name)


@pytest.mark.slow
def test_lif_6_an_init_that_hangs_is_ended_and_holds_up_nobody(daemon, deploy, invoke):
    """After ten seconds, and then after the function's own timeout."""
    hanging = deploy("print('tried', flush=True)\nwhile True: pass", Timeout=PATIENCE)
    quiet = deploy("def handler(event, context): return event")
    with ThreadPoolExecutor(1) as callers:
        call = callers.submit(invoke, hanging)
        daemon.wait_for_log(hanging, "tried\n")
        assert [invoke(quiet, number).payload for number in range(10)] == list(range(10))
        assert call.result().payload["errorType"] == "Sandbox.Timedout"
    log = daemon.log_of(hanging)
    assert log.count("tried\n") == 2
    assert "\tPhase: init\tStatus: timeout\n" in log
    assert "\tPhase: invoke\tStatus: timeout\n" in log
