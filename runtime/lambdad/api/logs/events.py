"""The operations on log events: read a stream, look through a group, write.

Events come in the order in which they arrived. A token says where to go on and in which
direction: it stays good, whatever is written or removed meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from typing import Any

from lambdad.api.logs.place import Params, Place, Result, invalid, no_stream
from lambdad.model import limits
from lambdad.observe.filter_pattern import BadPattern, Matches, compile_pattern
from lambdad.observe.log_group import ALWAYS_MS, Event, Query, View

_TOKEN = re.compile(r"([fb])/([0-9]{56})/s")
_THE_END = 10**56 - 1


class EventOperations:
    """Operations, named as in the service model."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def GetLogEvents(self, params: Params) -> Result:
        """Without a token, the last events, unless the first ones are asked for."""
        view = self._place.view(self._place.group(params))
        return await self._place.read(partial(_of_stream, view, params))

    async def FilterLogEvents(self, params: Params) -> Result:
        if "logStreamNames" in params and "logStreamNamePrefix" in params:
            raise invalid("logStreamNames and logStreamNamePrefix are mutually exclusive.")
        matches = _pattern(params)
        view = self._place.view(self._place.group(params))
        return await self._place.read(partial(_of_group, view, params, matches))

    async def PutLogEvents(self, params: Params) -> Result:
        self._place.group(params)
        batch = [(event["timestamp"], event["message"].encode()) for event in params["logEvents"]]
        _check(batch)
        if not await self._place.has_stream(params):
            raise no_stream()
        group, name = self._place.group(params), params["logStreamName"]  # As it is by now.
        too_old, too_new = _window(batch, self._place.store.now_ms())
        self._place.store.put(group.facts.name, name, batch[too_old:too_new])
        answer: Result = {"nextSequenceToken": f"{self._place.store.now_ms():056}"}
        rejected: Result = {}
        if too_old:
            rejected["tooOldLogEventEndIndex"] = too_old
        if too_new < len(batch):
            rejected["tooNewLogEventStartIndex"] = too_new
        if rejected:
            answer["rejectedLogEventsInfo"] = rejected
        return answer


# --- reading ------------------------------------------------------------------------------


def _of_stream(view: View, params: Params) -> Result:
    name = params["logStreamName"]
    if name not in view.streams():
        raise no_stream()
    start_ms = params.get("startTime", 0)
    query = Query({name}, start_ms, params.get("endTime", ALWAYS_MS))
    forward, position = _where(params, forward=params.get("startFromHead", False))
    found, _ = _page(_events(view, query, position, forward=forward), params)
    if not forward:
        found.reverse()
    if found:
        before, after = found[0].position, found[-1].position + 1
    else:
        before = after = 0 if position == _THE_END else position
    shown = [
        {
            "timestamp": event.timestamp_ms,
            "message": event.message,
            "ingestionTime": event.ingested_ms,
        }
        for event in found
    ]
    return {
        "events": shown,
        "nextForwardToken": _token("f", after),
        "nextBackwardToken": _token("b", before),
    }


def _of_group(view: View, params: Params, matches: Matches) -> Result:
    forward, position = _where(params, forward=params.get("startFromHead", True))
    # The last moment asked for is part of it here, though not in GetLogEvents.
    end_ms = params.get("endTime", ALWAYS_MS) + 1
    query = Query(_streams(view, params), params.get("startTime", 0), end_ms, matches)
    found, following = _page(_events(view, query, position, forward=forward), params)
    shown = [
        {
            "logStreamName": event.stream,
            "timestamp": event.timestamp_ms,
            "message": event.message,
            "ingestionTime": event.ingested_ms,
            "eventId": f"{event.position:056}",
        }
        for event in found
    ]
    answer: Result = {"events": shown, "searchedLogStreams": []}
    if following is not None:
        next_position = following.position if forward else following.position + 1
        answer["nextToken"] = _token("f" if forward else "b", next_position)
    return answer


def _streams(view: View, params: Params) -> set[str] | None:
    if "logStreamNames" in params:
        names = set(params["logStreamNames"])
        if not view.streams().keys() >= names:
            raise no_stream()
        return names
    if "logStreamNamePrefix" in params:
        prefix = params["logStreamNamePrefix"]
        return {name for name in view.streams() if name.startswith(prefix)}
    return None


def _pattern(params: Params) -> Matches:
    try:
        return compile_pattern(params.get("filterPattern", ""))
    except BadPattern as error:
        raise invalid(str(error)) from error


def _events(view: View, query: Query, position: int, *, forward: bool) -> Iterator[Event]:
    if forward:
        return view.events(query, position)
    return view.events_backwards(query, position)


def _page(events: Iterator[Event], params: Params) -> tuple[list[Event], Event | None]:
    """As many events as one answer takes, and the first that it does not take."""
    limit, size = params.get("limit", limits.log_page_events_max), 0
    found: list[Event] = []
    for event in events:
        size += len(event.message.encode()) + limits.log_event_extra_bytes
        if len(found) == limit or (found and size > limits.log_page_bytes_max):
            return found, event
        found.append(event)
    return found, None


def _where(params: Params, *, forward: bool) -> tuple[bool, int]:
    """The direction, and the position from which on, or before which, to read."""
    token = params.get("nextToken")
    if token is None:
        return forward, 0 if forward else _THE_END
    found = _TOKEN.fullmatch(token)
    if found is None:
        raise invalid("The specified nextToken is invalid.")
    return found[1] == "f", int(found[2])


def _token(direction: str, position: int) -> str:
    return f"{direction}/{position:056}/s"


# --- writing ------------------------------------------------------------------------------


def _check(batch: list[tuple[int, bytes]]) -> None:
    """Refuse what the service refuses as a whole.

    Raises:
        ApiError: the batch is too large, out of order or too long in time.
    """
    times = [timestamp_ms for timestamp_ms, _ in batch]
    if times != sorted(times):
        raise invalid("Log events in a single PutLogEvents request must be in chronological order.")
    if times[-1] - times[0] > limits.log_batch_span_s * 1000:
        raise invalid(
            "The batch of log events in a single PutLogEvents request cannot span more than 24 "
            "hours."
        )
    sizes = [len(message) + limits.log_event_extra_bytes for _, message in batch]
    if max(sizes) > limits.log_line_bytes_max:
        raise invalid(
            f"Log event too large: {max(sizes)} bytes exceeds limit of {limits.log_line_bytes_max}"
        )
    if sum(sizes) > limits.log_batch_bytes_max:
        raise invalid(
            f"Upload too large: {sum(sizes)} bytes exceeds limit of {limits.log_batch_bytes_max}"
        )


def _window(batch: list[tuple[int, Any]], now_ms: int) -> tuple[int, int]:
    """Where the events begin that are not too old, and where those begin that are too new."""
    oldest = now_ms - limits.log_too_old_s * 1000
    newest = now_ms + limits.log_too_new_s * 1000
    too_old = sum(timestamp_ms < oldest for timestamp_ms, _ in batch)
    too_new = sum(timestamp_ms <= newest for timestamp_ms, _ in batch)
    return too_old, too_new
