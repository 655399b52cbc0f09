"""Messages, as botocore's own parser reads them."""

import pytest
from botocore.eventstream import EventStreamBuffer

from lambdad.api.wire import eventstream, render


def read(data):
    buffer = EventStreamBuffer()
    buffer.add_data(data)
    return [(message.headers, message.payload) for message in buffer]


@pytest.mark.parametrize("payload", [b"", b"\x00\xff" * 10, b"x" * 1_000_000])
def test_a_message_is_read_as_it_was_written(payload):
    headers = {":event-type": "PayloadChunk", "ü": "ß"}
    assert read(eventstream.message(headers, payload)) == [(headers, payload)]


async def given(*events):
    for event in events:
        yield event


async def answered(model, *events):
    result = {"StatusCode": 200, "ExecutedVersion": "7", "EventStream": given(*events)}
    answer = render.render(model.operations["InvokeWithResponseStream"], result)
    return answer, b"".join([message async for message in answer.body])


@pytest.mark.asyncio
async def test_events_are_rendered_as_the_model_has_them(model):
    answer, data = await answered(
        model,
        ("PayloadChunk", {"Payload": b"\x00\xff"}),
        ("InvokeComplete", {"ErrorCode": "E", "ErrorDetails": None}),
    )
    assert (answer.status, answer.headers) == (
        200,
        {
            "X-Amz-Executed-Version": "7",
            "Content-Type": "application/vnd.amazon.eventstream",
        },
    )
    assert read(data) == [
        (
            {
                ":event-type": "PayloadChunk",
                ":content-type": "application/octet-stream",
                ":message-type": "event",
            },
            b"\x00\xff",
        ),
        (
            {
                ":event-type": "InvokeComplete",
                ":content-type": "application/json",
                ":message-type": "event",
            },
            b'{"ErrorCode":"E"}',
        ),
    ]


@pytest.mark.asyncio
async def test_a_stream_that_nobody_reads_to_its_end_is_closed(model):
    closed = []

    async def events():
        try:
            yield "PayloadChunk", {"Payload": b"1"}
            yield "PayloadChunk", {"Payload": b"2"}
        finally:
            closed.append(True)

    operation = model.operations["InvokeWithResponseStream"]
    body = render.render(operation, {"EventStream": events()}).body
    await anext(body)
    await body.aclose()
    assert closed == [True]


def test_a_dry_run_has_no_stream(model):
    operation = model.operations["InvokeWithResponseStream"]
    assert render.render(operation, {"StatusCode": 204}) == (204, {}, b"")
