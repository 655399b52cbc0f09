"""What a process with rights does to be a guest, as a list: its order is its security."""

import os
import signal
import struct

import pytest

from lambdad_sandbox import confinement, syscalls
from lambdad_sandbox.confinement import Identity, Registered
from lambdad_sandbox.likeness import Likeness, OpenFile
from lambdad_sandbox.messages import LOG_FD
from lambdad_sandbox.remote import Pointing

AT_HAND = {"control": 4, "init": 5, "stdout": 6, "log": 7, "tasks0": 8, "tasks1": 9}
DEAD = 10
ROOT = Identity(root=True, uid=70_001, gid=990, capabilities=41)
USER = Identity(root=False, uid=70_001, gid=990, capabilities=41)
REGISTERED = Registered(0x7F00, (0x7F20, 32, 0x53053053), (0x7F40, 24))
PLAIN = Likeness((1, 2), (3,), (), "/var/task", 0o022, 0)
NAMES = {number: name for name, number in confinement._NUMBERS.items()}


def calls(identity=ROOT, like=PLAIN, at_hand=AT_HAND, registered=REGISTERED):
    made = confinement.calls(identity, at_hand, like, dead=DEAD, registered=registered)
    return [(NAMES[call.number], *call.arguments) for call in made]


def names(made):
    return [name for name, *_ in made]


def position(made, name, *arguments):
    return made.index((name, *arguments))


# --- order ---


def test_it_joins_cgroups_and_namespaces_with_its_rights_and_gives_them_up_after():
    made = calls()
    assert made[:2] == [("write", 8, b"0", 1), ("write", 9, b"0", 1)]
    order = [
        names(made).index("setns"),
        names(made).index("setgroups"),
        names(made).index("setresgid"),
        names(made).index("setresuid"),
        names(made).index("capset"),
        position(made, "prctl", syscalls.PR_SET_PDEATHSIG, signal.SIGKILL),
        position(made, "prctl", syscalls.PR_SET_DUMPABLE, 1),
        position(made, "prctl", syscalls.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
        names(made).index("seccomp"),
    ]
    assert order == sorted(order)


def test_nothing_of_a_path_is_touched_before_it_is_a_guest():
    file = OpenFile(3, "/tmp/a", os.O_RDWR, 5)
    made = calls(like=Likeness((1, 2), (), (file,), "/tmp", 0o022, 0))
    assert names(made).index("chdir") > names(made).index("capset")
    assert names(made).index("openat") > names(made).index("seccomp")


def test_behind_the_filter_there_are_only_files():
    file = OpenFile(3, "/tmp/a", os.O_RDWR, 5)
    made = calls(like=Likeness((1, 2), (), (file,), "/tmp", 0o022, 0))
    behind = made[names(made).index("seccomp") + 1 :]
    assert set(names(behind)) <= {"openat", "dup3", "close", "lseek"}


def test_all_namespaces_but_those_of_its_birth_are_joined_at_once():
    (joined,) = (call for call in calls() if call[0] == "setns")
    everything = (
        syscalls.CLONE_NEWNS | syscalls.CLONE_NEWIPC | syscalls.CLONE_NEWUTS
        | syscalls.CLONE_NEWNET | syscalls.CLONE_NEWCGROUP
    )  # fmt: skip
    assert joined == ("setns", AT_HAND["init"], everything)


def test_in_a_user_namespace_the_bounding_set_is_emptied_and_the_bits_are_locked():
    made = calls(USER)
    joined = position(made, "setns", AT_HAND["init"], syscalls.CLONE_NEWUSER)
    dropped = [call[2] for call in made if call[:2] == ("prctl", syscalls.PR_CAPBSET_DROP)]
    assert dropped == list(range(41))
    locked = position(
        made, "prctl", syscalls.PR_SET_SECUREBITS, syscalls.SECBITS_LOCKED, 0, 0, 0
    )  # fmt: skip
    assert joined < locked < names(made).index("capset")
    assert "setgroups" not in names(made)


def test_it_becomes_the_user_whose_environment_it_is():
    made = calls()
    assert ("setresuid", 70_001, 70_001, 70_001) in made
    assert ("setresgid", 990, 990, 990) in made
    assert ("setgroups", 0, 0) in made


# --- birth ---


def flags_and_pid(at_hand, *, shares_memory):
    joined, born = confinement.birth(at_hand, 0x7F00, shares_memory=shares_memory)
    assert joined.arguments == (at_hand["init"], syscalls.CLONE_NEWPID)
    arguments, size = born.arguments
    if isinstance(arguments, Pointing):
        (pid,) = struct.unpack("<i", arguments.to)
        arguments = arguments.before + bytes(8) + arguments.behind
    else:
        pid = None
    assert len(arguments) == size == 88
    words = struct.unpack("<11Q", arguments)
    assert words[10] == at_hand.get("cgroup", 0)
    assert words[2] == 0x7F00
    return words[0], pid


def test_a_clone_has_memory_of_its_own_and_a_pid_that_the_original_has_not():
    flags, pid = flags_and_pid(AT_HAND, shares_memory=False)
    assert not flags & (syscalls.CLONE_VM | syscalls.CLONE_SIGHAND | syscalls.CLONE_FILES)
    assert flags & syscalls.CLONE_PARENT
    assert pid is None


def test_the_original_shares_memory_but_no_descriptors():
    flags, pid = flags_and_pid(AT_HAND, shares_memory=True)
    assert flags & syscalls.CLONE_VM
    assert not flags & syscalls.CLONE_FILES
    assert pid == confinement.ORIGINAL_PID


def test_on_version_2_of_cgroups_it_is_born_in_its_own():
    flags, _ = flags_and_pid({"init": 5, "cgroup": 6}, shares_memory=False)
    assert flags & syscalls.CLONE_INTO_CGROUP


# --- descriptors ---


class Table:
    """A table of descriptors on which calls are played: what each number leads to."""

    def __init__(self, at_hand):
        self.open = {number: name for name, number in at_hand.items()}
        self.open |= {0: "null", 1: "keeper", 2: "keeper", 3: "keeper", 11: "keeper", DEAD: "dead"}
        self.offsets = {}

    def play(self, made):
        for name, *arguments in made:
            getattr(self, name, lambda *_: None)(*arguments)
        return self.open

    def dup3(self, source, number, flags):
        assert source != number
        assert number < 1_024
        self.open[number] = self.open[source]

    def close(self, number):
        del self.open[number]

    def close_range(self, first, last, flags):
        assert first <= last
        self.open = {number: it for number, it in self.open.items() if not first <= number <= last}

    def openat(self, directory, path, flags, mode):
        number = next(number for number in range(1_024) if number not in self.open)
        self.open[number] = path.rstrip(b"\0").decode()

    def lseek(self, number, offset, whence):
        self.offsets[number] = offset


def played(like, at_hand=AT_HAND):
    table = Table(at_hand)
    return table.play(calls(like=like, at_hand=at_hand)), table.offsets


def test_each_number_leads_to_its_own_and_nothing_else_is_open():
    files = (OpenFile(8, "/tmp/a", os.O_RDWR, 5), OpenFile(20, "/tmp/b", 0, 0))
    table, offsets = played(Likeness((1, 2, 5), (3, 9, 63), files, "/tmp", 0o022, 0))
    assert table == {
        0: "null", 1: "stdout", 2: "stdout", 5: "stdout", 3: "dead", 9: "dead", 63: "dead",
        LOG_FD: "log", 8: "/tmp/a", 20: "/tmp/b",
    }  # fmt: skip
    assert offsets == {8: 5}


@pytest.mark.parametrize("wanted", [4, 5, 6, 7, 8, 9, 10, 1_023])
def test_a_number_may_be_one_that_is_needed_meanwhile(wanted):
    table, _ = played(Likeness((1, 2), (wanted,), (), "/tmp", 0o022, 0))
    assert table == {0: "null", 1: "stdout", 2: "stdout", wanted: "dead", LOG_FD: "log"}


def test_a_standard_input_of_its_own_takes_the_place_of_ours():
    table, _ = played(Likeness((1, 2), (0,), (), "/tmp", 0o022, 0))
    assert table[0] == "dead"
    file = OpenFile(0, "/tmp/a", 0, 0)
    table, _ = played(Likeness((1, 2), (), (file,), "/tmp", 0o022, 0))
    assert table[0] == "/tmp/a"


def test_outputs_that_are_shut_stay_shut():
    table, _ = played(Likeness((), (), (), "/tmp", 0o022, 0))
    assert table == {0: "null", LOG_FD: "log"}


def test_without_a_log_there_is_none():
    at_hand = {name: number for name, number in AT_HAND.items() if name != "log"}
    table, _ = played(PLAIN, at_hand)
    assert LOG_FD not in table


def test_as_many_as_a_guest_may_have_find_their_places():
    sockets = tuple(number for number in range(3, 1_000) if number != LOG_FD)
    table, _ = played(Likeness((1, 2), sockets, (), "/tmp", 0o022, 0))
    assert set(table) == {0, 1, 2, LOG_FD, *sockets}


def test_a_file_that_does_not_get_its_number_is_a_failure():
    made = confinement.calls(
        ROOT,
        AT_HAND,
        Likeness((1, 2), (), (OpenFile(3, "/tmp/a", 0, 0),), "/tmp", 0o022, 0),
        dead=DEAD,
        registered=REGISTERED,
    )
    (opened,) = (call for call in made if call.what == "open /tmp/a again")
    assert opened.expected == 3


# --- what libc has told the kernel ---


def test_what_libc_has_registered_is_registered_again():
    made = calls()
    assert ("rseq", 0x7F20, 32, 0, 0x53053053) in made
    assert ("set_robust_list", 0x7F40, 24) in made


def test_what_it_has_not_is_not():
    made = calls(registered=Registered(None, None, (0, 24)))
    assert not {"rseq", "set_robust_list"} & set(names(made))
