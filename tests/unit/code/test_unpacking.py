"""The daemon's end: what it makes of what the unpacker says and of how it ends."""
# ruff: noqa: PTH208  names are wanted, not paths

import errno
import os
import signal
from pathlib import Path

import psutil
import pytest
import zip_corpus

from lambdad.code import unpacking, verdict
from lambdad.code.archive import ArchiveTooLarge, BadArchive
from lambdad.model import limits
from lambdad.model.errors import PlatformFault

SAYS_CONFINED = "import os, resource, signal; os.write(1, b'confined\\n'); "


@pytest.mark.parametrize(
    ("said", "exit_code", "in_time", "kind", "words"),
    [
        (b"malformed it is odd\n", 0, True, BadArchive, "cannot unzip: it is odd"),
        (b"too-large 2 1\n", 0, True, ArchiveTooLarge, "2 bytes"),
        (b"failed 28\n", 0, True, OSError, "No space"),
        (b"", 0, True, BadArchive, "did not survive"),
        (b"", 1, True, BadArchive, "ended with 1"),
        (b"unpacked\n", 1, True, BadArchive, "ended with 1"),
        (b"unpacked\n", -11, True, BadArchive, "ended with -11"),
        (b"nonsense", 0, True, BadArchive, "did not survive"),
        (b"", -signal.SIGXCPU, True, BadArchive, "30 s of processor time"),
        (b"", -signal.SIGKILL, False, BadArchive, "more than 60 s"),
        (b"unpacked\n", -signal.SIGKILL, False, BadArchive, "more than 60 s"),
    ],
)
def test_the_end_of_a_confined_unpacker_is_about_the_zip(said, exit_code, in_time, kind, words):
    fault = unpacking.judge(verdict.CONFINED + said, exit_code, in_time=in_time)
    assert type(fault) is kind or (kind is OSError and fault.errno == errno.ENOSPC)
    assert words in str(fault)


@pytest.mark.parametrize(
    ("said", "exit_code", "in_time"),
    [
        (b"unconfined cannot make a root\n", 0, True),
        (b"", 1, True),
        (b"", 0, True),
        (b"", -9, False),
    ],
)
def test_an_unpacker_that_was_never_confined_is_a_fault_of_the_platform(said, exit_code, in_time):
    fault = unpacking.judge(said, exit_code, in_time=in_time)
    assert isinstance(fault, PlatformFault)
    assert str(fault).startswith("cannot")


def test_a_complete_tree_is_no_fault():
    assert unpacking.judge(verdict.CONFINED + verdict.UNPACKED, 0, in_time=True) is None


@pytest.fixture
def descriptors():
    """Fails a test after which more is open than before, or a child is left."""
    children = psutil.Process().children()
    before = len(os.listdir("/proc/self/fd"))
    yield
    # Fewer are no harm: what earlier tests have left may be collected meanwhile.
    assert len(os.listdir("/proc/self/fd")) <= before
    assert psutil.Process().children() == children


@pytest.fixture
def unpack(tmp_path, tree, descriptors):
    def unpacked(data):
        (tmp_path / "zip").write_bytes(data)
        unpacking.unpack(tmp_path / "zip", tree)

    return unpacked


@pytest.mark.root
def test_a_zip_is_unpacked_by_another_process(unpack, tree, new_zip, snapshot):
    maker = new_zip().add("d/f.py", b"pass", 0o100755).link("l", "d/f.py")
    unpack(maker.bytes())
    assert snapshot(tree) == {
        "d": ("drwxr-xr-x", None),
        "d/f.py": ("-rwxr-xr-x", b"pass"),
        "l": ("lrwxrwxrwx", "d/f.py"),
    }
    owned = {(path.lstat().st_uid, path.lstat().st_gid) for path in [tree, *tree.rglob("*")]}
    assert owned == {(os.geteuid(), os.getegid())}
    assert tree.stat().st_mode & 0o777 == 0o755


@pytest.mark.root
@pytest.mark.parametrize("name", zip_corpus.ACCEPTED)
def test_confined_it_makes_what_it_would_make_otherwise(unpack, tree, name):
    unpack(zip_corpus.ACCEPTED[name]())
    assert (tree / "lambda_function.py").read_bytes() == zip_corpus.HANDLER


@pytest.mark.root
@pytest.mark.parametrize(
    ("name", "reason"),
    [("text", "no end record"), ("bad CRC", "CRC differs"), ("name is not UTF-8", "not UTF-8")],
)
def test_what_is_malformed_is_refused_with_the_reason(unpack, name, reason):
    with pytest.raises(BadArchive, match=reason):
        unpack(zip_corpus.REFUSED[name]())


@pytest.mark.root
def test_the_most_entries_with_the_longest_names_fit_into_its_memory(unpack, tree):
    parts = "/".join(["d" * 200] * 3)
    entries = [
        zip_corpus.Entry(f"{number % 8}/{parts}/{number}", method=zip_corpus.STORED)
        for number in range(zip_corpus.ENTRIES_MAX - 100)
    ]
    # The last one is refused after the rest has been read, so that nothing has to be written.
    data = zip_corpus.zip_of(*entries, zip_corpus.Entry("../x"))
    assert len(data) > limits.zip_bytes_max * 0.9
    with pytest.raises(BadArchive, match="plain relative path"):
        unpack(data)
    assert list(tree.iterdir()) == []


@pytest.mark.root
@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("os.abort()", "ended with -6"),
        ("os._exit(3)", "ended with 3"),
        ("os.write(1, b'x' * 60_000)", "did not survive"),
        ("resource.setrlimit(resource.RLIMIT_CPU, (1, 2))\nwhile True: pass", "processor time"),
    ],
)
def test_an_unpacker_that_dies_refuses_the_zip(unpack, monkeypatch, program, words):
    monkeypatch.setattr(unpacking, "_PROGRAM", SAYS_CONFINED + program)
    with pytest.raises(BadArchive, match=words):
        unpack(b"")


@pytest.mark.root
def test_an_unpacker_that_does_not_end_is_ended(unpack, monkeypatch):
    monkeypatch.setattr(unpacking, "_PROGRAM", SAYS_CONFINED + "signal.pause()")
    monkeypatch.setattr(limits, "unpack_s_max", 2)
    with pytest.raises(BadArchive, match="more than 2 s"):
        unpack(b"")


@pytest.mark.root
def test_an_unpacker_that_cannot_be_confined_reads_nothing(unpack, tree, monkeypatch):
    program = """
from lambdad.code import unpacker
def refuse(flags):
    raise PermissionError(1, "refused")
unpacker.syscalls.unshare = refuse
unpacker.main()
"""
    monkeypatch.setattr(unpacking, "_PROGRAM", program)
    with pytest.raises(PlatformFault, match="cannot unzip anything here: cannot make a private"):
        unpack(zip_corpus.ACCEPTED["plain"]())
    assert list(tree.iterdir()) == []


@pytest.mark.root
def test_an_interpreter_that_does_not_start_is_a_fault_of_the_platform(unpack, monkeypatch):
    monkeypatch.setattr(unpacking, "_PROGRAM", "raise SystemExit(1)")
    with pytest.raises(PlatformFault, match="cannot start the unpacker"):
        unpack(b"")
    monkeypatch.setattr(unpacking.sys, "executable", str(Path(os.devnull) / "python"))
    with pytest.raises(OSError, match="Not a directory"):
        unpack(b"")
