"""What runs before a snapshot and after a restore, as under AWS's client."""

import importlib.util
import inspect
import json

import pytest

BOTH = pytest.mark.parametrize("client", ["ours", "aws"])
SNAP_START = {"AWS_LAMBDA_INITIALIZATION_TYPE": "snap-start"}
HOOKS = """
from snapshot_restore_py import register_after_restore, register_before_snapshot
register_before_snapshot(print, "before 1")
register_before_snapshot(print, "before 2", end="!\\n")
register_after_restore(print, "after 1")
register_after_restore(print, "after 2")
def handler(event, context):
    print("called")
"""
RAISES = """
from snapshot_restore_py import register_after_restore, register_before_snapshot
def hook():
    raise KeyError("x")
register_{which}(hook)
def handler(event, context):
    return 1
"""


COUNTS = """
import gc, os
from snapshot_restore_py import register_after_restore, register_before_snapshot
register_before_snapshot(print, "before")
register_after_restore(print, "after")
def handler(event, context):
    print("collects", gc.isenabled(), gc.get_freeze_count() > 0)
    links = [os.readlink(link) for link in map("/proc/self/fd/{}".format, range(3, 64))
             if os.path.lexists(link)]
    print("sockets", sum(link.startswith("socket:") for link in links))
"""
LOST = [b""]  # The connection ends without an answer, as a copy of the process finds it.


@BOTH
def test_hooks_run_around_the_restore(run_either, task_root, event, http_answer, client):
    (task_root / "app.py").write_text(HOOKS)
    outcome = run_either(client, [http_answer(b""), event()], env=SNAP_START)
    lines = ["before 2!", "before 1", "after 1", "after 2", "called"]
    assert outcome.stdout.splitlines() == lines
    paths = [request.path.removeprefix("/2018-06-01/runtime/") for request in outcome.requests]
    assert paths[:2] == ["restore/next", "invocation/next"]


@BOTH
@pytest.mark.parametrize(
    "case",
    [
        ("before_snapshot", "init/error", "Runtime.BeforeSnapshotError", 64),
        ("after_restore", "restore/error", "Runtime.AfterRestoreError", 65),
    ],
)
def test_a_hook_that_raises_is_reported_and_ends_the_process(
    run_either, task_root, http_answer, client, case
):
    which, path, error_type, status = case
    (task_root / "app.py").write_text(RAISES.replace("{which}", which))
    outcome = run_either(client, [http_answer(b"")], env=SNAP_START)
    (post,) = outcome.posts
    error = json.loads(post.body)
    assert post.path == f"/2018-06-01/runtime/{path}"
    assert post.headers["lambda-runtime-function-error-type"] == error_type
    assert (error["errorType"], error["errorMessage"]) == ("KeyError", "'x'")
    assert error["stackTrace"][-1].endswith('in hook\n    raise KeyError("x")\n')
    assert outcome.status == status
    assert "[ERROR] KeyError: 'x'\rTraceback" in outcome.stdout


@BOTH
def test_a_restore_that_is_refused_is_reported(run_either, task_root, http_answer, client):
    (task_root / "app.py").write_text(HOOKS)
    refusal = http_answer(b"{}", "403 Forbidden")
    outcome = run_either(client, [refusal], env=SNAP_START)
    assert outcome.posts[0].path == "/2018-06-01/runtime/init/error"
    assert outcome.status == 64


def test_a_function_without_hooks_needs_no_module_for_them(
    run_client, task_root, event, http_answer, interpreter
):
    (task_root / "app.py").write_text("def handler(event, context):\n    return 1\n")
    outcome = run_client([http_answer(b""), event()], interpreter=interpreter, env=SNAP_START)
    assert [post.body for post in outcome.posts] == [b"1"]


def test_hooks_that_the_handler_registers_do_not_run(run_client, task_root, event, http_answer):
    (task_root / "app.py").write_text(
        "import snapshot_restore_py as hooks\n"
        "def handler(event, context):\n"
        "    hooks.register_before_snapshot(print, 'before')\n"
        "    hooks.register_after_restore(print, 'after')\n"
    )
    outcome = run_client([http_answer(b""), event(), event()], env=SNAP_START)
    assert len(outcome.posts) == 2
    assert outcome.stdout == ""


def test_a_function_that_packs_its_own_copy_gets_that(run_client, task_root, event, http_answer):
    (task_root / "app.py").write_text(HOOKS)
    (task_root / "snapshot_restore_py.py").write_text(
        "def register_before_snapshot(*_, **__): pass\n"
        "def register_after_restore(*_): pass\n"
        "def get_before_snapshot(): return [(print, ['its own before'], {})]\n"
        "def get_after_restore(): return [(print, ['its own after'], {})]\n"
    )
    outcome = run_client([http_answer(b""), event()], env=SNAP_START)
    assert outcome.stdout.splitlines() == ["its own before", "its own after", "called"]


def test_the_library_is_used_as_awss_is(guest):
    aws = pytest.importorskip("snapshot_restore_py")
    spec = importlib.util.spec_from_file_location("ours", guest / "snapshot_restore_py.py")
    ours = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(ours)
    for when in ("before_snapshot", "after_restore"):
        for module in (aws, ours):
            register = getattr(module, f"register_{when}")
            assert [*inspect.signature(register).parameters] == ["func", "args", "kwargs"]
            assert register(print) is print
            assert register(max, 1, key=2) is max
        registered = [getattr(module, f"get_{when}") for module in (aws, ours)]
        assert registered[0]() == registered[1]() == [(print, (), {}), (max, (1,), {"key": 2})]
        for get in registered:
            get().clear()
            assert get() is get()


def test_a_copy_asks_for_itself_and_closes_what_it_was_copied_with(
    run_client, task_root, event, http_answer, interpreter
):
    (task_root / "app.py").write_text(COUNTS)
    events = [LOST, http_answer(b""), event()]
    outcome = run_client(events, interpreter=interpreter, env=SNAP_START)
    assert outcome.stderr == ""
    lines = ["before", "after", "collects True True", "sockets 1"]
    assert outcome.stdout.splitlines() == lines
    paths = [request.path.removeprefix("/2018-06-01/runtime/") for request in outcome.requests]
    assert paths[:3] == ["restore/next", "restore/next", "invocation/next"]
    assert outcome.connections == 2


def test_a_process_that_was_not_copied_waits_on_its_connection(
    run_client, task_root, event, http_answer
):
    (task_root / "app.py").write_text(COUNTS)
    outcome = run_client([http_answer(b""), event()], env=SNAP_START)
    assert outcome.stdout.splitlines()[-2:] == ["collects True True", "sockets 1"]
    assert outcome.connections == 1


def test_who_wanted_no_collections_has_none_after_the_restore(
    run_client, task_root, event, http_answer
):
    (task_root / "app.py").write_text(COUNTS + "gc.disable()\n")
    outcome = run_client([LOST, http_answer(b""), event()], env=SNAP_START)
    assert "collects False True" in outcome.stdout


def test_a_copy_that_is_not_answered_either_is_reported(run_client, task_root, http_answer):
    (task_root / "app.py").write_text(HOOKS)
    outcome = run_client([LOST, LOST], env=SNAP_START)
    assert outcome.posts[0].path == "/2018-06-01/runtime/init/error"
    assert "it closed the connection" in outcome.posts[0].body.decode()
    assert outcome.status == 64
