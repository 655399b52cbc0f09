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
        streams = await self._place.read(self._place.view(group).streams)

        def key(stream: tuple[str, Span]) -> Key:
            return stream[1].last_ms if by_time else 0, stream[0]

        found = [stream for stream in streams.items() if stream[0].startswith(prefix)]
        shown, token = page(found, key, params, descending=params.get("descending", False))
        arn = self._place.group_arn(group.facts.name)
        return {"logStreams": [_shown(name, span, arn) for name, span in shown], **token}

    async def CreateLogStream(self, params: Params) -> Result:
        group, name = self._place.group(params), params["logStreamName"]
        if name in await self._place.read(self._place.view(group).streams):
            raise exists_already("log stream")
        self._place.store.put(group.facts.name, name, [])
        return {}

    async def DeleteLogStream(self, params: Params) -> Result:
        group, name = self._place.group(params), params["logStreamName"]
        if name not in await self._place.read(self._place.view(group).streams):
            raise no_stream()
        group.delete_stream(name, self._place.store.now_ms())
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
