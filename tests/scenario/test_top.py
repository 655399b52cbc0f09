"""``lambdad top`` and the census, of a daemon that runs functions."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit
from urllib.request import urlopen

import pytest
from scenario.program import LAMBDAD, PATIENCE, START_S_MAX, wait_until_ended

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

HELLO = "def handler(event, context): return event"
SLEEPER = """
    import time

    def handler(event, context):
        print("busy", flush=True)
        time.sleep(event)
"""
# What moves the cursor, or gives colour: see console_codes(4).
STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def looked(daemon, *arguments):
    return subprocess.run(
        [LAMBDAD, "top", "--endpoint-url", daemon.url, *arguments],
        capture_output=True, check=False, text=True, timeout=30 * PATIENCE,
    )  # fmt: skip


def census_of(daemon):
    with urlopen(f"{daemon.url}/lambdad/census", timeout=30 * PATIENCE) as answer:
        return json.load(answer)


def pool_of(daemon, name):
    """What the census says of a function; its versions are none of these tests' matter."""
    (pool,) = [one for one in census_of(daemon)["functions"] if one["function"] == name]
    return pool


class Terminal:
    """``lambdad top`` on a terminal of 100 columns and 30 lines."""

    def __init__(self, daemon, *arguments):
        self._own, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        command = [LAMBDAD, "top", "-n", "0.1", "--endpoint-url", daemon.url, *arguments]
        names = ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE")
        environment = {name: value for name, value in os.environ.items() if name not in names}
        self.process = subprocess.Popen(
            command, stdin=other, stdout=other, stderr=other, env={**environment, "TERM": "xterm"}
        )
        os.close(other)
        self.raw = ""

    def wait_for(self, text):
        """Until this is drawn after all that was waited for before."""
        last, seen = time.monotonic() + START_S_MAX, ""
        while text not in STEERING.sub("", seen):
            ready, _, _ = select.select([self._own], [], [], max(0, last - time.monotonic()))
            assert ready, f"{text!r} is never drawn: {seen[-3000:]!r}"
            seen += self._read()
        return STEERING.sub("", seen)

    def end(self, number=signal.SIGINT):
        """Ask it to end; its exit status, when all is read that it wrote."""
        self.process.send_signal(number)
        while piece := self._read():
            self.raw += piece
        return self.process.wait(START_S_MAX)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(START_S_MAX)
        os.close(self._own)

    def _read(self):
        """What comes next; nothing when nobody has the terminal any more, see pty(7)."""
        with contextlib.suppress(OSError):
            piece = os.read(self._own, 65_536).decode(errors="replace")
            self.raw += piece
            return piece
        return ""


@pytest.fixture
def terminal():
    with contextlib.ExitStack() as stack:

        def opened(*arguments):
            one = Terminal(*arguments)
            stack.callback(one.close)
            return one

        yield opened


def test_the_census_counts_what_was_done_and_shows_what_stands(daemon, deploy, invoke):
    name = deploy(HELLO)
    before = census_of(daemon)
    for number in range(3):
        assert invoke(name, number).payload == number
    now, pool = census_of(daemon), pool_of(daemon, name)
    assert now["started"] == before["started"]
    assert now["up_s"] > before["up_s"]
    assert (pool["version"], pool["invocations"], pool["cold"]) == ("$LATEST", 3, 1)
    assert (pool["running"], pool["waiting"], pool["throttled"]) == (0, 0, 0)
    (environment,) = pool["environments"]
    assert (environment["state"], environment["uses"]) == ("idle", 3)
    assert environment["init_type"] == "on-demand"
    assert environment["id"] in {leaf.name for leaf in daemon.leaves()} | {""}


def test_what_runs_is_counted_against_its_limits(daemon, deploy):
    name = deploy(SLEEPER)
    daemon.client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    with ThreadPoolExecutor(1) as caller:
        call = caller.submit(daemon.invoke, name, 2 * PATIENCE)
        daemon.wait_for_log(name, "busy\n")
        with pytest.raises(daemon.client.exceptions.TooManyRequestsException):
            daemon.invoke(name, 0)
        now, pool = census_of(daemon), pool_of(daemon, name)
        shown = looked(daemon, name, "--once").stdout
        assert call.result().error is None
    assert (pool["running"], pool["throttled"]) == (1, 1)
    assert [one["state"] for one in pool["environments"]] == ["invoke"]
    assert now["concurrency"]["reserved"][name] == 1
    assert now["concurrency"]["running"] >= 1
    assert re.search(rf"^{name} +1/1 ", shown, re.MULTILINE)
    assert "1 invoke" in shown


def test_into_a_pipe_goes_one_look_without_colour(daemon, deploy, invoke):
    name = deploy(HELLO)
    invoke(name, 1)
    for arguments in ((), ("--once",), (name,)):
        done = looked(daemon, *arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert "\x1b" not in done.stdout
        assert name in done.stdout
        assert "1 idle" in done.stdout


def test_programs_get_the_census(daemon, deploy):
    name = deploy(HELLO)
    done = looked(daemon, "--json")
    assert done.returncode == 0
    assert name in {pool["function"] for pool in json.loads(done.stdout)["functions"]}


def test_nobody_there_is_told(start):
    own = start()
    own.stop()
    done = looked(own)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: cannot reach {own.url}: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_terminal_shows_what_happens_and_is_given_back(daemon, deploy, invoke, terminal, number):
    name = deploy(HELLO)
    screen = terminal(daemon)
    screen.wait_for(name)
    invoke(name, 1)
    screen.wait_for("1 idle")
    assert screen.end(number) == 0
    assert "Traceback" not in screen.raw
    assert screen.raw.rindex("\x1b[?1049l") > screen.raw.rindex("\x1b[?1049h")
    assert screen.raw.rindex("\x1b[?25h") > screen.raw.rindex("\x1b[?25l")


def test_a_daemon_that_comes_back_is_shown_again(start, terminal):
    own = start()
    name = own.deploy(HELLO)
    port = urlsplit(own.url).port
    screen = terminal(own)
    screen.wait_for(name)
    left = own.kill()
    screen.wait_for("cannot reach")
    again = start("--port", str(port))
    wait_until_ended(left)
    assert again.url == own.url
    again.wait("function_active_v2", name)
    again.invoke(name, 1)
    screen.wait_for("1 idle")
    assert screen.end() == 0


def test_where_callers_sign_so_does_who_looks(start):
    own = start("--auth", "sigv4")
    keys = str(own.state_dir / "credentials")
    assert looked(own, "--json").returncode == 1
    done = looked(own, "--json", "--credentials", keys)
    assert (done.returncode, json.loads(done.stdout)["functions"]) == (0, [])
