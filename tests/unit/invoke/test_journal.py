import json

import pytest

from lambdad.invoke.event_parts import SUCCESS, TIMEOUT, InitType, Metrics, Phase, failed
from lambdad.invoke.frames import Frame
from lambdad.invoke.journal import Journal, Source
from lambdad.invoke.log_level import Level
from lambdad.invoke.platform_events import (
    End,
    ExtensionReady,
    Fault,
    InitReport,
    InitRuntimeDone,
    InitStart,
    Report,
    RuntimeDone,
    Start,
    TaskTimedOut,
)
from lambdad.invoke.subscription import SCHEMAS, Api, Destination, Protocol, Subscription
from lambdad.model import limits

NOON_S = 1_795_253_400.0
MIB = 1024 * 1024
STREAM = "2026/11/21/[$LATEST]0123456789abcdef0123456789abcdef"
METRICS = Metrics(1.23396, 256, 123 * MIB, 0.463512)


class Clock:
    def __init__(self):
        self.now_s = NOON_S

    def now(self):
        return self.now_s


class Logs:
    def __init__(self):
        self.written = []

    def write(self, group, stream, timestamp_ms, messages):
        assert messages
        self.written += [(group, stream, timestamp_ms, message) for message in messages]

    @property
    def messages(self):
        return [message for _, _, _, message in self.written]


class Subscriber:
    """Takes everything that its API and schema have."""

    def __init__(self, api=Api.TELEMETRY, schema=None):
        schema = schema or SCHEMAS[api][-1]
        self._subscription = Subscription(
            api, schema, frozenset({"platform"}), Destination(Protocol.TCP, 80)
        )
        self.times, self.heard = [], []

    followed = True

    def publish(self, time_s, kind, record):
        shown = record(self._subscription)
        if shown is not None:
            self.times.append(time_s)
            self.heard.append((kind, shown))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def logs():
    return Logs()


@pytest.fixture
def new_journal(new_function, logs, clock):
    def make(telemetry=None, **values):
        return Journal(new_function(**values), STREAM, logs, clock, telemetry)

    return make


@pytest.fixture
def new_json_journal(new_journal):
    def make(telemetry=None, **values):
        return new_journal(telemetry, log_format="JSON", **values)

    return make


def frame(text, level=None):
    return Frame(level, text)


def said(**fields):
    return json.dumps(fields).encode() + b"\n"


# --- where it goes and when ---------------------------------------------------------


def test_what_is_said_goes_to_the_functions_group_and_the_environments_stream(new_journal, logs):
    new_journal().emit(End("r-1"))
    new_journal(log_group="/mine").emit(End("r-2"))
    assert logs.written == [
        ("/aws/lambda/fn", STREAM, 1_795_253_400_000, b"END RequestId: r-1\n"),
        ("/mine", STREAM, 1_795_253_400_000, b"END RequestId: r-2\n"),
    ]


def test_log_events_are_stamped_on_arrival_and_never_go_back(new_journal, logs, clock):
    subscriber = Subscriber()
    journal = new_journal(subscriber)
    for now_s in (NOON_S, NOON_S + 2.5, NOON_S + 1.0):
        clock.now_s = now_s
        journal.wrote(Source.FUNCTION, b"line\n")
    assert [stamp for _, _, stamp, _ in logs.written] == [
        1_795_253_400_000,
        1_795_253_402_500,
        1_795_253_402_500,
    ]
    assert subscriber.times == [NOON_S, NOON_S + 2.5, NOON_S + 2.5]


# --- text format --------------------------------------------------------------------


def warm(journal):
    journal.emit(Start("r-1", "$LATEST"))
    journal.emit(RuntimeDone("r-1", SUCCESS, 0.003))
    journal.emit(End("r-1"))
    journal.emit(Report("r-1", SUCCESS, Metrics(0.00301, 128, 36 * MIB)))


def test_text_logs_show_start_end_and_report(new_journal, logs):
    warm(new_journal())
    assert logs.messages == [
        b"START RequestId: r-1 Version: $LATEST\n",
        b"END RequestId: r-1\n",
        (
            b"REPORT RequestId: r-1\tDuration: 3.01 ms\tBilled Duration: 4 ms\t"
            b"Memory Size: 128 MB\tMax Memory Used: 36 MB\t\n"
        ),
    ]


def test_text_logs_are_not_filtered(new_journal, logs):
    journal = new_journal(application_log_level="FATAL", system_log_level="WARN")
    journal.emit(Start("r-1", "$LATEST"))
    journal.wrote(Source.FUNCTION, said(level="DEBUG"))
    journal.framed(frame(b"a\n", Level.TRACE))
    assert len(logs.messages) == 3


def test_an_event_of_several_lines_is_one_log_event(new_journal, logs):
    new_journal().emit(Fault("r-1", "exit code 0", "Extension.Crash"))
    assert logs.messages == [b"RequestId: r-1 Error: exit code 0\nExtension.Crash\n"]


@pytest.mark.parametrize(
    ("lines", "messages"),
    [
        (b"one\n", [b"one\n"]),
        (b"one\ntwo\n\nfour\n", [b"one\n", b"two\n", b"\n", b"four\n"]),
        (b"one\rstill one\r\n", [b"one\rstill one\r\n"]),
        (b"\xff\x00\n", [b"\xff\x00\n"]),
    ],
)
def test_every_line_is_a_log_event(new_journal, logs, lines, messages):
    new_journal().wrote(Source.FUNCTION, lines)
    assert logs.messages == messages


def test_a_frame_is_one_event_however_many_lines_it_has(new_journal, logs):
    subscriber = Subscriber()
    journal = new_journal(subscriber)
    journal.framed(frame(b"one\ntwo\nthree"))
    journal.wrote(Source.FUNCTION, b"one\ntwo\nthree\n")
    assert logs.messages == [b"one\ntwo\nthree", b"one\n", b"two\n", b"three\n"]
    assert subscriber.heard == [
        ("function", "one\ntwo\nthree"),
        ("function", "one\n"),
        ("function", "two\n"),
        ("function", "three\n"),
    ]


def test_a_name_that_is_no_text_does_not_stop_the_log(new_journal, new_json_journal, logs):
    event = ExtensionReady("a\udcff", "Ready", ())
    new_journal().emit(event)
    new_json_journal().emit(event)
    assert logs.messages[0] == b"EXTENSION\tName: a?\tState: Ready\tEvents: []\n"
    assert json.loads(logs.messages[1])["record"]["name"] == "a\udcff"


# --- JSON format --------------------------------------------------------------------


def test_json_logs_show_start_and_report_of_a_warm_success(new_json_journal, logs):
    journal = new_json_journal()
    warm(journal)
    assert [json.loads(message)["type"] for message in logs.messages] == [
        "platform.start",
        "platform.report",
    ]


def test_a_platform_event_is_one_line_of_json(new_json_journal, logs):
    new_json_journal().emit(Report("r-1", SUCCESS, METRICS))
    line = (
        b'{"time":"2026-11-21T09:30:00.000Z","type":"platform.report","record":{'
        b'"requestId":"r-1","metrics":{"durationMs":1233.96,"billedDurationMs":1698,'
        b'"memorySizeMB":256,"maxMemoryUsedMB":123,"initDurationMs":463.512},'
        b'"status":"success"}}\n'
    )
    assert logs.messages == [line]


def test_json_logs_have_no_end_fault_or_timeout_line(new_json_journal, logs):
    journal = new_json_journal(system_log_level="DEBUG")
    journal.emit(TaskTimedOut(NOON_S, "r-1", 3))
    journal.emit(Fault("r-1", "exit code 0", "Extension.Crash"))
    journal.emit(End("r-1"))
    assert logs.messages == []


COLD = (
    InitStart(InitType.ON_DEMAND, Phase.INIT, "fn", "$LATEST", STREAM, 128, "python:3.12.v1", "a"),
    InitRuntimeDone(InitType.ON_DEMAND, Phase.INIT, SUCCESS),
    InitReport(InitType.ON_DEMAND, Phase.INIT, SUCCESS, 0.1),
    Start("r-1", "$LATEST"),
    RuntimeDone("r-1", SUCCESS),
    Report("r-1", SUCCESS, METRICS),
    RuntimeDone("r-2", failed("Runtime.ExitError")),
    Report("r-2", TIMEOUT, METRICS),
)


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        (
            "DEBUG",
            ["initStart", "initRuntimeDone", "initReport", "start", "runtimeDone", "report",
             "runtimeDone", "report"],
        ),
        ("INFO", ["initStart", "start", "report", "runtimeDone", "report"]),
        (None, ["initStart", "start", "report", "runtimeDone", "report"]),
        ("WARN", ["runtimeDone", "report"]),
    ],
)  # fmt: skip
def test_the_system_log_level_filters_the_platforms_events(new_json_journal, logs, level, shown):
    journal = new_json_journal(system_log_level=level)
    for event in COLD:
        journal.emit(event)
    types = [json.loads(message)["type"] for message in logs.messages]
    assert types == [f"platform.{name}" for name in shown]


@pytest.mark.parametrize(
    ("level", "line", "shown"),
    [
        ("WARN", said(level="ERROR"), True),
        ("WARN", said(level="WARN"), True),
        ("WARN", said(level="warn"), True),
        ("WARN", said(level="INFO"), False),
        ("WARN", said(level="WARNING"), False),  # no level we know: INFO
        ("WARN", said(level=["ERROR"]), False),
        ("WARN", said(message="no level"), False),
        ("WARN", said(log_level="ERROR"), False),
        ("INFO", said(message="no level"), True),
        (None, said(message="no level"), True),
        (None, said(level="DEBUG"), False),
        ("TRACE", said(level="TRACE"), True),
        ("FATAL", b"plain\n", True),
        ("FATAL", b'{"level": "INFO"\n', True),
        ("FATAL", b'["level", "INFO"]\n', True),
        ("FATAL", b'{"a": NaN}\n', True),
        ("FATAL", b'{"\xff": 1}\n', True),
        ("FATAL", b'{"a":' * 100_000 + b"\n", True),
    ],
)
def test_the_application_log_level_filters_what_a_function_logs_in_json(
    new_json_journal, logs, level, line, shown
):
    subscriber = Subscriber()
    new_json_journal(subscriber, application_log_level=level).wrote(Source.FUNCTION, line)
    assert logs.messages == ([line] if shown else [])
    assert len(subscriber.heard) == 1, "telemetry is not filtered"


def test_lines_are_filtered_one_by_one(new_json_journal, logs):
    journal = new_json_journal(application_log_level="ERROR")
    tail = journal.tail()
    journal.wrote(Source.FUNCTION, said(level="INFO") + b"plain\n" + said(level="ERROR"))
    assert logs.messages == [b"plain\n", said(level="ERROR")]
    assert tail.text == b"plain\n" + said(level="ERROR")


def test_extensions_are_not_filtered(new_json_journal, logs):
    journal = new_json_journal(application_log_level="FATAL")
    journal.wrote(Source.EXTENSION, said(level="INFO"))
    assert logs.messages == [said(level="INFO")]


@pytest.mark.parametrize(
    ("level", "written", "shown"),
    [
        ("WARN", frame(b"text\n", Level.INFO), False),
        ("WARN", frame(b"text\n", Level.WARN), True),
        ("WARN", frame(b"text\n"), True),
        ("WARN", frame(said(level="INFO"), Level.ERROR), True),
        ("WARN", frame(said(level="ERROR"), Level.INFO), False),
        ("WARN", frame(said(level="ERROR")), True),
        ("WARN", frame(said(level="INFO")), False),
    ],
)
def test_frames_are_filtered_by_their_own_level_if_they_have_one(
    new_json_journal, logs, level, written, shown
):
    subscriber = Subscriber()
    new_json_journal(subscriber, application_log_level=level).framed(written)
    assert logs.messages == ([written.text] if shown else [])
    assert len(subscriber.heard) == 1, "telemetry is not filtered"


# --- telemetry ----------------------------------------------------------------------


def test_telemetry_gets_every_event_in_order_whatever_the_log_leaves_out(new_json_journal):
    subscriber = Subscriber()
    journal = new_json_journal(subscriber, system_log_level="WARN")
    for event in COLD:
        journal.emit(event)
    assert [kind for kind, _ in subscriber.heard] == [event.type for event in COLD]


@pytest.mark.parametrize(
    ("api", "kinds"),
    [
        (Api.TELEMETRY, ["platform.start", "platform.runtimeDone", "platform.report"]),
        (
            Api.LOGS,
            ["platform.start", "platform.runtimeDone", "platform.end", "platform.report"],
        ),
    ],
)
def test_each_api_gets_the_events_that_it_knows(new_journal, api, kinds):
    subscriber = Subscriber(api)
    warm(new_journal(subscriber))
    assert [kind for kind, _ in subscriber.heard] == kinds


def test_a_line_of_text_logs_only_is_no_telemetry(new_journal):
    subscriber = Subscriber(Api.LOGS)
    new_journal(subscriber).emit(TaskTimedOut(NOON_S, "r-1", 3))
    assert subscriber.heard == []


def test_lines_are_told_by_who_wrote_them(new_journal):
    subscriber = Subscriber()
    journal = new_journal(subscriber)
    journal.wrote(Source.FUNCTION, b"one\n")
    journal.wrote(Source.EXTENSION, b"two\xff\n")
    assert subscriber.heard == [("function", "one\n"), ("extension", "two\ufffd\n")]


@pytest.mark.parametrize(
    ("api", "schema", "log_format", "is_object"),
    [
        (Api.TELEMETRY, "2022-07-01", "JSON", False),
        (Api.TELEMETRY, "2022-12-13", "JSON", True),
        (Api.TELEMETRY, "2025-01-29", "JSON", True),
        (Api.TELEMETRY, "2022-12-13", "Text", False),
        (Api.LOGS, "2020-08-15", "JSON", False),
        (Api.LOGS, "2021-03-18", "JSON", False),
    ],
)
def test_json_is_delivered_as_json_from_the_second_schema_on(
    new_journal, api, schema, log_format, is_object
):
    subscriber = Subscriber(api, schema)
    line = said(level="INFO", number=1.5)
    journal = new_journal(subscriber, log_format=log_format)
    for source in Source:
        journal.wrote(source, line)
    expected = {"level": "INFO", "number": 1.5} if is_object else line.decode()
    assert subscriber.heard == [("function", expected), ("extension", expected)]


@pytest.mark.parametrize(
    "line", [b"plain\n", b'{"a": 1e999}\n', b'{"a": -Infinity}\n', b'["a"]\n', b'{"a":' * 100_000]
)
def test_what_is_no_json_object_is_delivered_as_text(new_json_journal, line):
    subscriber = Subscriber()
    new_json_journal(subscriber).framed(frame(line))
    assert subscriber.heard == [("function", line.decode())]


# --- the tail -------------------------------------------------------------------------


def test_a_tail_holds_what_is_logged_between_its_beginning_and_its_end(new_journal):
    journal = new_journal()
    journal.emit(End("r-0"))
    tail = journal.tail()
    journal.emit(Start("r-1", "$LATEST"))
    journal.wrote(Source.FUNCTION, b"one\ntwo\n")
    journal.framed(frame(b"a frame"))
    journal.wrote(Source.EXTENSION, b"three\n")
    tail.close()
    tail.close()
    journal.emit(End("r-1"))
    assert tail.text == b"START RequestId: r-1 Version: $LATEST\none\ntwo\na frame\nthree\n"


def test_a_tail_holds_the_last_4096_bytes(new_journal):
    journal = new_journal()
    tail = journal.tail()
    journal.wrote(Source.FUNCTION, b"x" * 5_000 + b"\n")
    journal.wrote(Source.FUNCTION, b"last\n")
    assert len(tail.text) == limits.log_tail_bytes == 4_096
    assert tail.text.endswith(b"xx\nlast\n")


def test_tails_do_not_disturb_each_other(new_journal):
    journal = new_journal()
    first, second = journal.tail(), journal.tail()
    journal.wrote(Source.FUNCTION, b"one\n")
    first.close()
    journal.wrote(Source.FUNCTION, b"two\n")
    assert (first.text, second.text) == (b"one\n", b"one\ntwo\n")
