"""What of a process can be had twice, by what the kernel says of it."""

import os
import stat

import pytest

from lambdad_sandbox import likeness
from lambdad_sandbox.likeness import CannotClone, OpenFile
from lambdad_sandbox.messages import LOG_FD

CODE, DATA = 0x7F0000001000, 0x7F0000008000
ROOM = ((CODE, "r-xp"), (DATA, "rw-p"))

PRIVATE = f"""\
55d0c0000000-55d0c0021000 rw-p 00000000 00:00 0                          [heap]
Size:                132 kB
Anonymous:            64 kB
VmFlags: rd wr mr mw me ac sd
{CODE:x}-{CODE + 0x1000:x} r-xp 00000000 00:00 0 
Anonymous:             4 kB
VmFlags: rd ex mr mw me sd
{DATA - 0x2000:x}-{DATA + 0x8000:x} rw-p 00000000 00:00 0 
Anonymous:            12 kB
VmFlags: rd wr mr mw me ac sd
7f0000100000-7f0000200000 r-xp 00000000 fe:01 1234                       /usr/lib/libc.so.6
Anonymous:             0 kB
VmFlags: rd ex mr mw me sd
"""  # noqa: W291  so the kernel writes it

TMP = "07:0c"
REGULAR, FOLDER = stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755


def lines(text):
    return text.splitlines(keepends=True)


def mapped(path, permissions="rw-p", flags="rd wr mr mw me", device="00:05"):
    area = f"7f00aa000000-7f00aa001000 {permissions} 00000000 {device} 77 {path}"
    return f"{area}\nVmFlags: {flags}\n"


# --- memory ---


def test_anonymous_memory_is_counted_wherever_it_is():
    assert likeness.memory(lines(PRIVATE), ROOM, TMP) == 80 * 1024


@pytest.mark.parametrize(
    ("mapping", "reason"),
    [
        (mapped("/dev/zero (deleted)", "rw-s", "rd wr sh mr mw me"), "/dev/zero"),
        (mapped("/memfd:any (deleted)", "rw-p"), "memfd:any"),
        (mapped("/SYSV00000000 (deleted)", "r--s", "rd sh mr me"), "SYSV00000000"),
        (mapped("/tmp/data", device=TMP), "/tmp/data"),
        (mapped("/var/task/data", "r--s", "rd sh mr mw me"), "/var/task/data"),
        (mapped("", "rw-s", "rd wr sh mr mw me"), "no name"),
    ],
)
def test_what_clones_would_share_or_not_find_is_a_reason(mapping, reason):
    with pytest.raises(CannotClone, match=reason):
        likeness.memory(lines(PRIVATE + mapping), ROOM, TMP)


def test_what_only_looks_like_a_file_of_tmp_is_none():
    assert likeness.memory(lines(PRIVATE + mapped("/tmp/lib.so")), ROOM, TMP) == 80 * 1024


def test_a_file_that_nobody_can_write_to_may_be_mapped_as_a_shared_one():
    cache = mapped("/usr/lib/locale/gconv.cache", "r--s", "rd sh mr me")
    assert likeness.memory(lines(PRIVATE + cache), ROOM, TMP) == 80 * 1024


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (f"{CODE:x}-{CODE + 0x1000:x} r-xp", f"{CODE:x}-{CODE + 0x1000:x} rwxp"),
        (f"{CODE:x}-{CODE + 0x1000:x} r-xp 00000000 00:00 0 ",
         f"{CODE:x}-{CODE + 0x1000:x} r-xp 00000000 fe:01 12 /usr/lib/other.so"),
        (f"{DATA - 0x2000:x}-", f"{DATA + 0x1000:x}-"),
        (f"{DATA + 0x8000:x} rw-p", f"{DATA:x} rw-p"),
    ],
)  # fmt: skip
def test_room_that_is_not_as_it_was_made_is_a_reason(was, now):
    assert was in PRIVATE
    with pytest.raises(CannotClone, match="not its own"):
        likeness.memory(lines(PRIVATE.replace(was, now)), ROOM, TMP)


def test_no_name_of_a_file_can_look_like_a_mapping():
    """Other characters than a line feed end a line for Python, but not here."""
    name = f"/var/task/x\x0c{CODE:x}-{CODE + 0x1000:x} r-xp 00000000 00:00 0 "
    without = PRIVATE.replace(f"{CODE:x}-{CODE + 0x1000:x} r-xp", "7e0000000000-7e0000001000 r-xp")
    with pytest.raises(CannotClone, match="not its own"):
        likeness.memory(lines_of_a_file(without + mapped(name, "r--p")), ROOM, TMP)


def lines_of_a_file(text):
    """As a file that is opened with newline="\\n" gives them."""
    return [line + "\n" for line in text.split("\n")]


# --- descriptors ---


def found(number, target, mode=REGULAR, flags=0o100000, position=0):
    return number, target, mode, f"pos:\t{position}\nflags:\t0{flags:o}\nmnt_id:\t7\n"


def standard(*more):
    pipe = stat.S_IFIFO | 0o600
    return [
        found(0, "/dev/null", stat.S_IFCHR | 0o666),
        found(1, "pipe:[11]", pipe),
        found(2, "pipe:[11]", pipe),
        found(LOG_FD, "pipe:[12]", pipe),
        *more,
    ]


def test_outputs_lead_to_the_log_whatever_their_number():
    copy = found(7, "pipe:[11]", stat.S_IFIFO | 0o600)
    assert likeness.descriptors(standard(copy)) == ((1, 2, 7), (), ())


def test_sockets_are_dead_and_files_are_opened_again_where_they_were():
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
    _, sockets, files = likeness.descriptors(
        standard(
            found(3, "socket:[99]", stat.S_IFSOCK | 0o777),
            found(4, "/tmp/log", flags=flags, position=12),
            found(5, "/var/task", FOLDER, flags=os.O_DIRECTORY),
            found(6, "/dev/urandom", stat.S_IFCHR | 0o666),
        )
    )
    assert sockets == (3,)
    assert files == (
        OpenFile(4, "/tmp/log", flags, 12),
        OpenFile(5, "/var/task", os.O_DIRECTORY, 0),
        OpenFile(6, "/dev/urandom", 0, 0),
    )


def test_what_would_make_a_file_anew_or_empty_it_is_not_asked_for_again():
    created = found(4, "/tmp/log", flags=os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_TRUNC)
    _, _, files = likeness.descriptors(standard(created))
    assert files[0].flags == os.O_RDWR


def test_a_standard_input_of_its_own_is_kept_as_any_other():
    own = [found(0, "socket:[5]", stat.S_IFSOCK | 0o777), *standard()[1:]]
    assert likeness.descriptors(own)[1] == (0,)


@pytest.mark.parametrize(
    ("target", "mode"),
    [
        ("pipe:[99]", stat.S_IFIFO | 0o600),
        ("anon_inode:[eventpoll]", 0o600),
        ("anon_inode:[eventfd]", stat.S_IFREG | 0o600),
        ("/memfd:any (deleted)", REGULAR),
        ("/tmp/gone (deleted)", REGULAR),
        ("/tmp/fifo", stat.S_IFIFO | 0o644),
        ("/proc/9/mem", REGULAR),
        ("/dev/shm/any", REGULAR),
        ("/dev/pts/0", stat.S_IFCHR | 0o620),
    ],
)
def test_what_cannot_be_opened_again_or_would_wait_is_a_reason(target, mode):
    with pytest.raises(CannotClone, match="its descriptor 5 is open to"):
        likeness.descriptors(standard(found(5, target, mode)))


def test_more_descriptors_than_can_be_put_in_their_places_are_a_reason():
    many = [found(number, "/var/task/a") for number in range(63, 1_060)]
    with pytest.raises(CannotClone, match="1001 descriptors"):
        likeness.descriptors(standard(*many))


# --- what else the kernel says ---


def test_the_umask_is_the_kernels_word_not_that_of_a_name():
    status = "Name:\t\rUmask:\t0000\nUmask:\t0077\nSeccomp:\t2\nSeccomp_filters:\t1\n"
    assert likeness.of_status(status) == 0o077


def test_a_filter_of_its_own_is_a_reason():
    with pytest.raises(CannotClone, match="filter of system calls"):
        likeness.of_status("Umask:\t0022\nSeccomp_filters:\t2\n")


def test_of_a_kernel_that_does_not_count_filters_the_umask_is_told():
    assert likeness.of_status("Umask:\t0022\nSeccomp:\t2\n") == 0o022


def test_all_numbers_but_the_logs_are_its_own():
    file = OpenFile(9, "/tmp/a", 0, 0)
    like = likeness.Likeness((1, 2), (3,), (file,), "/var/task", 0o022, 0)
    assert like.numbers == {0, 1, 2, 3, 9}
