"""Calls as they are laid out for a process that is stopped; no process is."""

import errno
import struct

import pytest

from lambdad_sandbox import remote
from lambdad_sandbox.remote import ROOM_BYTES, Call, Pointing

AT = 0x7F0000000000
ENTRY = struct.Struct("<7Qq")


def laid_out(*calls):
    """The entries, and how to look at what is at an address."""
    image = remote.laid_out(calls, AT)
    entries = [ENTRY.unpack_from(image, number * ENTRY.size) for number in range(len(calls))]
    return entries, lambda address, size: image[address - AT : address - AT + size]


def test_numbers_stand_in_the_entry_itself():
    ((number, *arguments, _),), _ = laid_out(Call("any", 33, (1, -1, 3)))
    assert (number, arguments) == (33, [1, 2**64 - 1, 3, 0, 0, 0])


def test_what_is_pointed_to_stands_behind_all_entries_one_after_the_other():
    entries, at = laid_out(Call("a", 1, (b"first",)), Call("b", 2, (0, b"second")))
    first, second = entries[0][1], entries[1][2]
    assert first == AT + 2 * ENTRY.size
    assert (at(first, 5), at(second, 6)) == (b"first", b"second")
    assert second % 8 == 0


def test_what_points_further_has_the_address_in_its_middle():
    ((_, pointer, *_),), at = laid_out(Call("a", 1, (Pointing(b"before..", b"there", b"..after"),)))
    content = at(pointer, 23)
    assert (content[:8], content[16:]) == (b"before..", b"..after")
    (further,) = struct.unpack("<Q", content[8:16])
    assert at(further, 5) == b"there"


def test_a_call_that_is_never_come_to_has_failed():
    ((*_, result),), _ = laid_out(Call("any", 33, ()))
    assert result == -errno.ECANCELED


def test_calls_come_in_portions_that_there_is_room_for():
    calls = [Call(str(number), 1, (bytes(1_000),)) for number in range(100)]
    portions = list(remote.in_portions(calls))
    assert [call for portion in portions for call in portion] == calls
    assert len(portions) > 1
    assert all(len(remote.laid_out(portion, AT)) <= ROOM_BYTES for portion in portions)
    assert all(portions)


@pytest.mark.parametrize(
    "argument",
    [7, b"", b"seven..", b"eight...", Pointing(b"any", b"there"), Pointing(b"", b"", b"x")],
)
def test_it_is_known_how_much_room_a_call_takes(argument):
    call = Call("any", 1, (argument,))
    assert len(remote.laid_out([call], AT)) <= ENTRY.size + remote._pointed_bytes(argument)


def test_what_has_room_at_once_is_one_portion():
    calls = [Call("any", 1, ())] * (ROOM_BYTES // ENTRY.size)
    assert [len(portion) for portion in remote.in_portions(calls)] == [len(calls)]


def test_a_call_that_there_is_never_room_for_is_refused():
    with pytest.raises(ValueError, match="cannot open it: it needs"):
        list(remote.in_portions([Call("open it", 1, (bytes(ROOM_BYTES),))]))


# --- registers ---

WORDS = struct.Struct("<27Q")
RAX, ORIG_RAX, RIP = 10, 15, 16


def restarted(result, number):
    words = [0] * 27
    words[RAX], words[ORIG_RAX], words[RIP] = result % 2**64, number % 2**64, 0x1002
    words = WORDS.unpack(remote._restarted(WORDS.pack(*words)))
    assert words[ORIG_RAX] == 2**64 - 1  # It is in no call.
    return words[RAX], words[RIP]


@pytest.mark.parametrize("interrupted", [-512, -513, -514])
def test_a_call_that_was_interrupted_is_made_again(interrupted):
    assert restarted(interrupted, 45) == (45, 0x1000)


def test_a_call_that_the_kernel_would_go_on_with_has_been_interrupted():
    assert restarted(-516, 230) == (-errno.EINTR % 2**64, 0x1002)


@pytest.mark.parametrize(("result", "number"), [(7, 45), (-errno.EPIPE, 45), (-512, -1)])
def test_what_is_no_interrupted_call_stays_as_it_is(result, number):
    assert restarted(result, number) == (result % 2**64, 0x1002)


def test_registers_of_32_bit_code_are_refused():
    with pytest.raises(OSError, match="32-bit"):
        remote._restarted(bytes(17 * 4))
