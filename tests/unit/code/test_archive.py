"""What may be in a zip, and what unpacking leaves behind."""

import contextlib
import os
import stat
import tempfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lambdad.code import archive
from lambdad.code.archive import ArchiveTooLarge, BadArchive
from lambdad.model import limits


def refuses(data, tree, reason):
    """It is refused, and nothing is written."""
    with pytest.raises(BadArchive, match=reason) as caught:
        archive.unpack(data, tree)
    assert str(caught.value).startswith("cannot unzip: ")
    assert list(tree.iterdir()) == []


def test_files_directories_and_links_come_out_as_they_went_in(tree, new_zip, snapshot):
    data = (
        new_zip()
        .add("pkg/", mode=stat.S_IFDIR | 0o700)
        .add("pkg/deep/er/module.py", b"x = 1\n" * 100_000)
        .add("handler.py", b"def handler(event, context): ...")
        .add("empty", b"")
        .link("pkg/here", "deep/er")
        .link("pkg/up", "../handler.py")
        .bytes()
    )
    archive.unpack(data, tree)
    assert snapshot(tree) == {
        "empty": ("-rw-r--r--", b""),
        "handler.py": ("-rw-r--r--", b"def handler(event, context): ..."),
        "pkg": ("drwxr-xr-x", None),
        "pkg/deep": ("drwxr-xr-x", None),
        "pkg/deep/er": ("drwxr-xr-x", None),
        "pkg/deep/er/module.py": ("-rw-r--r--", b"x = 1\n" * 100_000),
        "pkg/here": ("lrwxrwxrwx", "deep/er"),
        "pkg/up": ("lrwxrwxrwx", "../handler.py"),
    }
    assert stat.filemode((tree).stat().st_mode) == "drwxr-xr-x"


@pytest.mark.parametrize(
    ("mode", "system", "expected"),
    [
        (stat.S_IFREG | 0o600, 3, 0o644),
        (stat.S_IFREG | 0o100, 3, 0o755),
        (stat.S_IFREG | 0o001, 3, 0o755),
        (stat.S_IFREG | 0o7777, 3, 0o755),
        (stat.S_IFREG | 0o6644, 3, 0o644),
        (0, 3, 0o644),
        (stat.S_IFREG | 0o777, 0, 0o644),
        (stat.S_IFIFO | 0o777, 0, 0o644),
    ],
)
def test_modes_are_0755_for_what_anybody_may_execute_and_0644_otherwise(
    tree, new_zip, mode, system, expected
):
    umask = os.umask(0o077)
    try:
        archive.unpack(new_zip().add("f", b"", mode, system).bytes(), tree)
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tree / "f").stat().st_mode) == expected


@pytest.mark.parametrize(
    "name",
    [
        "../evil",
        "a/../../evil",
        "a/..",
        "..",
        "/etc/passwd",
        "//evil",
        "a//b",
        "a//",
        "/",
        "",
        "C:/evil",
        "c:evil",
        "a\\b",
        "..\\evil",
        "a\0b",
        "x" * 256,
        "é" * 128,
        "/".join(["y" * 200] * 6),
        "/".join("d" * 65),
    ],
)
def test_a_name_that_is_no_plain_relative_path_writes_nothing(tree, new_zip, name):
    data = new_zip().add("good.py", b"").add(name, b"").bytes()
    refuses(data, tree, "name")


@pytest.mark.parametrize(
    "name", ["x" * 255, "/".join("d" * 64), "a b", "été/ñ", "-rf", "...", "a:b/c", "new\nline"]
)
def test_odd_but_plain_names_are_kept(tree, zip_of, name):
    if name[1:2] == ":":
        name = "x/" + name
    archive.unpack(zip_of(name), tree)
    assert (tree / name).read_text() == name


def test_a_name_that_is_not_utf8_though_it_says_so_is_refused(tree, zip_of):
    refuses(zip_of("é.py").replace("é".encode(), b"\xc3\x28"), tree, "not UTF-8")


@pytest.mark.parametrize("raw", ["é".encode(), b"\x82"])
def test_a_name_without_the_utf8_flag_is_utf8_or_else_code_page_437(tree, zip_of, raw):
    placeholder = b"X" * len(raw)
    data = zip_of(f"{placeholder.decode()}.py").replace(placeholder, raw)
    archive.unpack(data, tree)
    assert [path.name for path in (tree).iterdir()] == ["é.py"]


def test_single_dots_are_dropped(tree, zip_of, snapshot):
    archive.unpack(zip_of("./", "./a.py", "b/./c.py"), tree)
    assert list(snapshot(tree)) == ["a.py", "b", "b/c.py"]


def test_of_entries_with_one_name_the_last_wins(tree, new_zip):
    data = new_zip().add("a.py", b"first").add("./a.py", b"second").add("a.py", b"third").bytes()
    archive.unpack(data, tree)
    assert (tree / "a.py").read_text() == "third"
    assert archive.inspect(data).unzipped_bytes == len(b"firstsecondthird")


@pytest.mark.parametrize(
    "names", [("a", "a/b"), ("a/b", "a"), ("a/b", "a/b/c/d"), ("a/b/c/d", "a/b")]
)
def test_a_file_cannot_be_a_directory_too(tree, zip_of, names):
    refuses(zip_of(*names), tree, "directory and something else")


def test_a_file_cannot_take_the_place_of_the_root(tree, zip_of):
    refuses(zip_of("."), tree, "directory and something else")


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_devices_fifos_and_sockets_are_refused(tree, new_zip, kind):
    refuses(new_zip().add("x", b"", kind | 0o666).bytes(), tree, "neither file")


@pytest.mark.parametrize("mode", [0, stat.S_IFREG | 0o644, stat.S_IFDIR | 0o755])
def test_a_slash_at_the_end_makes_a_directory(tree, new_zip, mode):
    archive.unpack(new_zip().add("d/", b"", mode).bytes(), tree)
    assert (tree / "d").is_dir()


def test_a_directory_with_contents_is_refused(tree, new_zip):
    refuses(new_zip().add("d/", b"x").bytes(), tree, "has contents")
    refuses(new_zip().link("d/", "x").bytes(), tree, "has contents")


def test_a_zip_of_nothing_is_refused(tree, new_zip):
    refuses(new_zip().bytes(), tree, "empty")


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("x", "/etc/passwd"),
        ("x", ".."),
        ("x", "../tree"),
        ("a/b", "../../x"),
        ("a/b", ".././../x"),
        ("x", "a/../../b"),
        ("x", "a/.."),
        ("x", ""),
        ("x", "a\0b"),
        ("x", "a" * 1025),
    ],
)
def test_a_link_that_may_lead_out_is_refused(tree, new_zip, name, target):
    refuses(new_zip().link(name, target).bytes(), tree, "link")


def test_links_cannot_lead_out_together(tree, new_zip):
    # Each target alone stays inside when read as text; followed one after another they do not.
    data = new_zip().link("a/b/c/d", "../../..").link("x", "a/b/c/d/../..").bytes()
    refuses(data, tree, "link 'x'")


def test_a_link_whose_target_is_not_utf8_is_refused(tree, new_zip):
    data = new_zip().add("x", b"\xff", stat.S_IFLNK).bytes()
    refuses(data, tree, "not UTF-8")


def test_nothing_is_written_through_a_link(tree, new_zip):
    data = new_zip().link("d", "e").add("e/", mode=stat.S_IFDIR).add("d/f", b"!").bytes()
    refuses(data, tree, "directory and something else")


def test_a_link_and_then_a_file_of_its_name_is_a_file(tree, new_zip, snapshot):
    data = new_zip().link("d", "victim").add("victim", b"safe").add("d", b"evil").bytes()
    archive.unpack(data, tree)
    assert snapshot(tree) == {
        "d": ("-rw-r--r--", b"evil"),
        "victim": ("-rw-r--r--", b"safe"),
    }


def test_a_link_to_nothing_and_a_loop_are_harmless(tree, new_zip, snapshot):
    data = new_zip().link("a", "b").link("b", "a").link("c", "missing").bytes()
    archive.unpack(data, tree)
    assert [target for _, target in snapshot(tree).values()] == ["b", "a", "missing"]


def test_a_bomb_is_too_large_and_not_malformed(tree, new_zip):
    maker = new_zip()
    for number in range(26):
        maker.add(f"{number}", bytes(10 * limits.MIB))
    data = maker.bytes()
    assert len(data) < limits.MIB
    with pytest.raises(ArchiveTooLarge):
        archive.unpack(data, tree)
    assert list(tree.iterdir()) == []


def test_the_limit_itself_is_allowed(new_zip):
    data = new_zip().add("a", bytes(600)).add("b", bytes(400)).bytes()
    assert archive.inspect(data, unzipped_bytes_max=1000).unzipped_bytes == 1000
    with pytest.raises(ArchiveTooLarge):
        archive.inspect(data, unzipped_bytes_max=999)


def test_names_cannot_imply_more_directories_than_entries_are_allowed(tree, new_zip):
    maker = new_zip(zipfile.ZIP_STORED)
    for number in range(1_100):
        maker.add(f"{number}/" + "/".join("d" * 62) + "/f", b"")
    refuses(maker.bytes(), tree, "too many directories")


def test_contents_that_are_damaged_are_refused(tree, new_zip):
    data = new_zip(zipfile.ZIP_STORED).add("a", b"fine").add("b", b"treasure").bytes()
    with pytest.raises(BadArchive, match="CRC"):
        archive.unpack(data.replace(b"treasure", b"pleasure"), tree)


def test_what_is_there_already_is_left_alone(tree, zip_of):
    (tree / "a").write_text("mine")
    with pytest.raises(FileExistsError):
        archive.unpack(zip_of("a"), tree)
    assert (tree / "a").read_text() == "mine"


@settings(
    max_examples=400,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(changes=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=6))
def test_whatever_bytes_are_changed_it_is_unpacked_or_refused(tmp_path, new_zip, changes):
    maker = new_zip().add("d/f.py", b"pass\n" * 20).link("d/l", "f.py").add("e/", mode=0o40755)
    data = bytearray(maker.bytes())
    for at, value in changes:
        data[at % len(data)] = value
    place = Path(tempfile.mkdtemp(dir=tmp_path))
    with contextlib.suppress(BadArchive, ArchiveTooLarge):
        archive.unpack(bytes(data), place)
