"""What a store does with events: every driver does all of this."""

import asyncio

import pytest

from lambdad.model.event import Event

pytestmark = pytest.mark.asyncio


def event(request_id="r-1", **values):
    least = {
        "function": "fn",
        "version": "$LATEST",
        "payload": b'{"a": "\xc3\xbc"}',
        "function_arn": "arn",
        "trace": "Root=1",
        "client_context": None,
        "content_type": "application/json",
        "tenant_id": None,
        "traced": False,
        "accepted": 1.25,
        "due": 1.25,
    }
    return Event(request_id, **{**least, **values})


async def test_a_new_store_has_no_events(store):
    assert await store.events() == {}
    assert await store.event("r-1") is None


async def test_an_event_comes_back_as_it_went_in(store):
    full = event(
        "r-2", client_context="{}", tenant_id="t", traced=True, attempts=2, payload=b"\x00\xff"
    )
    await store.add_event(event())
    await store.add_event(full)
    assert await store.events() == {"r-1": 1.25, "r-2": 1.25}
    assert await store.event("r-1") == event()
    assert await store.event("r-2") == full


async def test_an_event_is_kept_once(store):
    await store.add_event(event())
    await store.add_event(event(payload=b"other"))
    assert await store.event("r-1") == event()


async def test_what_failed_is_noted(store):
    await store.add_event(event())
    assert await store.retry_event("r-1", 1, 61.5)
    assert await store.event("r-1") == event(attempts=1, due=61.5)
    assert not await store.retry_event("r-2", 1, 61.5)


async def test_what_is_done_is_forgotten(store):
    await store.add_event(event())
    assert await store.remove_event("r-1")
    assert not await store.remove_event("r-1")
    assert await store.events() == {}


async def test_events_go_with_their_function(store, new_function):
    await store.create_function(new_function())
    await store.add_event(event())
    await store.add_event(event("r-2", function="other"))
    assert await store.delete_function("fn")
    assert list(await store.events()) == ["r-2"]


async def test_events_survive_reopening(new_store):
    store = new_store()
    await store.start()
    await asyncio.gather(*(store.add_event(event(f"r-{n}")) for n in range(20)))
    await store.stop()
    await store.start()
    try:
        assert len(await store.events()) == 20
    finally:
        await store.stop()
