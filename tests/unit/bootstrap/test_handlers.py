"""What a handler's caller gets is what AWS's client would have sent, byte for byte."""

import json

import pytest
from unit.bootstrap import handler_cases

TABLE = (handler_cases.CASES, handler_cases.DISPATCHER, handler_cases.DISPATCHER_FRAME)
QUIET = {"PYTHONWARNINGS": "ignore"}


def test_every_handler_of_the_table_is_answered_as_the_table_says(run_cases, interpreter):
    assert run_cases(*TABLE, interpreter=interpreter, env=QUIET) == {}


def test_the_table_is_what_awslambdaric_does(run_cases, aws_client):
    assert run_cases(*TABLE, **aws_client("app.handler")) == {}


def test_earlier_runtimes_and_images_escape_unicode(run_client, task_root, event):
    (task_root / "app.py").write_text("def handler(event, context):\n    return event\n")
    for execution_env in ("AWS_Lambda_python3.11", ""):
        outcome = run_client([event('"\u00e9"'.encode())], env={"AWS_EXECUTION_ENV": execution_env})
        assert outcome.posts[0].body == b'"\\u00e9"'


def test_an_event_that_is_not_json_by_its_type_arrives_as_bytes(run_client, task_root, event):
    (task_root / "app.py").write_text("def handler(event, context):\n    return repr(event)\n")
    outcome = run_client([event(b"{}", Content_Type="text/plain")])
    assert outcome.posts[0].body == b"\"b'{}'\""


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        (b"", "Expecting value: line 1 column 1 (char 0)"),
        (b"[NaN]", "Expecting value: line 1 column 2 (char 1)"),
        (b'{"a":', "Expecting value: line 1 column 6 (char 5)"),
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ],
)
def test_an_event_that_is_no_json_never_reaches_the_handler(
    run_client, task_root, event, payload, message
):
    (task_root / "app.py").write_text("def handler(event, context):\n    print('called')\n")
    outcome = run_client([event(payload)])
    assert json.loads(outcome.posts[0].body) == {
        "errorMessage": f"Unable to unmarshal input: {message}",
        "errorType": "Runtime.UnmarshalError",
        "requestId": "r-1",
        "stackTrace": [],
    }
    assert "called" not in outcome.stdout


def test_client_context_identity_and_tenant_reach_the_handler(run_client, task_root, event):
    (task_root / "app.py").write_text(
        "def handler(event, context):\n"
        "    c, i = context.client_context, context.identity\n"
        "    return [c.custom, c.env, c.client.app_title, c.client.installation_id,\n"
        "            i.cognito_identity_id, i.cognito_identity_pool_id,\n"
        "            context.tenant_id, context.w3c()]\n"
    )
    client_context = {
        "custom": {"a": 1},
        "client": {"app_title": "\u00e9"},
        "w3c": {"traceparent": "00", "baggage": 1, "other": "x"},
    }
    headers = {
        "Lambda_Runtime_Client_Context": json.dumps(client_context, ensure_ascii=False),
        "Lambda_Runtime_Cognito_Identity": '{"cognitoIdentityId":"i","cognitoIdentityPoolId":"p"}',
        "Lambda_Runtime_Aws_Tenant_Id": "t",
    }
    outcome = run_client([event(**headers)])
    assert json.loads(outcome.posts[0].body) == [
        {"a": 1},
        None,
        "\u00e9",
        None,
        "i",
        "p",
        "t",
        {"traceparent": "00"},
    ]


def test_a_client_context_that_is_no_json_is_the_invokers_error(run_client, task_root, event):
    (task_root / "app.py").write_text("def handler(event, context):\n    return 1\n")
    outcome = run_client([event(Lambda_Runtime_Client_Context="{")])
    error = json.loads(outcome.posts[0].body)
    assert error["errorType"] == "Runtime.LambdaContextUnmarshalError"
    assert error["errorMessage"].startswith("Unable to parse Client Context JSON: Expecting")


def test_the_trace_header_is_set_for_the_call_and_removed_without_one(run_client, task_root, event):
    (task_root / "app.py").write_text(
        "import os\ndef handler(event, context):\n    return os.environ.get('_X_AMZN_TRACE_ID')\n"
    )
    outcome = run_client([event(Lambda_Runtime_Trace_Id="Root=1"), event()])
    assert [post.body for post in outcome.posts] == [b'"Root=1"', b"null"]


def test_the_xray_cause_names_what_happened_where(run_client, task_root, event):
    (task_root / "app.py").write_text("def handler(event, context):\n    raise ValueError('x')\n")
    cause = run_client([event()]).posts[0].headers["lambda-runtime-function-xray-error-cause"]
    path = f"{task_root}/app.py"
    assert json.loads(cause) == {
        "working_directory": str(task_root),
        "exceptions": [
            {
                "message": "x",
                "type": "ValueError",
                "stack": [{"label": "handler", "path": path, "line": 2}],
            }
        ],
        "paths": [path],
    }


def test_an_xray_cause_of_a_mebibyte_is_left_out(run_client, task_root, event):
    (task_root / "app.py").write_text(
        "def handler(event, context):\n    raise ValueError('x' * (1 << 20))\n"
    )
    post = run_client([event()]).posts[0]
    assert "lambda-runtime-function-xray-error-cause" not in post.headers
    assert len(post.body) > 1 << 20


@pytest.mark.parametrize(
    ("statement", "status"),
    [
        ("sys.exit(3)", 3),
        ("sys.exit()", 0),
        ("os._exit(4)", 4),
        ("raise KeyboardInterrupt", -2),
        ("os.kill(os.getpid(), 9)", -9),
    ],
)
def test_a_handler_that_ends_the_process_does_so_with_all_it_printed(
    run_client, task_root, event, statement, status
):
    (task_root / "app.py").write_text(
        "import os, sys\n"
        f"def handler(event, context):\n    print('last words', end='')\n    {statement}\n"
    )
    outcome = run_client([event()])
    assert (outcome.stdout, outcome.status, outcome.posts) == ("last words", status, [])


def test_a_handler_of_one_argument_is_told_so(run_client, task_root, event):
    (task_root / "app.py").write_text("def handler(event):\n    pass\n")
    error = json.loads(run_client([event()]).posts[0].body)
    assert error["errorMessage"] == "handler() takes 1 positional argument but 2 were given"
    (frame,) = error["stackTrace"]
    assert "/bootstrap.py" in frame
    assert frame.endswith(
        "in handle_event_request\n    response = request_handler(event, lambda_context)\n"
    )
