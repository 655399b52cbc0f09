"""A Runtime API on loopback, and a way to run a client against it.

It answers as it is told and judges nothing: no life cycle, no checks of request ids.
"""

import contextlib
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import NamedTuple

import pytest

GUEST = Path(__file__).parents[3] / "bootstrap/lambdad_bootstrap/guest"
ACCEPTED = b'{"status":"OK"}\n'
STOP_AFTER_S = 30
GUEST_VERSIONS = range(9, 15)


class Request(NamedTuple):
    method: str
    path: str
    headers: dict
    body: bytes


class Outcome(NamedTuple):
    posts: list
    stdout: str
    stderr: str
    status: int
    requests: list
    connections: int
    framed: bytes  # what was written to the log descriptor


def answer(body=b"{}", status="200 OK", **headers):
    """An answer as bytes; underscores in names of headers become hyphens."""
    headers = {"Content_Length": len(body), **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{lines}\r\n".encode() + body


def event_answer(body=b"{}", request_id="r-1", **headers):
    """What `next` answers for one event."""
    return answer(
        body,
        **{
            "Content_Type": "application/json",
            "Lambda_Runtime_Aws_Request_Id": request_id,
            "Lambda_Runtime_Deadline_Ms": "4102444800000",
            "Lambda_Runtime_Invoked_Function_Arn": "arn:aws:lambda:eu-west-1:0:function:f",
            **headers,
        },
    )


class RuntimeApi:
    """Answers each `next` with the next of `events`.

    An event may be a list of pieces, which are then sent one by one; an empty piece closes the
    connection. When `clients` ask for more than there is, `when_idle` is called.
    """

    def __init__(self, events, when_idle, post_answer=None, clients=1):
        self.events, self.when_idle, self.busy = list(events), when_idle, clients
        self.post_answer = post_answer or answer(ACCEPTED, "202 Accepted")
        self.requests, self.connections = [], []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.threads = [threading.Thread(target=self.accept)]

    def __enter__(self):
        self.threads[0].start()
        return self

    def __exit__(self, *exc):
        # A listener that is only closed would keep a thread in accept() waiting.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.threads[0].join()
        for connection in self.connections:
            with_shutdown(connection)
        for thread in self.threads[1:]:
            thread.join()
        self.listener.close()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            self.connections.append(connection)
            self.threads.append(threading.Thread(target=self.serve, args=[connection]))
            self.threads[-1].start()

    def serve(self, connection):
        with connection, connection.makefile("rb") as stream:
            try:
                while request := read_request(stream):
                    self.requests.append(request)
                    if not self.reply(connection, request):
                        return
            except OSError:
                return

    def reply(self, connection, request):
        """Answer; false when the connection is to be closed."""
        if request.method == "POST":
            connection.sendall(self.post_answer)
            return True
        try:
            event = self.events.pop(0)
        except IndexError:
            self.busy -= 1
            if self.busy == 0:
                self.when_idle()
            return True
        pieces = [event] if isinstance(event, bytes) else event
        for piece in pieces:
            connection.sendall(piece)
        return pieces[-1] != b""


def with_shutdown(connection):
    """Wake whoever reads from the connection, if it is still open."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


def read_request(stream):
    """The next request of a connection, or None at its end."""
    line = stream.readline().decode()
    if not line:
        return None
    method, path, _ = line.split(" ")
    headers = {}
    while (line := stream.readline().strip()) != b"":
        name, _, value = line.decode().partition(":")
        headers[name.lower()] = value.strip()
    return Request(method, path, headers, stream.read(int(headers.get("content-length", 0))))


def found_interpreters():
    """Path by version of every Python that guests may have and this machine really has."""
    found = {sys.version_info[:2]: sys.executable}
    names = [shutil.which(f"python3.{minor}") for minor in GUEST_VERSIONS]
    pyenv = sorted(Path("~/.pyenv/versions").expanduser().glob("*/bin/python3"))
    for path in [name for name in names if name] + [str(path) for path in pyenv]:
        script = "import sys; print(*sys.version_info[:2])"
        asked = subprocess.run([path, "-c", script], capture_output=True, text=True, check=False)
        if asked.returncode == 0:
            version = tuple(map(int, asked.stdout.split()))
            if version[0] == 3 and version[1] in GUEST_VERSIONS:
                found.setdefault(version, path)
    return [found[version] for version in sorted(found)]


INTERPRETERS = found_interpreters()


def pytest_generate_tests(metafunc):
    if "interpreter" in metafunc.fixturenames:
        ids = [re.sub(r".*/(?:versions/)?([\d.]+)/bin/.*", r"\1", path) for path in INTERPRETERS]
        ids = [name if "/" not in name else Path(name).name for name in ids]
        metafunc.parametrize("interpreter", INTERPRETERS, ids=ids)


@pytest.fixture
def task_root(tmp_path):
    """An empty /var/task."""
    path = tmp_path / "task"
    path.mkdir()
    return path


@pytest.fixture
def run_client(task_root):
    """Run a client until it has handled every event, or ends by itself."""

    def run(
        events=(),
        *,
        handler="app.handler",
        interpreter=None,
        command=None,
        env=None,
        post_answer=None,
        workers=1,
        idle_signal=signal.SIGKILL,
        framed=False,
    ):
        started, process = threading.Event(), None
        log, log_end = os.pipe() if framed else (None, None)

        def end():
            started.wait()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, idle_signal)

        with RuntimeApi(events, end, post_answer, workers) as api:
            try:
                process = subprocess.Popen(
                    command or [interpreter or sys.executable, "-B", str(GUEST / "bootstrap.py")],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    cwd=task_root,
                    env=guest_env(
                        api.address, handler, task_root, {**(env or {}), **log_env(log_end)}
                    ),
                    pass_fds=[log_end] if framed else (),
                    start_new_session=True,
                )
            finally:
                started.set()
                if framed:
                    os.close(log_end)
            with process:
                try:
                    out, err = process.communicate(timeout=STOP_AFTER_S)
                finally:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
            requests, connections = list(api.requests), len(api.connections)
        posts = [request for request in requests if request.method == "POST"]
        frames = read_all(log) if framed else b""
        return Outcome(
            posts, out.decode(), err.decode(), process.returncode, requests, connections, frames
        )

    return run


def log_env(descriptor):
    return {} if descriptor is None else {"_LAMBDA_TELEMETRY_LOG_FD": str(descriptor)}


def read_all(descriptor):
    with os.fdopen(descriptor, "rb") as stream:
        return stream.read()


def guest_env(address, handler, task_root, more):
    return {
        "_HANDLER": handler,
        "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
        "AWS_LAMBDA_FUNCTION_NAME": "f",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/f",
        "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]0",
        "AWS_LAMBDA_RUNTIME_API": address,
        "LAMBDA_TASK_ROOT": str(task_root),
        "LANG": "C.UTF-8",
        "PATH": os.environ["PATH"],
        "PYTHONWARNINGS": "error",
        **more,
    }


@pytest.fixture
def run_cases(run_client, task_root):
    """Run every handler of the table under one client: what was wrong, by the handler's name."""

    def run(cases, dispatcher, frame, **client):
        (task_root / "app.py").write_text(dispatcher)
        for name, case in cases.items():
            (task_root / f"{name}.py").write_text(case.code)
        events = [event_answer(json.dumps({"case": name}).encode()) for name in cases]
        outcome = run_client(events, **client)
        got = dict(zip(cases, outcome.posts, strict=False))
        assert len(got) == len(cases), outcome.stderr
        wrong = {}
        for name, case in cases.items():
            expected = expected_post(name, case, frame, str(task_root))
            post = got[name]
            seen = post.path.rpartition("/")[2], post.headers["content-type"], post.body
            if seen != expected:
                wrong[name] = {"expected": expected, "got": seen}
        return wrong

    return run


def expected_post(name, case, frame, root):
    """Last part of the path, content type and body of what a case should have posted."""
    if hasattr(case, "body"):
        return "response", case.content_type, case.body
    frames = [frame, *case.frames] if case.frames else []
    error = {
        "errorMessage": case.message,
        "errorType": case.error_type,
        "requestId": "r-1",
        "stackTrace": [text.replace("{root}", root).replace("{name}", name) for text in frames],
    }
    return "error", "application/json", json.dumps(error, ensure_ascii=False).encode()


@pytest.fixture
def aws_client(task_root):
    """Arguments for `run_client` that run AWS's own client, where it is installed."""

    def arguments(handler):
        if importlib.util.find_spec("awslambdaric") is None:
            pytest.skip("awslambdaric is not installed: nothing to compare with")
        path = ":".join([str(task_root), *filter(None, sys.path)])
        return {
            "command": [sys.executable, "-B", "-m", "awslambdaric", handler],
            "env": {"PYTHONPATH": path, "PYTHONWARNINGS": "ignore"},
        }

    return arguments


@pytest.fixture
def run_either(run_client, aws_client):
    """Run ours, or AWS's client on the same terms."""

    def run(client, events=(), *, env, **options):
        aws = aws_client("app.handler") if client == "aws" else {}
        env = {"PYTHONWARNINGS": "ignore", **aws.pop("env", {}), **env}
        return run_client(events, env=env, **aws, **options)

    return run


@pytest.fixture
def event():
    return event_answer


@pytest.fixture
def http_answer():
    return answer


@pytest.fixture
def guest():
    """The folder of the guest files."""
    return GUEST
