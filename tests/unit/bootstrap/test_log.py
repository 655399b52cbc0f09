"""What stands in the function's log, and in which form."""

import json
import re
import struct

import pytest

TEXT_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


ANY_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z"
EVERY_KIND_OF_RECORD = """
import logging, sys
logging.warning("early")
def handler(event, context):
    log = logging.getLogger("a.b")
    log.error("x %s", 1, extra={"location": "l", "stackTrace": 1, "k": {2}, "n": None})
    log.error({"a": "\u00e9"})
    log.log(35, ["a"])
    try:
        1 / 0
    except ArithmeticError:
        log.exception("oh")
    print("printed", end="")
    print(" on stderr", file=sys.stderr)
    raise KeyError("a\\n  b")
"""


@pytest.fixture
def logged(run_client, task_root, event):
    """What a handler of these statements leaves on standard output."""

    def run(statements, interpreter, code="", **env):
        body = "".join(f"    {line}\n" for line in statements.splitlines())
        (task_root / "app.py").write_text(
            f"import logging, sys\n{code}\ndef handler(event, context):\n{body}"
        )
        outcome = run_client([event()], interpreter=interpreter, env=env)
        assert len(outcome.posts) == 1, outcome.stderr
        return outcome.stdout

    return run


def test_a_record_as_text_has_level_time_request_and_words(logged, interpreter):
    text = logged("logging.warning('a %s', 'b')\nlogging.info('unseen')", interpreter)
    assert re.fullmatch(rf"\[WARNING\]\t{TEXT_TIME}\tr-1\ta b\n", text)


def test_a_record_written_at_the_start_belongs_to_no_request(logged, interpreter):
    text = logged("pass", interpreter, code="logging.error('early')")
    assert re.fullmatch(rf"\[ERROR\]\t{TEXT_TIME}\t\tearly\n", text)


@pytest.mark.parametrize(
    ("level", "seen"),
    [
        ("", "we"),
        ("TRACE", "diwe"),
        ("debug", "diwe"),
        ("INFO", "iwe"),
        ("ERROR", "e"),
        ("NONSENSE", "we"),
    ],
)
def test_the_level_is_set_by_its_variable(logged, level, seen):
    statements = "\n".join(f"logging.{name}('x')" for name in ("debug", "info", "warning", "error"))
    text = logged(statements, None, AWS_LAMBDA_LOG_LEVEL=level)
    assert "".join(line[1].lower() for line in text.splitlines()) == seen


def test_a_record_as_json_leaves_out_what_is_absent(logged, interpreter):
    statements = "logging.getLogger('mine').warning('\u00e9 %s', 1, extra={'k': {2}, 'none': None})"
    record = json.loads(logged(statements, interpreter, AWS_LAMBDA_LOG_FORMAT="json"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record.pop("timestamp"))
    assert list(record.items()) == [
        ("level", "WARNING"),
        ("message", "\u00e9 1"),
        ("logger", "mine"),
        ("requestId", "r-1"),
        ("k", "{2}"),
    ]


def test_an_exception_as_json_has_its_trace_and_place(logged, task_root):
    statements = "try:\n    1 / 0\nexcept ArithmeticError:\n    logging.exception('oh')"
    record = json.loads(logged(statements, None, AWS_LAMBDA_LOG_FORMAT="JSON"))
    assert list(record) == [
        "timestamp",
        "level",
        "message",
        "logger",
        "stackTrace",
        "errorType",
        "errorMessage",
        "requestId",
        "location",
    ]
    assert record["location"] == f"{task_root}/app.py:handler:7"
    assert record["stackTrace"][0].startswith(f'  File "{task_root}/app.py", line 5, in handler\n')


def test_a_dict_is_logged_as_an_object(logged):
    record = json.loads(logged("logging.error({'a': 1})", None, AWS_LAMBDA_LOG_FORMAT="JSON"))
    assert record["message"] == {"a": 1}


def test_an_error_as_text_is_one_line_with_hard_spaces(logged, interpreter, task_root):
    text = logged("raise ValueError('a\\n b')", interpreter)
    assert text == (
        "[ERROR] ValueError: a\n b\rTraceback (most recent call last):"
        f'\r\u00a0\u00a0File "{task_root}/app.py", line 4, in handler'
        "\r\u00a0\u00a0\u00a0\u00a0raise ValueError('a\\n b')\n"
    )


def test_an_error_as_json_is_one_object(logged, task_root):
    error = json.loads(logged("raise ValueError('a')", None, AWS_LAMBDA_LOG_FORMAT="JSON"))
    del error["timestamp"]
    frame = f"  File \"{task_root}/app.py\", line 4, in handler\n    raise ValueError('a')\n"
    assert list(error.items()) == [
        ("level", "ERROR"),
        ("errorMessage", "a"),
        ("errorType", "ValueError"),
        ("requestId", "r-1"),
        ("stackTrace", [frame]),
    ]


def test_a_log_call_that_cannot_be_rendered_raises_in_the_handler(logged):
    assert logged("logging.error('%d', 'x')", None).startswith("[ERROR] TypeError: %d format")


@pytest.mark.parametrize("log_format", ["Text", "JSON"])
def test_the_log_is_what_awslambdaric_writes(run_client, task_root, event, aws_client, log_format):
    (task_root / "app.py").write_text(EVERY_KIND_OF_RECORD)
    aws = aws_client("app.handler")
    env = {"AWS_LAMBDA_LOG_FORMAT": log_format, "PYTHONWARNINGS": "ignore"}
    ours = run_client([event()], env=env)
    theirs = run_client([event()], command=aws["command"], env={**aws["env"], **env})
    assert re.sub(ANY_TIME, "TIME", ours.stdout) == re.sub(ANY_TIME, "TIME", theirs.stdout)
    assert ours.posts[0].body == theirs.posts[0].body


def frames_in(data):
    """Type and text of each frame, with what differs from run to run made the same."""
    found = []
    while data:
        kind, size, micros = struct.unpack(">IIQ", data[:16])
        assert 1.7e15 < micros < 4e15
        found.append((hex(kind), re.sub(ANY_TIME, "TIME", data[16 : 16 + size].decode())))
        data = data[16 + size :]
    return found


@pytest.mark.parametrize(
    "env",
    [
        {},
        {"AWS_LAMBDA_LOG_FORMAT": "JSON"},
        {"AWS_LAMBDA_LOG_LEVEL": "TRACE"},
        {"AWS_LAMBDA_LOG_LEVEL": "NONSENSE"},
        {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "FATAL"},
    ],
)
def test_on_its_descriptor_the_log_is_what_awslambdaric_writes(run_either, task_root, event, env):
    (task_root / "app.py").write_text(EVERY_KIND_OF_RECORD)
    ours, theirs = (
        run_either(client, [event()], env=env, framed=True) for client in ("ours", "aws")
    )
    assert frames_in(ours.framed) == frames_in(theirs.framed)
    assert frames_in(ours.framed) != []
    assert ours.stdout == theirs.stdout == "printed"


@pytest.mark.parametrize(
    ("log_format", "kinds"),
    [("Text", ["0xa55a0003", "0xa55a0017"]), ("JSON", ["0xa55a0012", "0xa55a0016"])],
)
def test_a_start_that_failed_is_told_in_frames(
    run_client, task_root, interpreter, log_format, kinds
):
    (task_root / "app.py").write_text("1 / 0\n")
    env = {"AWS_LAMBDA_LOG_FORMAT": log_format}
    outcome = run_client(framed=True, interpreter=interpreter, env=env)
    (warned, warning), (failed, error) = frames_in(outcome.framed)
    assert [warned, failed] == kinds
    assert "LAMBDA_WARNING: Unhandled exception." in warning
    assert "ZeroDivisionError" in error
    assert outcome.stdout == ""


def test_an_error_on_the_descriptor_has_real_lines(logged, run_client, task_root, event):
    (task_root / "app.py").write_text("def handler(event, context):\n    raise ValueError('a')\n")
    ((_, text),) = frames_in(run_client([event()], framed=True).framed)
    assert text.splitlines()[:2] == ["[ERROR] ValueError: a", "Traceback (most recent call last):"]
    assert not text.endswith("\n")


def test_a_large_record_is_one_frame(run_client, task_root, event):
    (task_root / "app.py").write_text(
        "import logging\ndef handler(event, context):\n    logging.error('x' * 40_000)\n"
    )
    ((_, text),) = frames_in(run_client([event()], framed=True).framed)
    assert text.count("x") == 40_000


def test_functions_do_not_see_which_descriptor_it_is(run_client, task_root, event):
    (task_root / "app.py").write_text(
        "import os\ndef handler(event, context):\n"
        "    name = '_LAMBDA_TELEMETRY_LOG_FD'\n"
        "    return [os.environ.get(name), name in os.popen('env').read()]\n"
    )
    assert run_client([event()], framed=True).posts[0].body == b"[null, false]"


def test_context_log_writes_as_it_stands(logged):
    assert logged("context.log('a'); context.log(1)", None) == "a1"
