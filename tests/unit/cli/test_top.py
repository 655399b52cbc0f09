"""``lambdad top`` against a daemon that is played."""

import importlib
import io
import json
import signal

import pytest
from click.testing import CliRunner
from rich.console import Console

from lambdad.cli import main
from lambdad.cli.endpoint import Endpoint, Refused
from lambdad.model.clock import SystemClock

top = importlib.import_module("lambdad.cli.top")
GONE = "gone"


class Daemon:
    """Gives its censuses in turn, the last one for ever; is not there for ``GONE``."""

    def __init__(self):
        self.censuses, self.asked = [], []

    def answer(self, path, headers, _):
        self.asked.append((path, headers))
        census = self.censuses.pop(0) if len(self.censuses) > 1 else self.censuses[0]
        if census == GONE:
            return 503, {"message": "it is not there"}
        return 200, census


@pytest.fixture
def daemon(served, make_census):
    daemon = Daemon()
    daemon.url = served(daemon.answer)
    daemon.censuses = [
        make_census(
            ("hello", {"states": ["idle", "invoke"], "invocations": 6}), ("other", {}), up_s=60
        )
    ]
    return daemon


@pytest.fixture
def look(daemon):
    def made(*arguments):
        return CliRunner().invoke(main, ["top", "--endpoint-url", daemon.url, *arguments])

    return made


@pytest.fixture
def watched(daemon, monkeypatch):
    """What a terminal gets to see in so many looks; then somebody interrupts."""
    before = signal.getsignal(signal.SIGTERM)

    def made(looks, **terminal):
        left, shown = iter(range(looks - 1)), io.StringIO()

        def sleep(_):
            if next(left, None) is None:
                raise KeyboardInterrupt

        monkeypatch.setattr(top.time, "sleep", sleep)
        console = Console(file=shown, force_terminal=True, width=100, height=20, **terminal)
        endpoint = Endpoint(daemon.url, "r", None, SystemClock())
        with pytest.raises(KeyboardInterrupt):
            top._watch(console, endpoint, "", 1.0)
        return shown.getvalue()

    yield made
    signal.signal(signal.SIGTERM, before)


def test_one_census_is_given_to_programs_as_it_came(daemon, look):
    ran = look("--json")
    assert (ran.exit_code, json.loads(ran.output)) == (0, daemon.censuses[0])
    assert [path for path, _ in daemon.asked] == ["/lambdad/census"]


@pytest.mark.parametrize("arguments", [(), ("--once",)])
def test_into_a_file_goes_one_frame_of_plain_text(daemon, look, arguments):
    ran = look(*arguments)
    assert ran.exit_code == 0
    assert "\x1b" not in ran.output
    assert "since its start" in ran.output
    assert "hello" in ran.output
    assert "1 invoke, 1 idle" in ran.output
    assert [line for line in ran.output.splitlines() if line != line.rstrip()] == []
    assert len(daemon.asked) == 1


def test_one_function_can_be_asked_for(look):
    ran = look("hello", "--once")
    assert "other" not in ran.output
    assert "00000001-0000-4000-8000-000000000000" in ran.output


def test_a_terminal_gets_it_back_as_it_was(watched):
    shown = watched(1)
    taken, given_back = shown.index("\x1b[?1049h"), shown.rindex("\x1b[?1049l")
    assert taken < shown.index("hello") < given_back
    assert shown.rindex("\x1b[?25h") > shown.index("\x1b[?25l"), "the cursor is seen again"


def test_from_the_second_look_on_rates_are_those_of_the_time_between(daemon, watched, make_census):
    daemon.censuses.append(make_census(("hello", {"invocations": 26}), up_s=62))
    shown = watched(2, color_system=None)
    assert shown.index("0.1 invokes/s") < shown.index("10.0 invokes/s")
    assert "in the last 2.0 s" in shown


def test_a_daemon_that_comes_back_is_looked_at_again(daemon, watched, make_census):
    again = make_census(("hello", {"invocations": 5}), up_s=1, started="later")
    daemon.censuses += [GONE, GONE, again]
    shown = watched(4, color_system=None)
    assert shown.count("it is not there; looking again") == 2
    last = shown[shown.rindex("lambdad at ") :]
    assert "5.0 invokes/s" in last
    assert "since its start" in last


def test_a_daemon_that_was_never_there_is_not_waited_for(daemon, watched, look):
    daemon.censuses = [GONE]
    assert look("--once").exit_code == 1
    with pytest.raises(Refused):
        watched(1)


@pytest.mark.parametrize("arguments", [["--interval", "0"], ["--nothing"], ["a", "b"]])
def test_a_wrong_call_is_told(look, arguments):
    assert look(*arguments).exit_code == 2


def test_who_has_a_key_signs(daemon, look, tmp_path):
    path = tmp_path / "credentials"
    path.write_text("[default]\naws_access_key_id = AKIAONE\naws_secret_access_key = one\n")
    path.chmod(0o600)
    assert look("--credentials", str(path), "--region", "eu-west-1", "--json").exit_code == 0
    (_, headers) = daemon.asked[0]
    said = headers["authorization"]
    assert said.startswith("AWS4-HMAC-SHA256 Credential=AKIAONE/")
    assert said.split("/")[2:4] == ["eu-west-1", "lambda"]
