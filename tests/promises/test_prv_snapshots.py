"""PRV, where environments are clones: who forks them has rights, and the memory of a function.

A function is hostile before its snapshot is taken: it knows where the calls are laid out that its
clones are confined with, and changes all that it can reach.
"""

from __future__ import annotations

import textwrap

import pytest
from scenario.snapshots import deploy, publish

pytestmark = [pytest.mark.root, pytest.mark.cgroup]

NOTHING = "0000000000000000"

# ``code`` and ``data``, where the calls are, are found with the keeper's own objects: its memory
# was copied when the twin was made.
HOSTILE = """
import ctypes, os, resource, signal, socket, struct, sys, time

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
for call in (libc.munmap, libc.mprotect, libc.madvise):
    call.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int][: 2 + (call != libc.munmap)]
PAGE = 4096
PAUSE = bytes.fromhex("b8220000000f05ebf7")
HAVE_ONE_MORE_AND_EXIT = bytes.fromhex(
    "bf1101000031f631d24d31d24d31c0b8380000000f0585c07409b83c00000031ff0f05"
)
many = []

def room():
    frame = sys._getframe()
    while frame is not None:
        keeper = frame.f_locals.get("self")
        if hasattr(keeper, "_room"):
            return keeper._room.code, keeper._room.data
        frame = frame.f_back
    return None

def run(machine_code):
    at = libc.mmap(None, PAGE, 7, 0x22, -1, 0)
    ctypes.memmove(at, machine_code, len(machine_code))
    return ctypes.CFUNCTYPE(ctypes.c_int)(at)()

def cloned(flags, does):
    # mov edi, flags; mov rsi, stack; xor edx, edx; xor r10, r10; xor r8, r8; mov eax, 56;
    # syscall; test eax, eax; jz child; ret; child: ...
    stack = libc.mmap(None, 16 * PAGE, 3, 0x22, -1, 0) + 15 * PAGE
    begin = b"\\xbf" + struct.pack("<I", flags) + b"\\x48\\xbe" + struct.pack("<Q", stack)
    return run(begin + bytes.fromhex("31d24d31d24d31c0b8380000000f0585c07401c3") + does)

def attack():
{attack}

place = room()
if place is not None:
    code, data = place
    attack()

def handler(event, context):
    with open("/proc/self/status") as file:
        fields = dict(line.rstrip("\\n").split(":\\t", 1) for line in file)
    return fields, place is not None
"""

# What each does, and why there is no clone of it; nothing where there is one.
ATTACKS = {
    "write over the calls": (
        """
        libc.mprotect(code, PAGE, 7)
        ctypes.memset(code, 0xCC, PAGE)
        libc.mprotect(code, PAGE, 5)
        ctypes.memset(data, 0xFF, 8 * PAGE)
        """,
        "",
    ),
    "let them be written to": (
        "libc.mprotect(code, PAGE, 7)",
        "it has changed mappings that are not its own",
    ),
    "take the room away": (
        "libc.munmap(code, PAGE)",
        "it has changed mappings that are not its own",
    ),
    "share the room": (
        "libc.munmap(data, 8 * PAGE); libc.mmap(data, 8 * PAGE, 3, 0x31, -1, 0)",
        "it has mapped /dev/zero",
    ),
    "leave a hole in the room": (
        "many.extend(socket.socket() for _ in range(300)); libc.munmap(data + 2 * PAGE, PAGE)",
        "its room for calls is not as it was made",
    ),
    "lock a part of the room": (
        "many.extend(socket.socket() for _ in range(300)); libc.mprotect(data + 2 * PAGE, PAGE, 0)",
        "its room for calls is not as it was made",
    ),
    "keep the room from clones": ("libc.madvise(code, PAGE, 10)", "it cannot be looked at"),
    "empty the room in clones": ("libc.madvise(data, 8 * PAGE, 18)", ""),
    "ignore and block signals": (
        """
        signal.signal(signal.SIGTRAP, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {5, 10, 17})
        """,
        "",
    ),
    "handle the trap itself": ("signal.signal(signal.SIGTRAP, lambda *_: os._exit(0))", ""),
    "have a child with its memory": ("cloned(0x100 | 17, PAUSE)", "it has started other processes"),
    "have an orphan with its memory": (
        "cloned(0x4100 | 17, HAVE_ONE_MORE_AND_EXIT + PAUSE)",
        "it has started other processes",
    ),
    "have a sibling with its memory": ("assert cloned(0x8100 | 17, PAUSE) == -1", ""),
    "filter calls": (
        """
        program = ctypes.create_string_buffer(struct.pack("<HBBI", 6, 0, 0, 0x7FFF0000))
        libc.syscall(317, 1, 0, struct.pack("<H6xQ", 1, ctypes.addressof(program)))
        """,
        "it has installed a filter of system calls",
    ),
    "have fewer descriptors": (
        "resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))",
        "it has changed its resource limits",
    ),
    "have many mappings": (
        """
        for number in range(20_000):
            libc.mmap(None, PAGE, 1 + 2 * (number % 2), 0x22, -1, 0)
        """,
        "",
    ),
    "be nobody's to look at": ("libc.prctl(4, 0)", ""),
}


@pytest.fixture
def hostile(daemon):
    """Publishes a function that does this before its snapshot is taken."""
    names = []

    def done(attack):
        body = textwrap.indent(textwrap.dedent(attack), "    ")
        names.append(deploy(daemon, HOSTILE.replace("{attack}", body)))
        return names[-1], publish(daemon, names[-1])

    yield done
    for name in names:
        daemon.client.delete_function(FunctionName=name)


@pytest.mark.parametrize("attack", ATTACKS)
def test_prv_1_no_clone_has_a_right_whatever_its_original_did(daemon, hostile, attack):
    does, reason = ATTACKS[attack]
    name, said = hostile(does)
    assert said["State"] == "Active", said
    assert reason in said.get("StateReason", "")
    assert bool(reason) == ("StateReason" in said)
    fields, cloned = daemon.invoke(f"{name}:1").payload
    assert cloned == (not reason)
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert fields[kind] == NOTHING
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    assert "0" not in fields["Uid"].split()
    assert "0" not in fields["Gid"].split()
    assert fields["Groups"].split() == []


def test_prv_1_a_clone_is_confined_as_any_other_environment(daemon, hostile):
    name, _ = hostile("pass")
    ordinary, _ = daemon.invoke(name).payload
    fields, cloned = daemon.invoke(f"{name}:1").payload
    assert cloned
    differ = {kind for kind in ordinary if ordinary[kind] != fields[kind]}
    of_itself = {"Pid", "PPid", "Tgid", "Ngid", "Uid", "NSpid", "NStgid", "NSpgid", "NSsid"}
    counted = ("Vm", "Rss", "voluntary", "nonvoluntary", "SigQ")
    assert {kind for kind in differ - of_itself if not kind.startswith(counted)} == set()
