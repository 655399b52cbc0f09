"""Which tree a path comes from, and that it gets there."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdad.code import merging

FILE, DIRECTORY = False, True


def test_what_only_one_has_is_taken_from_it():
    trees = [{"a": FILE, "d": DIRECTORY, "d/x": FILE}, {"b": FILE}]
    assert merging.chosen(trees) == {"b": 1, "a": 0, "d": 0, "d/x": 0}


def test_of_a_file_that_several_have_the_last_is_taken():
    assert merging.chosen([{"a": FILE}, {"a": FILE}, {"b": FILE}])["a"] == 1


def test_directories_of_the_same_path_are_one():
    trees = [{"d": DIRECTORY, "d/x": FILE}, {"d": DIRECTORY, "d/y": FILE}]
    taken = merging.chosen(trees)
    assert (taken["d/x"], taken["d/y"]) == (0, 1)


def test_a_file_hides_a_directory_and_all_below_it():
    trees = [{"d": DIRECTORY, "d/e": DIRECTORY, "d/e/x": FILE}, {"d": FILE}]
    assert merging.chosen(trees) == {"d": 1}


def test_a_directory_hides_a_file():
    trees = [{"d": FILE}, {"d": DIRECTORY, "d/x": FILE}]
    assert merging.chosen(trees) == {"d": 1, "d/x": 1}


def test_what_was_hidden_once_does_not_come_back():
    trees = [{"d": DIRECTORY, "d/x": FILE}, {"d": FILE}, {"d": DIRECTORY, "d/y": FILE}]
    assert merging.chosen(trees) == {"d": 2, "d/y": 2, "d/x": 0}


paths = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map("/".join)
contents = st.dictionaries(paths, st.booleans(), max_size=8)


def whole(tree):
    """Something that a file system could hold: parents first, and they are directories."""
    made = {}
    for path, is_directory in tree.items():
        parents = ["/".join(path.split("/")[:n]) for n in range(1, path.count("/") + 1)]
        if all(made.get(parent, DIRECTORY) for parent in parents):
            made |= dict.fromkeys(parents, DIRECTORY)
            made.setdefault(path, is_directory)
    return dict(sorted(made.items()))


@given(st.lists(contents, max_size=4))
def test_every_path_lies_in_a_directory_that_came_before_it(trees):
    trees = [whole(tree) for tree in trees]
    directories = {""}
    for path, number in merging.chosen(trees).items():
        assert os.path.dirname(path) in directories  # noqa: PTH120  it is no path of this host
        if trees[number][path]:
            directories.add(path)


@given(st.lists(contents, min_size=1, max_size=4))
def test_the_last_tree_is_there_as_a_whole(trees):
    trees = [whole(tree) for tree in trees]
    taken = merging.chosen(trees)
    assert {path for path, number in taken.items() if number == len(trees) - 1} == set(trees[-1])


@pytest.fixture
def grow(tmp_path):
    """Makes a tree of files by name; a name with an arrow is a link, one with a slash empty."""

    def made(name, *files, mode=0o644):
        root = tmp_path / name
        root.mkdir()
        for file in files:
            path, _, target = file.partition("->")
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            if target:
                (root / path).symlink_to(target)
            elif path.endswith("/"):
                (root / path).mkdir(exist_ok=True)
            else:
                (root / path).write_text(name)
                (root / path).chmod(mode)
        return root

    return made


def test_a_merged_tree_has_files_modes_and_links(grow, tree, snapshot):
    one = grow("one", "bin/tool", "python/m.py", "lib->python", mode=0o755)
    two = grow("two", "python/m.py", "empty/", "loop->loop")
    merging.merge([one, two], tree)
    assert snapshot(tree) == {
        "bin": ("drwxr-xr-x", None),
        "bin/tool": ("-rwxr-xr-x", b"one"),
        "empty": ("drwxr-xr-x", None),
        "lib": ("lrwxrwxrwx", "python"),
        "loop": ("lrwxrwxrwx", "loop"),
        "python": ("drwxr-xr-x", None),
        "python/m.py": ("-rw-r--r--", b"two"),
    }
    assert oct(tree.stat().st_mode & 0o777) == "0o755"


def test_nothing_is_written_through_a_link(grow, tree, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    merging.merge([grow("one", "d/x"), grow("two", f"d->{outside}")], tree)
    assert list(outside.iterdir()) == []
    assert (tree / "d").is_symlink()


def test_a_merged_tree_takes_no_space_of_its_own(grow, tree):
    one = grow("one", "a")
    merging.merge([one], tree)
    assert (tree / "a").stat().st_ino == (one / "a").stat().st_ino


@pytest.mark.parametrize("reason", [errno.EMLINK, errno.EPERM])
def test_where_there_can_be_no_link_there_is_a_copy(grow, tree, monkeypatch, reason):
    def refuse(*_, **__):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr(os, "link", refuse)
    merging.merge([grow("one", "a", "l->a", mode=0o755)], tree)
    assert (tree / "a").read_text() == "one"
    assert oct((tree / "a").stat().st_mode & 0o777) == "0o755"
    assert (tree / "l").readlink() == Path("a")


def test_another_failure_is_not_hidden(grow, tree, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(OSError, match="full"):
        merging.merge([grow("one", "a")], tree)


def test_a_tree_is_as_large_as_its_files(grow):
    assert merging.size_bytes(grow("one", "a", "d/e/f", "l->../four")) == 3 + 3 + len("../four")
