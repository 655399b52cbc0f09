import dataclasses

import msgpack
import pytest

from lambdad_sandbox import messages
from lambdad_sandbox.errors import UnexpectedMessage

KINDS = {
    "SpawnRequest",
    "Spawned",
    "SpawnFailed",
    "Become",
    "Entered",
    "StartProcess",
    "ProcessStarted",
    "ProcessExited",
    "SignalProcess",
    "KillAll",
    "Emptied",
    "OpenSocket",
    "SocketOpened",
    "KeepTemplate",
    "ForkInto",
    "Forked",
    "Suspend",
    "Suspended",
}
SAMPLES = {
    "str": "ü",
    "int": 7,
    "bool": True,
    "tuple": ("a", ("b", 1)),
    "dict": {"A": "x=y\n", "B": ""},
}


def sample(kind):
    """A message of a kind, with something in each field."""
    return kind(*(SAMPLES[str(field.type).partition("[")[0]] for field in dataclasses.fields(kind)))


def all_kinds():
    return sorted(messages.Message.__args__, key=lambda kind: kind.__name__)


def test_these_are_all_the_messages_there_are():
    assert {kind.__name__ for kind in all_kinds()} == KINDS


@pytest.mark.parametrize("kind", all_kinds())
def test_a_message_arrives_as_it_was_sent(kind):
    message = sample(kind)
    assert messages.decode(messages.encode(message)) == message


@pytest.mark.parametrize("kind", all_kinds())
def test_a_message_cannot_be_altered(kind):
    message = sample(kind)
    with pytest.raises(dataclasses.FrozenInstanceError):
        message.anything = 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"junk",
        b"\x91",
        msgpack.packb(5),
        msgpack.packb(None),
        msgpack.packb([]),
        msgpack.packb({}),
        msgpack.packb(["Nothing"]),
        msgpack.packb([["KillAll"]]),
        msgpack.packb([{"a": 1}]),
        msgpack.packb(["KillAll", 1]),
        msgpack.packb(["ProcessExited", "runtime"]),
        msgpack.packb(["Message"]),
        msgpack.packb(["KillAll"]) + b"\x00",
        b"\x91" * 100_000,
    ],
)
def test_what_is_none_of_them_is_refused(data):
    with pytest.raises(UnexpectedMessage, match="cannot go on: expected one of the"):
        messages.decode(data)
