"""Log groups on a disk: what is kept, in which order, and how little goes wrong."""

import errno
import os
from pathlib import Path

import pytest
import structlog

from lambdad.model import limits
from lambdad.observe import log_group
from lambdad.observe.log_group import Query

GROUP = "/aws/lambda/fn"


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(limits, "log_segment_bytes_max", 200)
    monkeypatch.setattr(limits, "log_segments_max", 3)


def descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def events_of(store, clock, group=GROUP, **query):
    return list(store.group(group).view(clock.now_ms).events(Query(**query)))


def test_messages_are_kept_as_they_are_each_an_event(store, clock):
    store.write(GROUP, "s", 7, [b"one\n", b"two", b"\xff\n"])
    clock.now_ms += 5
    store.write(GROUP, "t", 8, [b"three\n"])
    assert [event[1:] for event in events_of(store, clock)] == [
        ("s", 7, clock.now_ms - 5, "one\n"),
        ("s", 7, clock.now_ms - 5, "two"),
        ("s", 7, clock.now_ms - 5, "\ufffd\n"),
        ("t", 8, clock.now_ms, "three\n"),
    ]


def test_a_group_begins_with_its_first_event(store):
    assert store.group(GROUP) is None
    store.write(GROUP, "s", 1, [b"x"])
    assert [group.facts.name for group in store.groups()] == [GROUP]


@pytest.mark.parametrize(
    "name", [".", "..", "/", "../../etc/passwd", "/aws/lambda/fn", "a" * 512, "/" * 512, "a#b"]
)
def test_no_name_leads_out_of_the_folder(store, open_store, said, tmp_path, name):
    store.write(name, "../s", 1, [b"x"])
    inside = list(tmp_path.rglob("*"))
    assert len(inside) == 3  # The folder, its facts and a segment.
    assert all(path.is_relative_to(tmp_path.resolve()) for path in map(Path.resolve, inside))
    assert said(open_store(), name) == ["x"]


def test_no_two_names_are_one(store, said):
    names = ["a/b", "a#b", "a-b", "a.b", "x" * 200 + "1", "x" * 200 + "2", "x" * 160]
    for name in names:
        store.write(name, "s", 1, [name.encode()])
    assert [said(store, name) for name in names] == [[name] for name in names]


def test_a_restart_goes_on_where_the_log_ended(store, open_store, clock):
    store.write(GROUP, "s", 1, [b"one"])
    before = events_of(store, clock)
    again = open_store()
    assert events_of(again, clock) == before
    again.write(GROUP, "s", 2, [b"two"])
    assert [event.message for event in events_of(again, clock)] == ["one", "two"]
    assert events_of(again, clock)[:1] == before


@pytest.mark.parametrize("cut", [1, 10, 25])
def test_what_a_crash_cut_off_is_forgotten_and_hides_nothing(
    store, open_store, said, tmp_path, cut
):
    store.write(GROUP, "s", 1, [b"one"])
    store.write(GROUP, "s", 2, [b"two"])
    (segment,) = tmp_path.rglob("*.segment")
    os.truncate(segment, segment.stat().st_size - cut)
    again = open_store()
    assert said(again, GROUP) == ["one"]
    again.write(GROUP, "s", 3, [b"three"])
    assert said(again, GROUP) == ["one", "three"]
    assert said(open_store(), GROUP) == ["one", "three"]


def test_a_full_log_makes_way_for_the_newest(small, store, said, tmp_path, clock):
    for number in range(100):
        store.write(GROUP, "s", number, [b"line %3d" % number])
        clock.now_ms += 1
    kept = said(store, GROUP)
    assert kept == [f"line {number:3}" for number in range(100)][-len(kept) :]
    assert 8 < len(kept) < 30
    sizes = [path.stat().st_size for path in tmp_path.rglob("*.segment")]
    assert len(sizes) == 3
    assert max(sizes) < 300


def test_positions_grow_and_stay_whatever_makes_way(small, store, open_store, clock):
    seen = {}
    for number in range(60):
        store.write(GROUP, "s", number, [b"line %3d" % number])
        if number == 30:
            store = open_store()
        for event in events_of(store, clock):
            assert seen.setdefault(event.message, event.position) == event.position
    positions = [seen[message] for message in sorted(seen)]
    assert len(positions) == 60
    assert positions == sorted(set(positions))


def test_a_view_can_be_read_from_anywhere_in_either_direction(small, store, clock):
    for number in range(20):
        store.write(GROUP, "s", number, [b"%d" % number])
    view = store.group(GROUP).view(clock.now_ms)
    events = list(view.events(Query()))
    for index, event in enumerate(events):
        assert list(view.events(Query(), event.position)) == events[index:]
        before = list(view.events_backwards(Query(), event.position))
        assert before == events[:index][::-1]


def test_a_view_is_of_one_moment(small, store, clock):
    store.write(GROUP, "s", 1, [b"one"])
    view = store.group(GROUP).view(clock.now_ms)
    store.write(GROUP, "s", 2, [b"two"])
    store.write(GROUP, "t", 2, [b"three"])
    assert [event.message for event in view.events(Query())] == ["one"]
    assert view.streams().keys() == {"s"}
    for number in range(100):
        store.write(GROUP, "s", number, [b"x" * 50])
    assert list(view.events(Query())) == []  # It has made way.


def test_streams_and_times_can_be_asked_for(small, store, said):
    for number in range(10):
        store.write(GROUP, f"s{number % 2}", number, [b"%d" % number])
    assert said(store, GROUP, streams={"s1"}) == ["1", "3", "5", "7", "9"]
    assert said(store, GROUP, streams={"other"}) == []
    assert said(store, GROUP, start_ms=3, end_ms=6) == ["3", "4", "5"]
    assert said(store, GROUP, matches=lambda text: text in "27") == ["2", "7"]


def test_streams_are_known_without_their_events(small, store, open_store, clock):
    begin = clock.now_ms
    store.put(GROUP, "empty", [])
    for number in range(6):
        clock.now_ms += 1
        store.put(GROUP, "s", [(number, b"123"), (number + 1, b"4567")])
    for one in (store, open_store()):
        streams = one.group(GROUP).view(clock.now_ms).streams()
        assert streams["empty"].first_ms is None
        span = streams["s"]
        assert (span.created_ms, span.first_ms, span.last_ms) == (begin + 1, 0, 6)
        assert (span.ingested_ms, span.message_bytes) == (begin + 6, 42)


def test_a_deleted_stream_is_gone_and_may_come_again(store, open_store, said, clock):
    store.write(GROUP, "s", 1, [b"old"])
    store.write(GROUP, "t", 1, [b"other"])
    store.delete_stream(GROUP, "s")
    assert said(store, GROUP) == ["other"]
    assert store.group(GROUP).view(clock.now_ms).streams().keys() == {"t"}
    store.write(GROUP, "s", 2, [b"new"])
    assert said(store, GROUP) == said(open_store(), GROUP) == ["other", "new"]


def test_deleting_streams_costs_no_others_what_they_said(store, open_store, said):
    store.write(GROUP, "kept", 1, [b"kept"])
    for number in range(2 * limits.log_segments_max):
        store.write(GROUP, "s", number, [b"x" * number])
        store.delete_stream(GROUP, "s")
    store.write(GROUP, "s", 1, [b"new"])
    assert said(store, GROUP) == said(open_store(), GROUP) == ["kept", "new"]


def test_what_older_segments_have_of_a_deleted_stream_is_gone(small, store, open_store, said):
    for message in (b"1" * 300, b"2" * 300):
        store.write(GROUP, "s", 1, [message])
    store.write(GROUP, "t", 1, [b"3" * 300])
    store.delete_stream(GROUP, "s")
    for one in (store, open_store()):
        assert said(one, GROUP) == ["3" * 300]
        backwards = one.group(GROUP).view(0).events_backwards(Query(), 2**90)
        assert [event.message[0] for event in backwards] == ["3"]


def test_a_group_that_was_asked_for_stays_when_nobody_logs_to_it(store, open_store, said):
    store.create(GROUP)
    store.write(GROUP, "s", 1, [b"kept"])
    for one in (store, open_store()):
        one.remove(GROUP)
        assert said(one, GROUP) == ["kept"]


def test_what_is_too_old_is_not_shown_and_makes_way(small, store, clock, tmp_path):
    day_ms = 86_400_000
    store.write(GROUP, "s", clock.now_ms, [b"old"])
    store.group(GROUP).change(retention_days=1)
    clock.now_ms += 2 * day_ms
    store.write(GROUP, "s", clock.now_ms, [b"x" * 300])
    assert [event.message[0] for event in events_of(store, clock)] == ["x"]
    clock.now_ms += 2 * day_ms
    store.write(GROUP, "s", clock.now_ms, [b"y" * 300])
    assert len(list(tmp_path.rglob("*.segment"))) == 2


def test_a_removed_group_is_gone_and_may_come_again(store, open_store, said, tmp_path, disk):
    store.write(GROUP, "s", 1, [b"old"])
    store.write("/other", "s", 1, [b"other"])
    store.remove(GROUP)
    store.remove("never written")
    assert store.group(GROUP) is None
    store.write(GROUP, "s", 2, [b"new"])
    assert said(store, GROUP) == ["new"]
    disk.submit(int).result()
    assert len(list(tmp_path.iterdir())) == 2
    assert said(open_store(), "/other") == ["other"]


def test_what_was_not_removed_in_time_is_removed_at_the_next_start(open_store, disk, tmp_path):
    (tmp_path / ".gone-log,x-1").mkdir()
    (tmp_path / ".gone-log,x-1/0.segment").touch()
    open_store()
    disk.submit(int).result()
    assert list(tmp_path.iterdir()) == []


def test_closing_leaves_no_descriptor(store, said):
    before = descriptors()
    store.write("a", "s", 1, [b"1"])
    store.write("b", "s", 1, [b"1"])
    store.close("a")
    store.close("never opened")
    store.close_all()
    assert descriptors() == before
    store.write("a", "s", 1, [b"2"])
    assert said(store, "a") == ["1", "2"]


def test_few_files_are_open_at_a_time(store, said, monkeypatch):
    monkeypatch.setattr(limits, "log_files_open_max", 2)
    before = len(descriptors())
    for name in "abcabc":
        store.write(name, "s", 1, [b"x"])
        assert len(descriptors()) <= before + 2
    assert [said(store, name) for name in "abc"] == [["x", "x"]] * 3


class FullDisk:
    """A file of which only so much is written."""

    def __init__(self, file):
        self.file, self.room = file, 0

    def write(self, data):
        if self.room == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data[: self.room])

    def close(self):
        self.file.close()


@pytest.mark.parametrize("room", [0, 10])
def test_a_full_disk_loses_events_and_nothing_else(store, open_store, said, room):
    store.write(GROUP, "s", 1, [b"one"])
    group = store.group(GROUP)
    group._file = FullDisk(group._file)
    group._file.room = room
    with structlog.testing.capture_logs() as told:
        store.write(GROUP, "s", 2, [b"lost"])
        assert [entry["event"] for entry in told] == ["cannot write logs"]
    assert said(store, GROUP) == ["one"]
    store.write(GROUP, "s", 3, [b"three"])
    assert said(store, GROUP) == said(open_store(), GROUP) == ["one", "three"]


def test_that_nothing_can_be_written_is_said_once(store, monkeypatch):
    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(log_group, "create", refuse)
    with structlog.testing.capture_logs() as told:
        for _ in range(3):
            store.write(GROUP, "s", 1, [b"lost"])
    assert len(told) == 1


def test_a_group_that_cannot_be_read_makes_way_for_a_new_one(store, open_store, said, tmp_path):
    store.write(GROUP, "s", 1, [b"old"])
    (facts,) = tmp_path.rglob("group.json")
    facts.write_bytes(b"\0" * 10)
    with structlog.testing.capture_logs() as told:
        again = open_store()
    assert [entry["event"] for entry in told] == ["cannot read a log group"]
    assert again.group(GROUP) is None
    again.write(GROUP, "s", 2, [b"new"])
    assert said(again, GROUP) == ["new"]
