"""Zips and trees under their digests; unpacked in this process, which needs no namespaces."""

import base64
import hashlib
import os
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from lambdad.code import archive, unpacking
from lambdad.code.archive import ArchiveTooLarge, BadArchive
from lambdad.code.blobs import Blobs
from lambdad_sandbox import syscalls


@pytest.fixture
def root(tmp_path):
    return tmp_path / "code"


@pytest.fixture(autouse=True)
def unpacked_here(monkeypatch):
    def unpack(zip_file, tree):
        archive.unpack(zip_file.read_bytes(), tree)

    monkeypatch.setattr(unpacking, "unpack", unpack)
    return unpack


@pytest.fixture
def blobs(root):
    return Blobs(root)


def modes(*paths):
    return [oct(stat.S_IMODE(path.stat().st_mode)) for path in paths]


def staged(root):
    return list((root / "staging").iterdir())


def test_the_zip_is_kept_and_its_tree_beside_it(root, blobs, zip_of):
    data = zip_of("handler.py", "pkg/module.py")
    blob = blobs.add(data)
    assert blob.tree == hashlib.sha256(data).hexdigest()
    assert base64.b64decode(blob.sha256_base64).hex() == blob.tree
    assert blob.zip_bytes == len(data)
    assert blobs.zip(blob.tree).read_bytes() == data
    assert blobs.path(blob.tree) == root / blob.tree / "tree"
    assert (blobs.path(blob.tree) / "pkg/module.py").read_text() == "pkg/module.py"
    assert staged(root) == []


def test_only_the_trees_themselves_are_for_everybody(root, blobs, zip_of):
    tree = blobs.add(zip_of("handler.py")).tree
    assert modes(root, root / "staging", blobs.zip(tree)) == ["0o700", "0o700", "0o600"]
    assert modes(root / tree, blobs.path(tree)) == ["0o755", "0o755"]


def test_adding_again_unpacks_nothing(blobs, zip_of, monkeypatch):
    first = blobs.add(zip_of("handler.py"))
    monkeypatch.delattr(unpacking, "unpack")
    assert blobs.add(zip_of("handler.py")) == first


def test_adding_at_the_same_time_is_harmless(root, blobs, zip_of, snapshot):
    data = zip_of(*(f"{number}/module.py" for number in range(50)))
    with ThreadPoolExecutor(8) as threads:
        added = set(threads.map(blobs.add, [data] * 8))
    (blob,) = added
    assert len(snapshot(blobs.path(blob.tree))) == 100
    assert staged(root) == []


def test_all_of_it_is_on_the_disk_before_it_is_in_its_place(root, blobs, zip_of, monkeypatch):
    synced = []

    def syncfs(descriptor):
        assert os.fstat(descriptor).st_dev == root.stat().st_dev
        (place,) = staged(root)
        synced.extend(sorted(path.name for path in place.rglob("*")))
        assert [path.name for path in root.iterdir()] == ["staging"]

    monkeypatch.setattr(syscalls, "syncfs", syncfs)
    blobs.add(zip_of("handler.py"))
    assert synced == ["handler.py", "tree", "zip"]


def test_losing_the_race_is_harmless(root, blobs, zip_of, monkeypatch, unpacked_here):
    raced = []

    def unpack_late(zip_file, tree):
        unpacked_here(zip_file, tree)
        if not raced:
            raced.append(True)
            blobs.add(zip_file.read_bytes())

    monkeypatch.setattr(unpacking, "unpack", unpack_late)
    blob = blobs.add(zip_of("handler.py"))
    assert raced
    assert (blobs.path(blob.tree) / "handler.py").exists()
    assert staged(root) == []


def test_links_in_a_tree_are_kept_and_not_followed(tmp_path, blobs, new_zip):
    data = new_zip().add("d/f", b"").link("l", "d").link("m", "missing").bytes()
    tree = blobs.path(blobs.add(data).tree)
    assert [(tree / name).is_symlink() for name in ("l", "m")] == [True, True]


@pytest.mark.parametrize("content", [b"no zip", b""])
def test_what_cannot_be_unpacked_is_not_kept(root, blobs, content):
    with pytest.raises(BadArchive):
        blobs.add(content)
    assert [path.name for path in root.iterdir()] == ["staging"]
    assert staged(root) == []


def test_what_is_too_large_is_not_kept(root, blobs, new_zip):
    with pytest.raises(ArchiveTooLarge):
        blobs.add(new_zip().add("zeros", bytes(262_144_001)).bytes())
    assert [path.name for path in root.iterdir()] == ["staging"]


def test_a_failure_while_writing_is_not_taken_for_a_lost_race(root, blobs, zip_of, monkeypatch):
    def full(zip_file, tree):
        (tree / "half").touch()
        raise FileExistsError("as good as any")

    monkeypatch.setattr(unpacking, "unpack", full)
    with pytest.raises(FileExistsError):
        blobs.add(zip_of("handler.py"))
    assert staged(root) == []


def test_a_sweep_removes_trees_that_nobody_keeps(root, blobs, zip_of):
    kept, dropped = blobs.add(zip_of("kept.py")).tree, blobs.add(zip_of("dropped.py")).tree
    blobs = Blobs(root)  # as the next daemon does
    assert blobs.sweep({kept}) == (dropped,)
    assert blobs.path(kept).is_dir()
    assert not (root / dropped).exists()
    assert staged(root) == []
    assert blobs.sweep({kept}) == ()


def test_a_sweep_removes_what_a_crash_left(root, blobs, zip_of):
    leftover = root / "staging/abc"
    leftover.mkdir()
    (leftover / "tree").mkdir()
    (leftover / "tree/half.py").touch()
    (root / "staging/file").touch()
    assert Blobs(root).sweep(()) == ()
    assert staged(root) == []


def test_a_sweep_follows_no_link(tmp_path, root, blobs, zip_of):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").touch()
    tree = blobs.add(zip_of("a.py")).tree
    (blobs.path(tree) / "link").symlink_to(outside)
    (root / "staging/link").symlink_to(outside)
    (root / ("0" * 64)).symlink_to(outside)
    assert set(Blobs(root).sweep(())) == {tree, "0" * 64}
    assert (outside / "precious").exists()
    assert [path.name for path in root.iterdir()] == ["staging"]


def test_a_sweep_leaves_alone_what_it_does_not_know(root, blobs):
    (root / "notes.txt").touch()
    blobs.sweep(())
    assert (root / "notes.txt").exists()


def test_a_zip_is_found_by_its_digest_only(blobs, zip_of):
    tree = blobs.add(zip_of("a.py")).tree
    assert blobs.zip_if_there(tree) == blobs.zip(tree)
    for other in ("0" * 64, f"../code/{tree}", tree.upper(), tree + "\n", "", "staging"):
        assert blobs.zip_if_there(other) is None


def test_trees_are_readable_whatever_the_umask(blobs, zip_of):
    umask = os.umask(0o077)
    try:
        tree = blobs.path(blobs.add(zip_of("d/f.py")).tree)
    finally:
        os.umask(umask)
    assert modes(tree.parent, tree, tree / "d", tree / "d/f.py") == [
        "0o755",
        "0o755",
        "0o755",
        "0o644",
    ]


def test_a_tree_that_nobody_uses_leaves_its_place_and_can_come_again(blobs, root, zip_of):
    blob = blobs.add(zip_of("handler.py"))
    blobs.release(blob.tree)
    away = blobs.set_aside(blob.tree)
    assert not (root / blob.tree).exists()
    assert (away / "tree/handler.py").exists()
    assert blobs.path(blobs.add(zip_of("handler.py")).tree).exists()


def test_what_is_being_added_stays(blobs, zip_of):
    blob = blobs.add(zip_of("handler.py"))
    assert blobs.set_aside(blob.tree) is None
    blobs.add(zip_of("handler.py"))
    blobs.release(blob.tree)
    assert blobs.set_aside(blob.tree) is None
    assert blobs.path(blob.tree).exists()


def test_a_tree_that_is_not_there_is_no_trouble(blobs):
    assert blobs.set_aside("0" * 64) is None


def test_what_was_set_aside_when_the_daemon_ended_is_swept(blobs, root, zip_of):
    blob = blobs.add(zip_of("handler.py"))
    blobs.release(blob.tree)
    blobs.set_aside(blob.tree)
    blobs.sweep(keep=())
    assert staged(root) == []


# --- layers -------------------------------------------------------------------------------


def test_trees_make_one_together(root, blobs, zip_of, snapshot):
    trees = [blobs.add(zip_of("a", "d/x")).tree, blobs.add(zip_of("b", "d/y")).tree]
    merged = blobs.merge(trees)
    assert sorted(snapshot(blobs.path(merged))) == ["a", "b", "d", "d/x", "d/y"]
    assert modes(root / merged, blobs.path(merged)) == ["0o755", "0o755"]
    assert blobs.zip_if_there(merged) is None
    assert staged(root) == []


def test_the_same_trees_make_the_same_and_another_order_another(blobs, zip_of):
    trees = [blobs.add(zip_of(name)).tree for name in "ab"]
    merged = blobs.merge(trees)
    assert blobs.merge(trees) == merged
    assert blobs.merge(trees[::-1]) not in (merged, *trees)


def test_one_tree_alone_is_what_it_is_and_held_once_more(blobs, zip_of):
    tree = blobs.add(zip_of("a")).tree
    assert blobs.merge([tree]) == tree
    blobs.release(tree)
    assert blobs.set_aside(tree) is None
    blobs.release(tree)
    assert blobs.set_aside(tree) is not None


def test_what_cannot_be_merged_is_not_kept(root, blobs, zip_of):
    tree = blobs.add(zip_of("a")).tree
    with pytest.raises(FileNotFoundError):
        blobs.merge([tree, "0" * 64])
    assert {path.name for path in root.iterdir()} == {"staging", tree}
    assert staged(root) == []


def test_what_is_held_is_not_set_aside(blobs, zip_of):
    tree = blobs.add(zip_of("a")).tree
    blobs.hold(tree)
    blobs.release(tree)
    assert blobs.set_aside(tree) is None


def test_a_tree_has_a_size(blobs, zip_of):
    assert blobs.unzipped_bytes(blobs.add(zip_of("a", "dd/", "ccc")).tree) == 4
