"""The operations on log streams. A stream is there as long as the group holds anything of it."""

from __future__ import annotations

from lambdad.api.logs.place import (
    Key,
    Params,
    Place,
    Result,
    exists_already,
    invalid,
    no_stream,
    page,
)
from lambdad.observe.log_records import Span


class StreamOperations:
    """Operations, named as in the service model."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def DescribeLogStreams(self, params: Params) -> Result:
        by_time = params.get("orderBy") == "LastEventTime"
        prefix = params.get("logStreamNamePrefix", "")
        if by_time and prefix:
            raise invalid("Cannot order by LastEventTime with a logStreamNamePrefix.")
        group = self._place.group(params)
        view, arn = self._place.view(group), self._place.group_arn(group.facts.name)

        def key(stream: tuple[str, Span]) -> Key:
            return stream[1].last_ms if by_time else 0, stream[0]

        def described() -> Result:
            found = [stream for stream in view.streams().items() if stream[0].startswith(prefix)]
            shown, token = page(found, key, params, descending=params.get("descending", False))
            return {"logStreams": [_shown(name, span, arn) for name, span in shown], **token}

        return await self._place.read(described)

    async def CreateLogStream(self, params: Params) -> Result:
        if await self._place.has_stream(params):
            raise exists_already("log stream")
        group = self._place.group(params)  # It may have gone meanwhile.
        self._place.store.put(group.facts.name, params["logStreamName"], [])
        return {}

    async def DeleteLogStream(self, params: Params) -> Result:
        if not await self._place.has_stream(params):
            raise no_stream()
        group = self._place.group(params)  # It may have gone meanwhile.
        self._place.store.delete_stream(group.facts.name, params["logStreamName"])
        return {}


def _shown(name: str, span: Span, group_arn: str) -> Result:
    shown: Result = {
        "logStreamName": name,
        "creationTime": span.created_ms,
        "arn": f"{group_arn}:log-stream:{name}",
        "storedBytes": span.message_bytes,
    }
    if span.first_ms is not None:
        shown |= {
            "firstEventTimestamp": span.first_ms,
            "lastEventTimestamp": span.last_ms,
            "lastIngestionTime": span.ingested_ms,
        }
    return shown
