import os
import socket
from pathlib import Path

import pytest

from lambdad_sandbox import channel
from lambdad_sandbox.errors import UnexpectedMessage
from lambdad_sandbox.messages import Emptied, KillAll, ProcessExited, StartProcess


@pytest.fixture
def ends():
    ours, theirs = channel.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


@pytest.fixture
def open_descriptors():
    return lambda: {path.name for path in Path("/proc/self/fd").iterdir()}


def test_messages_keep_their_borders_and_their_order(ends):
    ours, theirs = ends
    said = [KillAll(), ProcessExited("runtime", 9), Emptied()]
    for message in said:
        channel.send(ours, message)
    assert [channel.receive(theirs) for _ in said] == [(message, []) for message in said]


def test_descriptors_come_along_in_order(ends):
    ours, theirs = ends
    first, second = os.pipe(), os.pipe()
    channel.send(ours, KillAll(), (first[1], second[1]))
    _, arrived = channel.receive(theirs)
    os.write(arrived[0], b"first")
    os.write(arrived[1], b"second")
    assert (os.read(first[0], 9), os.read(second[0], 9)) == (b"first", b"second")
    channel.close_all([*first, *second, *arrived])


def test_descriptors_that_came_along_are_not_inherited(ends):
    ours, theirs = ends
    channel.send(ours, KillAll(), (0,))
    _, [arrived] = channel.receive(theirs)
    inherited = os.get_inheritable(arrived)
    os.close(arrived)
    assert not inherited


def test_the_end_of_the_other_side_is_no_message(ends):
    ours, theirs = ends
    ours.close()
    assert channel.receive(theirs) == (None, [])


def test_nobody_listens_is_an_error_and_no_signal(ends):
    ours, theirs = ends
    theirs.close()
    with pytest.raises(BrokenPipeError):
        channel.send(ours, KillAll())


def test_nothing_to_receive_blocks_or_says_so(ends):
    _, theirs = ends
    theirs.setblocking(False)
    with pytest.raises(BlockingIOError):
        channel.receive(theirs)


def test_junk_is_refused(ends):
    ours, theirs = ends
    ours.send(b"junk")
    with pytest.raises(UnexpectedMessage):
        channel.receive(theirs)


def test_what_cannot_be_sent_at_once_is_an_error(ends):
    ours, _ = ends
    with pytest.raises(OSError, match="Message too long"):
        channel.send(ours, StartProcess("runtime", (), {"A": "x" * 4_000_000}, "/", ()))


def test_above_64_kilobytes_nothing_is_sent(ends):
    ours, _ = ends
    with pytest.raises(OSError, match="Message too long"):
        channel.send(ours, StartProcess("runtime", (), {"A": "x" * 70_000}, "/", ()))


def test_junk_leaves_no_descriptor_behind(ends, open_descriptors):
    ours, theirs = ends
    before = open_descriptors()
    socket.send_fds(ours, [b"junk"], [ours.fileno()])
    with pytest.raises(UnexpectedMessage):
        channel.receive(theirs)
    assert open_descriptors() == before


def test_ends_are_not_inherited(ends):
    assert not any(os.get_inheritable(end.fileno()) for end in ends)
