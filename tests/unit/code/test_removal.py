"""Trees that are hard to get rid of."""

import os

import pytest

from lambdad.code.removal import remove


def test_files_links_and_directories_go(tree):
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/file").touch()
    (tree / "a/broken").symlink_to("missing")
    os.mkfifo(tree / "a/b/fifo")
    remove(tree)
    assert not tree.exists()


@pytest.mark.parametrize("target", [".", "..", "/", "outside"])
def test_no_link_is_followed(tmp_path, tree, target):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    (tree / "d").mkdir()
    (tree / "d/link").symlink_to(tmp_path / target)
    (tree / "link").symlink_to(tmp_path / target)
    remove(tree)
    assert (outside / "precious").exists()
    (tmp_path / "link").symlink_to(outside)
    remove(tmp_path / "link")
    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (outside / "precious").exists()


def test_closed_directories_go(tree):
    (tree / "a/b").mkdir(parents=True)
    (tree / "a/b/file").touch()
    for closed in (tree / "a/b", tree / "a", tree):
        closed.chmod(0)
    remove(tree)
    assert not tree.exists()


def test_depth_costs_no_descriptors_and_no_recursion(tree):
    deep = os.open(tree, os.O_RDONLY)
    for _ in range(3_000):
        os.mkdir("d", dir_fd=deep)
        below = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = below
    os.close(deep)
    remove(tree)
    assert not tree.exists()


def test_a_file_goes_and_what_is_not_there_is_said(tree):
    (tree / "file").touch()
    remove(tree / "file")
    assert list(tree.iterdir()) == []
    with pytest.raises(FileNotFoundError):
        remove(tree / "file")
