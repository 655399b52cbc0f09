"""How a runtime starts: what it is started by, what it loads, and how it says that it cannot."""

import json
import signal
import subprocess

import pytest

WARNING = "[WARNING]\t"
RETURNS_ONE = "def handler(event, context):\n    return 1\n"


FAULTS = {
    "no_dot": (
        "app",
        RETURNS_ONE,
        "Runtime.MalformedHandlerName",
        "Bad handler 'app': not enough values to unpack (expected 2, got 1)",
    ),
    "no_name": (
        "",
        RETURNS_ONE,
        "Runtime.MalformedHandlerName",
        "Bad handler '': not enough values to unpack (expected 2, got 1)",
    ),
    "no_module": (
        "none.handler",
        "",
        "Runtime.ImportModuleError",
        "Unable to import module 'none': No module named 'none'",
    ),
    "no_module_at_a_path": (
        "a/b.handler",
        "",
        "Runtime.ImportModuleError",
        "Unable to import module 'a/b': No module named 'a'",
    ),
    "no_module_inside": (
        "app.handler",
        "import none_such\n",
        "Runtime.ImportModuleError",
        "Unable to import module 'app': No module named 'none_such'",
    ),
    "no_handler": (
        "app.other",
        RETURNS_ONE,
        "Runtime.HandlerNotFound",
        "Handler 'other' missing on module 'app'",
    ),
    "a_built_in_module": (
        "sys.exit",
        "",
        "Runtime.BuiltInModuleConflict",
        "Cannot use built-in module sys as a handler module",
    ),
}


@pytest.mark.parametrize("case", FAULTS)
@pytest.mark.parametrize("client", ["ours", "aws"])
def test_a_handler_that_cannot_be_found_is_reported_and_the_process_ends(
    run_client, task_root, aws_client, case, client
):
    handler, code, error_type, message = FAULTS[case]
    (task_root / "app.py").write_text(code)
    outcome = run_client(handler=handler, **(aws_client(handler) if client == "aws" else {}))
    (post,) = outcome.posts
    error = {
        "errorMessage": message,
        "errorType": error_type,
        "requestId": "",
        "stackTrace": [],
    }
    assert post.path == "/2018-06-01/runtime/init/error"
    assert post.body == json.dumps(error).encode()
    assert post.headers["lambda-runtime-function-error-type"] == error_type
    assert outcome.status == 1


def test_a_syntax_error_shows_where_it_is(run_client, interpreter, task_root):
    (task_root / "app.py").write_text("def handler(event, context)\n    pass\n")
    (post,) = run_client(interpreter=interpreter).posts
    error = json.loads(post.body)
    assert error["errorType"] == "Runtime.UserCodeSyntaxError"
    assert error["errorMessage"].startswith("Syntax error in module 'app': ")
    assert error["errorMessage"].endswith(" (app.py, line 1)")
    line = "def handler(event, context)\n"
    assert error["stackTrace"] == [f'  File "{task_root}/app.py" Line 1\n    {line}']


def test_a_module_that_raises_shows_the_import_as_on_aws(run_client, interpreter, task_root):
    (task_root / "app.py").write_text("x = 1\nx / 0\n")
    outcome = run_client(interpreter=interpreter)
    error = json.loads(outcome.posts[0].body)
    assert (error["errorType"], error["errorMessage"]) == ("ZeroDivisionError", "division by zero")
    assert "importlib/__init__.py" in error["stackTrace"][0]
    assert (
        error["stackTrace"][-1] == f'  File "{task_root}/app.py", line 2, in <module>\n    x / 0\n'
    )
    assert outcome.stdout.startswith(WARNING)
    assert "LAMBDA_WARNING: Unhandled exception. " in outcome.stdout
    assert "[ERROR] ZeroDivisionError: division by zero\rTraceback" in outcome.stdout


def test_a_module_that_exits_ends_the_process_without_a_report(run_client, task_root):
    (task_root / "app.py").write_text("import sys\nsys.exit(5)\n")
    outcome = run_client()
    assert (outcome.posts, outcome.status) == ([], 5)


def test_a_handler_may_lie_at_a_path_with_slashes(run_client, task_root, event):
    (task_root / "a" / "b").mkdir(parents=True)
    (task_root / "a" / "b" / "c.py").write_text(RETURNS_ONE)
    for handler in ("a/b/c.handler", "a.b.c.handler"):
        assert run_client([event()], handler=handler).posts[0].body == b"1"


def test_the_function_comes_before_its_layers_and_all_else(run_client, task_root, event):
    (task_root / "app.py").write_text(
        "import sys\ndef handler(event, context):\n    return sys.path\n"
    )
    env = {"PYTHONPATH": "/mine::/opt/python"}
    path = json.loads(run_client([event()], env=env).posts[0].body)
    assert path[0] == str(task_root)
    assert path[1].startswith("/opt/python/lib/python3.")
    assert path[1].endswith("/site-packages")
    assert path[2:4] == ["/opt/python", "/mine"]
    assert len(path) == len(set(path))


def test_path_files_of_the_function_are_honoured(run_client, task_root, event):
    (task_root / "vendored").mkdir()
    (task_root / "vendored" / "app.py").write_text(RETURNS_ONE)
    (task_root / "my.pth").write_text("vendored\n")
    assert run_client([event()]).posts[0].body == b"1"


def test_modules_of_the_function_hide_none_of_the_runtimes(run_client, task_root, event):
    for name in ("context", "client", "runtime_client", "guest"):
        (task_root / f"{name}.py").write_text(f"NAME = '{name} of the function'\n")
    (task_root / "app.py").write_text(
        "import context, client, runtime_client, guest\n"
        "def handler(event, _):\n    return [context.NAME, client.NAME]\n"
    )
    body = run_client([event()]).posts[0].body
    assert json.loads(body) == ["context of the function", "client of the function"]


def test_importing_the_runtime_ahead_changes_nothing(interpreter, guest):
    script = (
        "import os, signal, sys, threading\n"
        "import logging\n"
        f"sys.path.insert(0, {str(guest)!r})\n"
        "def state():\n"
        "    return (dict(os.environ), os.listdir('/proc/self/fd'), threading.active_count(),\n"
        "            logging.root.handlers, logging.Formatter.converter, sys.stdout, sys.path[:])\n"
        "before = state()\n"
        "import bootstrap\n"
        "assert state() == before\n"
        "heavy = {'typing', 'asyncio', 'http.client', 'urllib', 'inspect', 'pathlib', 'decimal'}\n"
        "print(sorted(heavy & sys.modules.keys()))\n"
    )
    command = [interpreter, "-I", "-S", "-B", "-c", script]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env={})
    assert told.stdout == "[]\n"


def test_a_process_forked_from_an_importer_finds_the_functions_own_modules(
    run_client, interpreter, task_root, event, guest
):
    """Also one of the name that the runtime itself bears."""
    (task_root / "bootstrap.py").write_text(RETURNS_ONE)
    script = (
        "import os, sys\n"
        f"sys.path.insert(0, {str(guest)!r})\n"
        "import bootstrap\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    bootstrap.main()\n"
        "os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
    )
    # Only its parent would be killed; a connection closed twice ends the forked process too.
    outcome = run_client(
        [event(), b"", b""],
        handler="bootstrap.handler",
        command=[interpreter, "-I", "-B", "-c", script],
    )
    assert [post.body for post in outcome.posts] == [b"1"]


def test_the_start_script_runs_the_runtime(run_client, task_root, event, guest):
    (task_root / "app.py").write_text(RETURNS_ONE)
    outcome = run_client([event()], command=[str(guest / "bootstrap")])
    assert outcome.posts[0].body == b"1"


def test_the_wrapper_is_given_the_command_to_run(run_client, task_root, event, guest):
    (task_root / "app.py").write_text(
        "import os\ndef handler(event, context):\n    return os.environ['WRAPPED']\n"
    )
    wrapper = task_root / "my wrapper"
    wrapper.write_text('#!/bin/sh\nWRAPPED="$*" exec "$@"\n')
    wrapper.chmod(0o755)
    env = {"AWS_LAMBDA_EXEC_WRAPPER": str(wrapper), "PYTHONDONTWRITEBYTECODE": "1"}
    outcome = run_client([event()], command=[str(guest / "bootstrap")], env=env)
    assert json.loads(outcome.posts[0].body).endswith(f"python3 {guest}/bootstrap.py")


def test_a_wrapper_that_does_not_exist_is_status_127(run_client, guest):
    env = {"AWS_LAMBDA_EXEC_WRAPPER": "/opt/none"}
    assert run_client(command=[str(guest / "bootstrap")], env=env).status == 127


def test_a_signal_is_handled_while_the_next_event_is_awaited(
    run_client, interpreter, task_root, event
):
    (task_root / "app.py").write_text(
        "import signal, sys\n"
        "def leave(number, frame):\n    print('leaving')\n    sys.exit(3)\n"
        "signal.signal(signal.SIGTERM, leave)\n" + RETURNS_ONE
    )
    outcome = run_client([event()], interpreter=interpreter, idle_signal=signal.SIGTERM)
    assert (outcome.stdout, outcome.status) == ("leaving\n", 3)


def test_a_signal_that_the_function_does_not_handle_ends_it(run_client, task_root, event):
    (task_root / "app.py").write_text(RETURNS_ONE)
    assert run_client([event()], idle_signal=signal.SIGTERM).status == -signal.SIGTERM
