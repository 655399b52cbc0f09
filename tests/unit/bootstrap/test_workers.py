"""Many events at once: what AWS's client does with AWS_LAMBDA_MAX_CONCURRENCY, ours does, too."""

import json
import os
import socket

import pytest

BOTH = pytest.mark.parametrize("client", ["ours", "aws"])
# Each of two events waits for the other one, in a named pipe that has to be opened twice.
MEETING = """
import os
os.write(1, f"imported by {os.getpid()}{os.linesep}".encode())  # Print writes twice.
def handler(event, context):
    with open(os.environ["LAMBDA_TASK_ROOT"] + "/meeting", event):
        return os.getpid()
"""
ONE, TWO = ({"AWS_LAMBDA_MAX_CONCURRENCY": count} for count in "12")
RETURNS_ONE = "def handler(event, context):\n    return 1\n"


@BOTH
def test_each_worker_imports_the_handler_and_has_an_event_of_its_own(
    run_either, task_root, event, client
):
    (task_root / "app.py").write_text(MEETING)
    os.mkfifo(task_root / "meeting")
    outcome = run_either(client, [event(b'"r"'), event(b'"w"')], env=TWO, workers=2)
    workers = [int(post.body) for post in outcome.posts]
    assert len(set(workers)) == 2
    lines = sorted(f"imported by {worker}" for worker in workers)
    assert sorted(outcome.stdout.splitlines()) == lines


@BOTH
def test_the_first_process_says_how_many_it_starts(run_either, task_root, event, client):
    (task_root / "app.py").write_text(RETURNS_ONE)
    levels = {"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "DEBUG"}
    outcome = run_either(client, [event()], env={**ONE, **levels}, framed=True)
    record = json.loads(outcome.framed[16:])
    assert record["message"] == {
        "event": "runtime_worker_pool_initializing",
        "workerCount": 1,
        "executionEnvironmentMaxConcurrency": 1,
    }
    assert outcome.posts[0].body == b"1"


@BOTH
def test_each_worker_writes_to_streams_of_its_own(run_either, task_root, event, client, tmp_path):
    (task_root / "app.py").write_text(
        "import os, sys\n"
        "print('out of', os.getpid())\n"
        "print('err of', os.getpid(), file=sys.stderr)\n" + RETURNS_ONE
    )
    path = str(tmp_path / "provider")
    with socket.socket(socket.AF_UNIX) as provider:
        provider.bind(path)
        provider.listen(8)
        provider.settimeout(30)
        env = {**TWO, "_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET": path}
        outcome = run_either(client, [event(), event()], env=env, workers=2)
        said = sorted(said_on(provider.accept()[0]) for _ in range(4))
    assert [text[:7] for text in said] == ["err of ", "err of ", "out of ", "out of "]
    assert len({text[7:] for text in said}) == 2
    assert outcome.stdout == ""


def said_on(stream):
    with stream, stream.makefile() as lines:
        return lines.read()


# What AWS's client does here stands in its Python sources; its compiled part dies of these answers.
def test_a_worker_asks_again_when_the_platform_fails(run_client, task_root, event, http_answer):
    (task_root / "app.py").write_text(RETURNS_ONE)
    failing = http_answer(b"no", "500 Internal Server Error")
    outcome = run_client([failing, failing, event()], env=ONE)
    assert [post.body for post in outcome.posts] == [b"1"]
    assert outcome.stdout.count("[WARNING]") == 2


def test_after_five_tries_a_worker_ends_and_the_last_one_ends_all(
    run_client, task_root, http_answer
):
    (task_root / "app.py").write_text(RETURNS_ONE)
    failing = http_answer(b"no", "500 Internal Server Error")
    outcome = run_client([failing] * 9, env=ONE)
    assert (len(outcome.requests), outcome.status) == (5, 0)


@BOTH
def test_a_worker_goes_on_when_its_answer_is_refused(
    run_either, task_root, event, http_answer, client
):
    (task_root / "app.py").write_text("def handler(event, context):\n    return 1 / event\n")
    late = http_answer(b"{}", "410 Gone")
    events = [event(b"1"), event(b"0"), event(b"1")]
    outcome = run_either(client, events, env=ONE, post_answer=late)
    assert [post.path.rpartition("/")[2] for post in outcome.posts] == [
        "response",
        "error",
        "response",
    ]


@BOTH
def test_only_one_worker_needs_to_report_that_there_is_no_handler(run_either, http_answer, client):
    refused = http_answer(b"{}", "403 Forbidden")
    outcome = run_either(client, env=TWO, post_answer=refused)
    assert {post.path for post in outcome.posts} == {"/2018-06-01/runtime/init/error"}
    assert (len(outcome.posts), outcome.status, outcome.stderr) == (2, 0, "")


def test_workers_run_under_every_interpreter(run_client, task_root, event, interpreter):
    (task_root / "app.py").write_text(MEETING)
    os.mkfifo(task_root / "meeting")
    events = [event(b'"r"'), event(b'"w"')]
    outcome = run_client(events, interpreter=interpreter, env=TWO, workers=2)
    assert len({post.body for post in outcome.posts}) == 2
