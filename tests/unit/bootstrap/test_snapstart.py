"""What runs before a snapshot and after a restore, as under AWS's client."""

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


@BOTH
def test_hooks_run_around_the_restore(run_either, task_root, event, http_answer, client):
    pytest.importorskip("snapshot_restore_py")
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
    pytest.importorskip("snapshot_restore_py")
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
    pytest.importorskip("snapshot_restore_py")
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
