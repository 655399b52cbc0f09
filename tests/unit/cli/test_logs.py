"""``lambdad logs`` against a daemon that is played."""

import importlib
import json

import pytest
from click.testing import CliRunner

from lambdad.api import sigv4
from lambdad.cli import main

logs = importlib.import_module("lambdad.cli.logs")
NOT_FOUND = "ResourceNotFoundException"


def event(number, message=None, stream="2026/11/21/[$LATEST]0"):
    return {
        "eventId": f"{number:056}", "timestamp": number, "ingestionTime": number,
        "logStreamName": stream, "message": message or f"line {number}\n",
    }  # fmt: skip


class Daemon:
    """Answers what it is told, in turn, and keeps what was asked."""

    def __init__(self):
        self.group, self.answers, self.asked, self.headers = "/aws/lambda/fn", [], [], []

    def answer(self, path, headers, body):
        self.headers.append(headers)
        if path.startswith("/2015-03-31/functions/fn/"):
            return 200, {"FunctionName": "fn", "LoggingConfig": {"LogGroup": self.group}}
        if path != "/":
            return 404, {"Message": "Function not found: it"}
        self.asked.append(json.loads(body))
        outcome = self.answers.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return (200, outcome) if "events" in outcome else (400, outcome)


@pytest.fixture
def daemon(served):
    daemon = Daemon()
    daemon.url = served(daemon.answer)
    return daemon


@pytest.fixture
def read(daemon):
    def made(*arguments):
        return CliRunner().invoke(main, ["logs", "--endpoint-url", daemon.url, *arguments])

    return made


@pytest.fixture
def polls(monkeypatch):
    """How often it looks again before somebody interrupts."""

    def times(number):
        left = iter(range(number))

        def sleep(_):
            if next(left, None) is None:
                raise KeyboardInterrupt

        monkeypatch.setattr(logs.time, "sleep", sleep)

    return times


def test_an_event_of_the_future_hides_none_of_the_present(daemon, read, polls):
    ahead = event(2**60)
    daemon.answers = [{"events": [ahead]}, {"events": [ahead, event(1)]}]
    polls(1)
    assert read("fn", "-f").output == f"line {2**60}\nline 1\n"
    assert daemon.asked[1]["startTime"] < 2**50


def test_all_pages_are_printed(daemon, read):
    daemon.answers = [
        {"events": [event(1), event(2, "no newline")], "nextToken": "more"},
        {"events": [event(3)]},
    ]
    ran = read("fn", "--filter", "line", "--stream", "a", "--stream", "b")
    assert (ran.exit_code, ran.output) == (0, "line 1\nno newline\nline 3\n")
    first, second = daemon.asked
    assert first["logGroupName"] == "/aws/lambda/fn"
    assert first["filterPattern"] == "line"
    assert first["logStreamNames"] == ["a", "b"]
    assert second == {**first, "nextToken": "more"}


def test_who_follows_sees_each_event_once_even_one_that_came_late(daemon, read, polls):
    polls(3)
    daemon.answers = [
        {"__type": NOT_FOUND, "message": "not yet"},
        {"events": [event(10**12 + 9_000)]},
        {"events": [event(10**12 + 9_000), event(10**12 + 9_001)]},
        {"events": [event(10**12 + 8_000), event(10**12 + 9_000), event(10**12 + 9_001)]},
    ]
    ran = read("-f", "-s", "9999w", "fn")
    times = [int(line.removeprefix("line ")) - 10**12 for line in ran.output.splitlines()]
    assert (ran.exit_code, times) == (0, [9_000, 9_001, 8_000])
    assert daemon.asked[-1]["startTime"] == 10**12 + 4_001


def test_of_a_group_that_others_share_the_functions_own_streams_are_shown(daemon, read):
    daemon.group = "/shared"
    daemon.answers = [
        {
            "events": [
                event(1, "mine", "2026/11/21/fn[$LATEST]0"),
                event(2, "another's", "2026/11/21/fn2[$LATEST]0"),
            ]
        }
    ]
    assert read("fn").output == "mine\n"
    assert daemon.asked[0]["logGroupName"] == "/shared"


def test_a_group_can_be_read_as_it_is(daemon, read):
    daemon.answers = [{"events": [event(1, "x", "any stream")]}]
    assert read("/shared").output == "x\n"


@pytest.mark.parametrize(("since", "seconds"), [("30s", 30), ("2h", 7_200), ("1w", 604_800)])
def test_how_far_back_is_a_number_and_a_unit(daemon, read, monkeypatch, since, seconds):
    monkeypatch.setattr(logs.SystemClock, "now", staticmethod(lambda: 1_795_253_400.0))
    daemon.answers = [{"events": []}]
    assert read("/g", "--since", since).exit_code == 0
    assert daemon.asked[0]["startTime"] == (1_795_253_400 - seconds) * 1000


@pytest.mark.parametrize("since", ["10", "m", "1y", "-1m", "1h30m", ""])
def test_another_time_is_a_wrong_call(read, since):
    assert read("fn", "--since", since).exit_code == 2


def test_what_the_daemon_refuses_is_told(daemon, read):
    ran = read("nobody")
    assert ran.exit_code == 1
    assert ran.output == f"Error: {NOT_FOUND}: Function not found: it\n"


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://x", "nonsense", "http://x:99999"])
def test_a_daemon_that_is_not_there_is_told(url):
    ran = CliRunner().invoke(main, ["logs", "--endpoint-url", url, "fn"])
    assert ran.exit_code == 1
    assert ran.output.count("\n") == 1


def test_who_has_a_key_signs(daemon, read, tmp_path):
    path = tmp_path / "credentials"
    path.write_text("[default]\naws_access_key_id = AKIAONE\naws_secret_access_key = one\n"
                    "aws_session_token = token\n")  # fmt: skip
    path.chmod(0o600)
    daemon.answers = [{"events": []}]
    assert read("fn", "--credentials", str(path), "--region", "eu-west-1").exit_code == 0
    scopes = []
    for headers in daemon.headers:
        said = headers["authorization"]
        assert said.startswith("AWS4-HMAC-SHA256 Credential=AKIAONE/")
        assert headers["x-amz-security-token"] == "token"
        scopes.append(said.split("/")[2:4])
    assert scopes == [["eu-west-1", "lambda"], ["eu-west-1", "logs"]]


def test_nothing_but_text_reaches_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr(logs.sys.stdout, "isatty", lambda: True, raising=False)
    show = logs._printer()
    show("one\rtwo\x1b]0;title\x07 \x9b31m[bold]\n")
    show("START RequestId: x")
    said = capsys.readouterr().out
    assert said.splitlines()[:2] == ["one", "two\\x1b]0;title\\x07 \\x9b31m[bold]"]


def test_its_signatures_are_accepted_by_the_daemon():
    headers = {"host": "h", "x-amz-date": sigv4.basic_format(0), "x-amz-target": "t"}
    request = sigv4.Signed("POST", "/a%3Ab", "", headers)
    said = sigv4.authorization(request, "0" * 64, "AKIA", "secret", ("r", "logs"))
    signed = sigv4.Signed("POST", "/a%3Ab", "", {**headers, "authorization": said})
    claim = sigv4.read_claim(signed, "r", 0, "logs")
    sigv4.check(claim, signed, "0" * 64, {"AKIA": sigv4.Key("secret")})
