from __future__ import annotations

import platform
from pathlib import Path

import pytest

from lambdad_sandbox.seccomp import compile as seccomp_compile
from lambdad_sandbox.seccomp.arch import ARCHITECTURES

X86_64, AARCH64 = ARCHITECTURES["x86_64"], ARCHITECTURES["aarch64"]
GOLDEN = Path(__file__).with_name("golden_x86_64.txt")

# fmt: off
REFUSED = [
    "mount", "umount2", "pivot_root", "chroot", "fsopen", "fsconfig", "fsmount", "fspick",
    "open_tree", "move_mount", "mount_setattr", "unshare", "setns", "ptrace", "process_vm_readv",
    "process_vm_writev", "pidfd_getfd", "kcmp", "process_madvise", "bpf", "perf_event_open",
    "userfaultfd", "io_uring_setup", "io_uring_enter", "io_uring_register", "keyctl", "add_key",
    "request_key", "kexec_load", "kexec_file_load", "init_module", "finit_module",
    "delete_module", "reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd",
    "nfsservctl", "iopl", "ioperm", "modify_ldt", "settimeofday", "clock_settime", "adjtimex",
    "clock_adjtime", "sethostname", "setdomainname", "syslog", "vhangup", "name_to_handle_at",
    "open_by_handle_at", "fanotify_init", "fanotify_mark", "mbind", "migrate_pages",
    "move_pages", "set_mempolicy", "memfd_secret", "lookup_dcookie",
]
# fmt: on

CLONE_THREAD_FLAGS = 0x3D0F00  # what glibc's pthread_create asks for
NAMESPACES = [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16
SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, SOCK_SEQPACKET, SOCK_PACKET = 1, 2, 3, 5, 10
SOCK_FLAGS = 0x80800  # SOCK_CLOEXEC, SOCK_NONBLOCK


@pytest.mark.parametrize("name", REFUSED)
def test_what_opens_the_kernel_or_the_host_is_refused(ask, name):
    assert ask(name) == "EPERM"


def test_each_call_of_each_architecture_is_decided_once(policy):
    verdicts = seccomp_compile._verdicts(policy)
    assert set(verdicts) == set(X86_64.numbers) | set(AARCH64.numbers)


def test_every_group_has_a_reason(policy):
    groups = policy["allow"] + policy["refuse"] + policy["ask"]
    assert all(group["reason"].endswith(".") for group in groups)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_call_gets_the_verdict_of_its_group(policy, programs, run, name):
    arch = ARCHITECTURES[name]
    expected = dict.fromkeys(
        [call for group in policy["allow"] for call in group["names"]], "ALLOW"
    )
    for group in policy["refuse"]:
        expected |= dict.fromkeys(group["names"], group["then"])
    for call in expected.keys() & arch.numbers.keys():
        got, _ = run(programs[name], arch.numbers[call], audit=arch.audit)
        assert (call, got) == (call, expected[call])


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_unknown_numbers_get_enosys(programs, run, name):
    arch = ARCHITECTURES[name]
    unknown = set(range(600)) - set(arch.numbers.values()) | {0x3FFFFFFF, 0x80000000, 0xFFFFFFFF}
    assert {run(programs[name], nr, audit=arch.audit)[0] for nr in unknown} == {"ENOSYS"}


@pytest.mark.parametrize("number", [0x40000000, 0x40000001, 0x40000000 + 520, 0x7FFFFFFF])
def test_x32_numbers_are_killed(programs, run, number):
    assert run(programs["x86_64"], number)[0] == "KILL_PROCESS"


@pytest.mark.parametrize("audit", [0x40000003, 0xC00000B7, 0, 0xFFFFFFFF])
@pytest.mark.parametrize("number", [0, 11, 323, 600])
def test_calls_by_way_of_another_architecture_are_killed(programs, run, audit, number):
    assert run(programs["x86_64"], number, audit=audit)[0] == "KILL_PROCESS"


@pytest.mark.parametrize("flag", NAMESPACES)
def test_clone_into_a_new_namespace_is_refused_whatever_else_is_asked(ask, flag):
    assert ask("clone", flag) == "EPERM"
    assert ask("clone", flag | CLONE_THREAD_FLAGS) == "EPERM"
    assert ask("clone", flag | 0xFFFFFFFF00000000) == "EPERM"


def test_a_child_of_ones_parent_is_refused(ask):
    assert ask("clone", 0x8000 | 17) == "EPERM"


def test_threads_and_forks_by_clone_are_allowed_and_clone3_falls_back(ask):
    assert ask("clone", CLONE_THREAD_FLAGS) == "ALLOW"
    assert ask("clone", 0x1200011) == "ALLOW"
    assert ask("clone3") == "ENOSYS"


@pytest.mark.parametrize(
    ("arguments", "verdict"),
    [
        ((AF_UNIX, SOCK_STREAM, 0), "ALLOW"),
        ((AF_UNIX, SOCK_SEQPACKET | SOCK_FLAGS, 0), "ALLOW"),
        ((AF_INET, SOCK_STREAM | SOCK_FLAGS, 6), "ALLOW"),
        ((AF_INET6, SOCK_DGRAM, 0), "ALLOW"),
        ((AF_INET, SOCK_STREAM, 262), "ALLOW"),
        ((AF_INET, SOCK_STREAM, 132), "EPERM"),
        ((AF_INET6, SOCK_DGRAM | SOCK_FLAGS, 136), "EPERM"),
        ((AF_INET, SOCK_RAW, 1), "EPERM"),
        ((AF_INET6, SOCK_RAW | SOCK_FLAGS, 58), "EPERM"),
        ((AF_INET, SOCK_PACKET, 0x300), "EPERM"),
        ((AF_INET, SOCK_SEQPACKET, 132), "EPERM"),
        ((AF_NETLINK, SOCK_RAW | SOCK_FLAGS, 0), "ALLOW"),
        ((AF_NETLINK, SOCK_RAW, 12), "EPROTONOSUPPORT"),
        ((17, SOCK_RAW, 0), "EAFNOSUPPORT"),
        ((38, SOCK_SEQPACKET, 0), "EAFNOSUPPORT"),
        ((40, SOCK_STREAM, 0), "EAFNOSUPPORT"),
        ((0x1_0000_0028, SOCK_STREAM, 0), "EAFNOSUPPORT"),
    ],
)
def test_sockets_are_of_few_families_and_never_raw(ask, arguments, verdict):
    assert ask("socket", *arguments) == verdict


def test_only_unix_sockets_come_in_pairs(ask):
    assert ask("socketpair", AF_UNIX, SOCK_STREAM) == "ALLOW"
    assert ask("socketpair", 40, SOCK_STREAM) == "EAFNOSUPPORT"


@pytest.mark.parametrize("request_code", [0x5412, 0x541C, 0x1_0000_5412, 0xFFFFFFFF_0000541C])
def test_typing_into_terminals_is_refused_whatever_the_upper_bits(ask, request_code):
    assert ask("ioctl", 0, request_code) == "EPERM"


def test_other_ioctls_are_allowed(ask):
    assert [ask("ioctl", 0, code) for code in (0x5401, 0x541B, 0x5421)] == ["ALLOW"] * 3


@pytest.mark.parametrize(
    ("persona", "verdict"),
    [(0, "ALLOW"), (8, "ALLOW"), (0xFFFFFFFF, "ALLOW"), (0x40000, "EPERM"), (0x100000, "EPERM")],
)
def test_the_personality_is_ordinary(ask, persona, verdict):
    assert ask("personality", persona) == verdict


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        (0, "ALLOW"),
        (0o100000, "ALLOW"),
        (0o010000, "ALLOW"),
        (0o140000, "ALLOW"),
        (0o020000, "EPERM"),
        (0o060000, "EPERM"),
        (0o170000, "EPERM"),
    ],
)
def test_nodes_are_no_devices(ask, kind, verdict):
    assert ask("mknod", 0, kind | 0o644) == verdict
    assert ask("mknodat", 0, 0, kind | 0o644) == verdict


def test_the_verdict_on_a_number_is_found_in_few_steps(programs, run):
    steps = [run(programs["x86_64"], number)[1] for number in X86_64.numbers.values()]
    assert max(steps) <= 24
    assert len(programs["x86_64"]) // 8 <= 250


def test_the_program_is_the_one_that_was_reviewed(programs, disassemble):
    # After a change of the policy the new text is written there once its difference was read.
    assert disassemble(programs["x86_64"]) == GOLDEN.read_text()


def test_load_compiles_for_this_machine(programs):
    if platform.machine() not in ARCHITECTURES:
        pytest.skip(f"no table for {platform.machine()}")
    assert seccomp_compile.load() == programs[platform.machine()]


def test_a_machine_without_a_table_is_refused(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(NotImplementedError, match="cannot filter system calls on riscv64"):
        seccomp_compile.load()


def test_a_call_that_is_decided_twice_is_an_error():
    policy = {"allow": [{"names": ["read", "read"]}], "refuse": [], "ask": []}
    with pytest.raises(ValueError, match="cannot decide twice on read"):
        seccomp_compile.compile_policy(policy, X86_64)


def test_jumps_over_more_than_255_instructions_arrive(run):
    """A question at every other number makes a program with far jumps in it."""
    questions = [
        {
            "names": [name],
            "cases": [{"then": "ALLOW", "tests": [{"argument": 0, "is": {"it": str(number)}}]}],
            "else": "EPERM",
        }
        for name, number in X86_64.numbers.items()
        if number % 2
    ]
    program = seccomp_compile.compile_policy({"allow": [], "refuse": [], "ask": questions}, X86_64)
    assert len(program) // 8 > 1_000
    for number in X86_64.numbers.values():
        assert run(program, number, [number])[0] == ("ALLOW" if number % 2 else "ENOSYS")
        assert run(program, number, [number + 1])[0] == ("EPERM" if number % 2 else "ENOSYS")
