"""Responses that stream: checks 35 to 39."""

from __future__ import annotations

import base64
import time

import pytest
from conformance.runtime_api.players import chunk

MIB = 1024 * 1024
END = b"0\r\n\r\n"


@pytest.fixture
def streaming(stage):
    """A runtime, its event, the connection of the response that it has begun, and the stream."""

    def begun(headers, first):
        show = stage()
        asked = show.invoke_stream()
        runtime = show.runtime()
        event = runtime.next()
        lane = runtime.begin_stream(event, headers)
        runtime.send(chunk(first), lane=lane)
        return runtime, lane, asked.result()

    return begun


def payload_of(event):
    return event["PayloadChunk"]["Payload"]


def whole(events):
    """The payload of what is left of a stream, and what is said at its end."""
    *chunks, last = list(events)
    return b"".join(map(payload_of, chunks)), last["InvokeComplete"]


def test_035_a_stream_is_forwarded_chunk_by_chunk(streaming):
    runtime, lane, stream = streaming({"Content-Type": "application/octet-stream"}, b"\0first")
    events = iter(stream)
    assert payload_of(next(events)) == b"\0first"
    runtime.send(chunk(b"second"), lane=lane)
    assert payload_of(next(events)) == b"second"
    runtime.send(END, lane=lane)
    assert runtime.receive(lane).result().status == 202
    payload, end = whole(events)
    assert payload == b""
    assert not end.get("ErrorCode")


def test_036_an_error_in_mid_stream_comes_in_trailers(streaming):
    error = b'{"errorMessage":"m\xc3\xa4","errorType":"Function.Broken"}'
    runtime, lane, stream = streaming(
        {"Trailer": "Lambda-Runtime-Function-Error-Type, Lambda-Runtime-Function-Error-Body"},
        b"begun",
    )
    trailers = "Lambda-Runtime-Function-Error-Type: Function.Broken\r\n"
    trailers += f"Lambda-Runtime-Function-Error-Body: {base64.b64encode(error).decode()}\r\n\r\n"
    runtime.send(b"0\r\n" + trailers.encode(), lane=lane)
    assert runtime.receive(lane).result().status == 202
    payload, end = whole(stream)
    assert payload == b"begun"
    assert (end["ErrorCode"], end["ErrorDetails"]) == ("Function.Broken", error.decode())


def test_037_the_prelude_of_an_http_integration_arrives_as_it_is(streaming):
    prelude = b'{"statusCode":200,"headers":{"a":"b"},"cookies":[]}' + bytes(8) + b"body"
    kind = {"Content-Type": "application/vnd.awslambda.http-integration-response"}
    runtime, lane, stream = streaming(kind, prelude)
    runtime.send(END, lane=lane)
    payload, end = whole(stream)
    assert payload == prelude
    assert not end.get("ErrorCode")


def test_038_a_stream_is_slowed_after_six_mib(streaming):
    runtime, lane, stream = streaming({}, b"first")
    began = time.monotonic()
    runtime.send(b"%x\r\n" % (10 * MIB), fill=10 * MIB, lane=lane)
    runtime.send(b"\r\n" + END, lane=lane)
    payload, _ = whole(stream)
    assert len(payload) == len(b"first") + 10 * MIB
    assert time.monotonic() - began >= 1.8
    assert runtime.receive(lane).result().status == 202


def test_039_a_function_streams_on_when_its_invoker_has_gone(streaming):
    runtime, lane, stream = streaming({}, b"first")
    assert payload_of(next(iter(stream))) == b"first"
    stream.close()
    for _ in range(8):
        runtime.send(chunk(bytes(64 * 1024)), lane=lane)
    runtime.send(END, lane=lane)
    assert runtime.receive(lane).result().status == 202
