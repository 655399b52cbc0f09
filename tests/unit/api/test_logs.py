"""CloudWatch Logs: what is asked and answered, over the protocol's bodies."""

import errno
import json
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

import pytest

from lambdad.api.logs.door import LogsApi
from lambdad.api.logs.place import Place
from lambdad.model import limits
from lambdad.model.errors import ApiError
from lambdad.observe import log_group
from lambdad.observe.log_group import Group
from lambdad.observe.log_store import LogStore

GROUP = "/aws/lambda/fn"
ARN = f"arn:aws:logs:eu-west-1:123456789012:log-group:{GROUP}"
NOW_MS = 1_795_253_400_000


class Clock:
    now_ms = NOW_MS

    def now(self):
        return self.now_ms / 1000


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def disk():
    with ThreadPoolExecutor(1) as disk:
        yield disk


@pytest.fixture
def store(tmp_path, clock, disk):
    store = LogStore(tmp_path, clock, disk)
    yield store
    store.close_all()


@pytest.fixture
def ask(store, disk):
    """One request; gives what the body of the answer says."""
    api = LogsApi(store, disk, region="eu-west-1", account="123456789012")

    async def made(operation, **params):
        answer = await api.answer(f"Logs_20140328.{operation}", json.dumps(params).encode())
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/x-amz-json-1.1"
        return json.loads(answer.body) if answer.body else None

    return made


@pytest.fixture
def refusal(ask):
    """Asks for what is refused; gives code and message."""

    async def made(operation, **params):
        with pytest.raises(ApiError) as refused:
            await ask(operation, **params)
        return refused.value.code, refused.value.message

    return made


def say(store, *messages, stream="s", group=GROUP, begin=0):
    for number, message in enumerate(messages, begin):
        store.write(group, stream, NOW_MS + number, [message.encode()])


def messages(answer):
    return [event["message"] for event in answer["events"]]


# --- groups -------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_groups_are_described(ask, store):
    say(store, "x")
    await ask("CreateLogGroup", logGroupName="/other", tags={"a": "b"})
    await ask("PutRetentionPolicy", logGroupName="/other", retentionInDays=7)
    described = (await ask("DescribeLogGroups"))["logGroups"]
    assert described[0] == {
        "logGroupName": GROUP,
        "creationTime": NOW_MS,
        "metricFilterCount": 0,
        "arn": f"{ARN}:*",
        "logGroupArn": ARN,
        "logGroupClass": "STANDARD",
        "storedBytes": described[0]["storedBytes"],
    }
    assert described[0]["storedBytes"] > 0
    assert (described[1]["logGroupName"], described[1]["retentionInDays"]) == ("/other", 7)
    await ask("DeleteRetentionPolicy", logGroupName="/other")
    assert "retentionInDays" not in (await ask("DescribeLogGroups"))["logGroups"][1]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({}, ["/a/1", "/a/2", "/b/1"]),
        ({"logGroupNamePrefix": "/a"}, ["/a/1", "/a/2"]),
        ({"logGroupNamePattern": "1"}, ["/a/1", "/b/1"]),
        ({"logGroupNamePattern": ""}, ["/a/1", "/a/2", "/b/1"]),
        ({"logGroupIdentifiers": ["/b/1", ARN.replace(GROUP, "/a/2")]}, ["/a/2", "/b/1"]),
        ({"logGroupNamePrefix": "/c"}, []),
    ],
)
async def test_groups_are_found_by_what_is_known_of_them(ask, store, asked, names):
    for name in ("/b/1", "/a/2", "/a/1"):
        store.create(name)
    found = (await ask("DescribeLogGroups", **asked))["logGroups"]
    assert [group["logGroupName"] for group in found] == names


@pytest.mark.asyncio
async def test_pages_of_groups_hold_each_once(ask, store):
    for name in "edcba":
        store.create(name)
    found, more = [], {}
    while True:
        answer = await ask("DescribeLogGroups", limit=2, **more)
        found.append([group["logGroupName"] for group in answer["logGroups"]])
        if "nextToken" not in answer:
            break
        more = {"nextToken": answer["nextToken"]}
    assert found == [["a", "b"], ["c", "d"], ["e"]]


@pytest.mark.asyncio
async def test_tags_are_kept(ask, store):
    say(store, "x")
    await ask("TagResource", resourceArn=ARN, tags={"a": "1", "b": "2"})
    await ask("UntagResource", resourceArn=ARN, tagKeys=["a", "c"])
    assert await ask("ListTagsForResource", resourceArn=ARN) == {"tags": {"b": "2"}}


@pytest.mark.asyncio
async def test_a_deleted_group_is_gone(ask, refusal, store):
    say(store, "x")
    await ask("DeleteLogGroup", logGroupName=GROUP)
    assert await refusal("DeleteLogGroup", logGroupName=GROUP) == (
        "ResourceNotFoundException",
        "The specified log group does not exist.",
    )


# --- streams ------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_streams_are_described(ask, store):
    say(store, "one", "three")
    described = await ask("DescribeLogStreams", logGroupIdentifier=ARN)
    assert described == {
        "logStreams": [
            {
                "logStreamName": "s",
                "creationTime": NOW_MS,
                "firstEventTimestamp": NOW_MS,
                "lastEventTimestamp": NOW_MS + 1,
                "lastIngestionTime": NOW_MS,
                "arn": f"{ARN}:log-stream:s",
                "storedBytes": 8,
            }
        ]
    }


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("asked", "names"),
    [
        ({}, "abcx"),
        ({"descending": True}, "xcba"),
        ({"orderBy": "LastEventTime"}, "xbca"),
        ({"orderBy": "LastEventTime", "descending": True}, "acbx"),
        ({"logStreamNamePrefix": "b"}, "b"),
    ],
)
async def test_streams_are_put_in_order(ask, store, asked, names):
    for number, name in enumerate("bca"):
        say(store, "x", stream=name, begin=number)
    await ask("CreateLogStream", logGroupName=GROUP, logStreamName="x")
    whole = (await ask("DescribeLogStreams", logGroupName=GROUP, **asked))["logStreams"]
    assert "".join(stream["logStreamName"] for stream in whole) == names
    found, more = "", {}
    while more is not None:
        answer = await ask("DescribeLogStreams", logGroupName=GROUP, limit=1, **asked, **more)
        found += answer["logStreams"][0]["logStreamName"]
        more = {"nextToken": answer["nextToken"]} if "nextToken" in answer else None
    assert found == names


@pytest.mark.asyncio
async def test_a_stream_is_made_written_read_and_deleted(ask, refusal):
    place = {"logGroupName": GROUP, "logStreamName": "mine"}
    await ask("CreateLogGroup", logGroupName=GROUP)
    await ask("CreateLogStream", **place)
    events = [{"timestamp": NOW_MS, "message": "one\nline"}, {"timestamp": NOW_MS, "message": "ü"}]
    assert "nextSequenceToken" in await ask("PutLogEvents", **place, logEvents=events)
    assert messages(await ask("GetLogEvents", **place)) == ["one\nline", "ü"]
    assert (await refusal("CreateLogStream", **place))[0] == "ResourceAlreadyExistsException"
    await ask("DeleteLogStream", **place)
    gone = "ResourceNotFoundException", "The specified log stream does not exist."
    assert await refusal("GetLogEvents", **place) == gone
    assert await refusal("PutLogEvents", **place, logEvents=events) == gone
    assert await refusal("DeleteLogStream", **place) == gone
    await ask("CreateLogStream", **place)
    assert messages(await ask("GetLogEvents", **place)) == []


# --- writing ------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_events_of_another_time_are_rejected_and_the_others_kept(ask, store, clock):
    store.create(GROUP)
    place = {"logGroupName": GROUP, "logStreamName": "s"}
    await ask("CreateLogStream", **place)
    hour_ms = 3_600_000
    batch = [{"timestamp": NOW_MS + hours * hour_ms, "message": f"{hours}"} for hours in (0, 1, 3)]
    answer = await ask("PutLogEvents", **place, logEvents=batch)
    assert answer["rejectedLogEventsInfo"] == {"tooNewLogEventStartIndex": 2}
    batch = [{"timestamp": NOW_MS - 15 * 24 * hour_ms, "message": "old"}]
    answer = await ask("PutLogEvents", **place, logEvents=batch)
    assert answer["rejectedLogEventsInfo"] == {"tooOldLogEventEndIndex": 1}
    assert messages(await ask("GetLogEvents", **place)) == ["0", "1"]


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("events", "why"),
    [
        ([(2, "b"), (1, "a")], "chronological order"),
        ([(1, "a"), (2 + 86_400_000, "b")], "cannot span more than 24 hours"),
        ([(1, "x" * 262_144)], "Log event too large: 262170 bytes exceeds limit of 262144"),
        ([(1, "x" * 262_000)] * 5, "exceeds limit of 1048576"),
        ([], "Member must have length greater than or equal to 1"),
        ([(1, "")], "Member must have length greater than or equal to 1"),
    ],
)
async def test_a_batch_that_is_none_is_refused(refusal, store, events, why):
    say(store, "x")
    batch = [{"timestamp": timestamp, "message": message} for timestamp, message in events]
    code, message = await refusal(
        "PutLogEvents", logGroupName=GROUP, logStreamName="s", logEvents=batch
    )
    assert code == "InvalidParameterException"
    assert why in message


# --- reading a stream ---------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_last_events_come_first_and_tokens_lead_both_ways(ask, store):
    say(store, *"abcdefg")
    say(store, "other", stream="t")
    place = {"logGroupName": GROUP, "logStreamName": "s", "limit": 3}
    last = await ask("GetLogEvents", **place)
    assert messages(last) == list("efg")
    middle = await ask("GetLogEvents", **place, nextToken=last["nextBackwardToken"])
    assert messages(middle) == list("bcd")
    first = await ask("GetLogEvents", **place, nextToken=middle["nextBackwardToken"])
    assert messages(first) == ["a"]
    token = first["nextBackwardToken"]
    none = await ask("GetLogEvents", **place, nextToken=token)
    assert (messages(none), none["nextBackwardToken"]) == ([], token)
    forth = await ask("GetLogEvents", **place, nextToken=first["nextForwardToken"])
    assert messages(forth) == list("bcd")


@pytest.mark.asyncio
async def test_a_token_at_the_end_repeats_until_there_is_more(ask, store):
    say(store, *"ab")
    place = {"logGroupName": GROUP, "logStreamName": "s"}
    token = (await ask("GetLogEvents", **place, startFromHead=True))["nextForwardToken"]
    again = await ask("GetLogEvents", **place, nextToken=token)
    assert (messages(again), again["nextForwardToken"]) == ([], token)
    say(store, "c")
    assert messages(await ask("GetLogEvents", **place, nextToken=token)) == ["c"]


@pytest.mark.asyncio
async def test_a_stream_without_events_can_be_followed(ask, store):
    store.put(GROUP, "s", [])
    place = {"logGroupName": GROUP, "logStreamName": "s"}
    token = (await ask("GetLogEvents", **place))["nextForwardToken"]
    say(store, "a")
    assert messages(await ask("GetLogEvents", **place, nextToken=token)) == ["a"]


@pytest.mark.asyncio
async def test_times_are_from_the_start_to_before_the_end(ask, store):
    say(store, *"abcde")
    times = {"startTime": NOW_MS + 1, "endTime": NOW_MS + 3}
    found = await ask("GetLogEvents", logGroupName=GROUP, logStreamName="s", **times)
    assert messages(found) == ["b", "c"]
    assert found["events"][0] == {
        "timestamp": NOW_MS + 1, "message": "b", "ingestionTime": NOW_MS,
    }  # fmt: skip


# --- looking through a group --------------------------------------------------------------


@pytest.mark.asyncio
async def test_events_of_all_streams_come_in_their_order(ask, store):
    say(store, "a", stream="s")
    say(store, "b", stream="t", begin=1)
    say(store, "c", stream="s", begin=2)
    found = await ask("FilterLogEvents", logGroupName=GROUP, interleaved=True)
    assert messages(found) == ["a", "b", "c"]
    assert "nextToken" not in found
    assert found["searchedLogStreams"] == []
    event = found["events"][1]
    assert event == {
        "logStreamName": "t",
        "timestamp": NOW_MS + 1,
        "message": "b",
        "ingestionTime": NOW_MS,
        "eventId": event["eventId"],
    }
    ids = [one["eventId"] for one in found["events"]]
    assert all(len(one) == 56 and one.isdigit() for one in ids)
    assert ids == sorted(set(ids))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"logStreamNames": ["t1"]}, "b"),
        ({"logStreamNames": ["s", "t2"]}, "ac"),
        ({"logStreamNamePrefix": "t"}, "bc"),
        ({"logStreamNamePrefix": "x"}, ""),
        ({"startTime": NOW_MS + 1}, "bc"),
        ({"endTime": NOW_MS + 1}, "ab"),
        ({"filterPattern": "?a ?c"}, "ac"),
        ({"filterPattern": "-a", "limit": 1}, "b"),
        ({"startFromHead": False}, "cba"),
    ],
)
async def test_what_is_not_asked_for_does_not_come(ask, store, asked, found):
    for number, stream in enumerate(("s", "t1", "t2")):
        say(store, "abc"[number], stream=stream, begin=number)
    assert messages(await ask("FilterLogEvents", logGroupName=GROUP, **asked)) == list(found)


@pytest.mark.asyncio
@pytest.mark.parametrize("forward", [True, False])
async def test_pages_hold_each_event_once_whatever_is_written_meanwhile(ask, store, forward):
    say(store, *"abcdefg")
    found, more = [], {"startFromHead": forward}
    while more is not None:
        answer = await ask("FilterLogEvents", logGroupName=GROUP, limit=3, **more)
        found += messages(answer)
        if forward and len(found) == 3:
            say(store, "h")
        more = {"nextToken": answer["nextToken"]} if "nextToken" in answer else None
    assert found == list("abcdefgh") if forward else list("gfedcba")


@pytest.mark.asyncio
async def test_a_page_is_no_larger_than_a_megabyte(ask, store):
    say(store, *["x" * 100_000] * 25)
    first = await ask("FilterLogEvents", logGroupName=GROUP)
    assert len(first["events"]) == 10
    last = await ask("GetLogEvents", logGroupName=GROUP, logStreamName="s")
    assert len(last["events"]) == 10


# --- refusals -----------------------------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("operation", "params", "why"),
    [
        ("FilterLogEvents", {}, "Exactly one of logGroupName and logGroupIdentifier"),
        ("FilterLogEvents", {"logGroupName": "a b"}, "regular expression pattern"),
        ("FilterLogEvents", {"logGroupName": GROUP, "limit": 10_001}, "less than or equal to"),
        ("FilterLogEvents", {"logGroupName": GROUP, "filterPattern": "a:b"}, "in term 'a:b'"),
        ("FilterLogEvents", {"logGroupName": GROUP, "nextToken": "x"}, "nextToken is invalid"),
        ("GetLogEvents", {"logGroupName": GROUP}, "at 'logStreamName' failed to satisfy"),
        ("DescribeLogGroups", {"nextToken": "WzEsMl0="}, "nextToken is invalid"),
        ("DescribeLogGroups", {"nextToken": "?"}, "nextToken is invalid"),
        ("PutRetentionPolicy", {"logGroupName": GROUP, "retentionInDays": 2}, "Value '2'"),
        (
            "DescribeLogStreams",
            {"logGroupName": GROUP, "orderBy": "LastEventTime", "logStreamNamePrefix": "a"},
            "Cannot order by LastEventTime",
        ),
        (
            "FilterLogEvents",
            {"logGroupName": GROUP, "logStreamNames": ["s"], "logStreamNamePrefix": "s"},
            "mutually exclusive",
        ),
    ],
)
async def test_a_parameter_that_is_none_is_refused(refusal, store, operation, params, why):
    say(store, "x")
    code, message = await refusal(operation, **params)
    assert code == "InvalidParameterException"
    assert why in message


@pytest.mark.asyncio
@pytest.mark.parametrize("operation", ["StartQuery", "Nothing", "", "_read"])
async def test_what_is_not_offered_is_said_so(refusal, operation):
    assert (await refusal(operation))[0] == "UnknownOperationException"


@pytest.mark.asyncio
@pytest.mark.parametrize("body", [b"{", b"[]", b'{"logGroupName": 1}', b"\xff"])
async def test_a_body_that_is_none_is_refused(store, disk, body):
    api = LogsApi(store, disk, region="r", account="a")
    with pytest.raises(ApiError) as refused:
        await api.answer("Logs_20140328.CreateLogGroup", body)
    assert refused.value.code == "SerializationException"


@pytest.mark.asyncio
async def test_a_body_that_is_too_large_is_refused(store, disk, monkeypatch):
    monkeypatch.setattr(limits, "log_request_bytes_max", 10)
    api = LogsApi(store, disk, region="r", account="a")
    with pytest.raises(ApiError, match="smaller than 10 bytes"):
        await api.answer("Logs_20140328.CreateLogGroup", b'{"logGroupName": "a"}')


# --- a disk that takes nothing, and others who ask meanwhile ------------------------------


EVENTS = [{"timestamp": NOW_MS, "message": "m"}]
FULL_AT = [(log_group, "create"), (Group, "append"), (Group, "delete_stream"), (Group, "change")]


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("CreateLogGroup", {"logGroupName": "/new"}),
        ("CreateLogStream", {"logStreamName": "t"}),
        ("DeleteLogStream", {"logStreamName": "s"}),
        ("PutLogEvents", {"logStreamName": "s", "logEvents": EVENTS}),
        ("PutRetentionPolicy", {"retentionInDays": 1}),
    ],
)
@pytest.mark.asyncio
async def test_what_is_not_written_is_not_said_to_be(
    refusal, store, monkeypatch, operation, params
):
    say(store, "one")
    full = mock.Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    for place, name in FULL_AT:
        monkeypatch.setattr(place, name, full)
    expected = ("ServiceUnavailableException", "cannot use the logs: No space left on device")
    assert await refusal(operation, **{"logGroupName": GROUP, **params}) == expected


@pytest.mark.parametrize("operation", ["PutLogEvents", "CreateLogStream", "DeleteLogStream"])
@pytest.mark.asyncio
async def test_a_group_that_is_deleted_meanwhile_does_not_come_again(
    refusal, store, monkeypatch, operation
):
    async def look(*_):
        store.delete(GROUP)
        return operation != "CreateLogStream"

    say(store, "one")
    monkeypatch.setattr(Place, "has_stream", look)
    more = {"logEvents": EVENTS} if operation == "PutLogEvents" else {}
    code, _ = await refusal(operation, logGroupName=GROUP, logStreamName="s", **more)
    assert (code, store.groups()) == ("ResourceNotFoundException", [])


@pytest.mark.asyncio
async def test_there_are_only_so_many_groups(ask, refusal, monkeypatch):
    monkeypatch.setattr(limits, "log_groups_max", 1)
    await ask("CreateLogGroup", logGroupName="/one")
    expected = ("LimitExceededException", "Resource limit exceeded.")
    assert await refusal("CreateLogGroup", logGroupName="/two") == expected


@pytest.mark.asyncio
async def test_a_group_that_was_asked_for_outlives_who_logs_to_it(ask, store):
    await ask("CreateLogGroup", logGroupName=GROUP)
    store.remove(GROUP)
    assert store.group(GROUP) is not None
