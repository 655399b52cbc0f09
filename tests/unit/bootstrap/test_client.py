"""How the client speaks HTTP, and what it makes of a server that breaks off."""

import pytest

NEXT = "/2018-06-01/runtime/invocation/next"


@pytest.fixture(autouse=True)
def echo(task_root):
    """The handler of every test here returns its event."""
    (task_root / "app.py").write_text("def handler(event, context):\n    return event\n")


def bodies(outcome):
    return [post.body for post in outcome.posts]


def test_one_connection_serves_every_request(run_client, interpreter, event):
    outcome = run_client([event(b"1"), event(b"2")], interpreter=interpreter)
    assert [(request.method, request.path) for request in outcome.requests] == [
        ("GET", NEXT),
        ("POST", "/2018-06-01/runtime/invocation/r-1/response"),
        ("GET", NEXT),
        ("POST", "/2018-06-01/runtime/invocation/r-1/response"),
        ("GET", NEXT),
    ]
    assert (bodies(outcome), outcome.connections, outcome.stderr) == ([b"1", b"2"], 1, "")
    assert outcome.requests[0].headers["user-agent"].startswith("aws-lambda-python/3.")
    assert outcome.requests[0].headers["user-agent"].endswith("-lambdad")


def test_an_event_may_come_in_pieces(run_client, event):
    whole = event(b'"abcdef"')
    pieces = [whole[at : at + 7] for at in range(0, len(whole), 7)]
    assert bodies(run_client([pieces])) == [b'"abcdef"']


def test_an_event_may_come_in_chunks(run_client, event):
    head = event(b"", Transfer_Encoding="chunked").replace(b"Content-Length: 0\r\n", b"")
    chunks = b'5;note=x\r\n"abcd\r\n1\r\n"\r\n0\r\nTrailer: x\r\n\r\n'
    assert bodies(run_client([head + chunks, event(b"2")])) == [b'"abcd"', b"2"]


def test_names_of_headers_have_no_case(run_client, event):
    head, _, body = event(b"1").partition(b"\r\n\r\n")
    assert bodies(run_client([head.lower().replace(b"http", b"HTTP") + b"\r\n\r\n" + body])) == [
        b"1"
    ]


def test_events_and_results_may_be_large(run_client, event):
    large = b'"' + b"x" * (6 << 20) + b'"'
    assert bodies(run_client([event(large)])) == [large]


def test_an_attempt_is_named_in_its_answer(run_client, event):
    outcome = run_client([event(Lambda_Runtime_Invocation_Id="attempt"), event()])
    names = [post.headers.get("lambda-runtime-invocation-id") for post in outcome.posts]
    assert names == ["attempt", None]


def test_a_connection_closed_before_an_answer_is_replaced_once(run_client, event):
    outcome = run_client([event(b"1"), b"", event(b"2")])
    assert (bodies(outcome), outcome.connections) == ([b"1", b"2"], 2)


def test_a_connection_closed_twice_ends_the_process(run_client, event):
    outcome = run_client([b"", b"", event()])
    assert (outcome.status, outcome.connections) == (1, 2)
    assert "cannot reach the Runtime API" in outcome.stderr


def test_a_server_that_closes_after_each_answer_is_served(run_client, event):
    outcome = run_client([event(b"1", Connection="close"), event(b"2", Connection="close")])
    assert bodies(outcome) == [b"1", b"2"]
    assert outcome.connections == 3


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 500 X\r\nContent-Length: 3\r\n\r\nbad", "cannot get the next invocation: 500"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "Lambda-Runtime-Aws-Request-Id"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * (2 << 20), "cannot read headers: they are too long"),
    ],
)
def test_an_answer_that_is_no_event_ends_the_process(run_client, answer, words):
    outcome = run_client([answer])
    assert outcome.status == 1
    assert words in outcome.stderr


def test_a_body_cut_short_ends_the_process(run_client, event):
    outcome = run_client([[event(b"12345")[:-1], b""]], env={})
    assert outcome.status == 1
    assert "cannot read a body of 5 bytes: it ends after 4" in outcome.stderr


def test_a_result_too_large_for_the_platform_is_not_the_end(run_client, event, http_answer):
    refusal = http_answer(b"{}", "413 Request Entity Too Large")
    outcome = run_client([event(b"1"), event(b"2")], post_answer=refusal)
    assert bodies(outcome) == [b"1", b"2"]


def test_a_result_refused_otherwise_ends_the_process(run_client, event, http_answer):
    outcome = run_client([event(b"1"), event(b"2")], post_answer=http_answer(b"{}", "403 No"))
    assert (bodies(outcome), outcome.status) == ([b"1"], 1)
    assert "cannot post to" in outcome.stderr
