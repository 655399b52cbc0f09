"""The corpus of crooked zips, read and unpacked in this process."""

import stat

import pytest
import zip_corpus
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdad.code import archive
from lambdad.code.archive import ArchiveTooLarge, BadArchive
from lambdad.model import limits


def test_the_corpus_knows_the_limits():
    assert limits.unzipped_bytes_max == zip_corpus.UNZIPPED_BYTES_MAX
    assert limits.zip_entries_max == zip_corpus.ENTRIES_MAX


@pytest.mark.parametrize("name", zip_corpus.REFUSED)
def test_what_is_malformed_is_refused(tree, name):
    with pytest.raises(BadArchive) as refused:
        archive.unpack(zip_corpus.REFUSED[name](), tree)
    # It may be shown on a terminal.
    assert refused.value.reason.isprintable()
    written = sum(path.lstat().st_size for path in tree.rglob("*") if path.is_file())
    assert written < 10_000


@pytest.mark.parametrize("name", zip_corpus.TOO_LARGE)
def test_what_is_too_large_is_refused_before_anything_is_written(tree, name):
    with pytest.raises(ArchiveTooLarge):
        archive.unpack(zip_corpus.TOO_LARGE[name](), tree)
    assert list(tree.iterdir()) == []


@pytest.mark.parametrize("name", zip_corpus.ACCEPTED)
def test_what_only_looks_bad_is_unpacked(tree, name):
    archive.unpack(zip_corpus.ACCEPTED[name](), tree)
    assert (tree / "lambda_function.py").read_bytes() == zip_corpus.HANDLER
    for path in tree.rglob("*"):
        mode = path.lstat().st_mode
        assert stat.S_ISLNK(mode) or stat.S_IMODE(mode) in {0o755, 0o644}
        assert not stat.S_ISLNK(mode) or tree in path.parent.joinpath(path.readlink()).parents


def test_names_that_differ_in_form_or_case_are_different_files(tree):
    for name in ("NFC and NFD", "case"):
        archive.unpack(zip_corpus.ACCEPTED[name](), tree)
        (tree / "lambda_function.py").unlink()
    found = {path.name: path.read_text() for path in tree.iterdir()}
    assert found == {"\u00e9": "C", "e\u0301": "D", "Name": "N", "name": "n"}


def test_as_many_entries_as_allowed_are_accepted():
    entry = zip_corpus.Entry("f", method=zip_corpus.STORED)
    data = zip_corpus.zip_of(*[entry] * zip_corpus.ENTRIES_MAX)
    assert list(archive.inspect(data).files) == ["f"]


POSITION = st.integers(0, 2**16)
CHANGE = st.one_of(
    st.tuples(st.just("set"), POSITION, st.integers(0, 255)),
    st.tuples(st.just("fill"), POSITION, st.sampled_from([0, 255])),
    st.tuples(st.just("cut"), POSITION, st.integers(1, 60)),
    st.tuples(st.just("repeat"), POSITION, st.integers(1, 200)),
)


def changed(data, changes):
    data = bytearray(data)
    for kind, position, value in changes:
        at = position % (len(data) or 1)
        if kind == "set":
            data[at : at + 1] = bytes([value])
        elif kind == "fill":
            data[at : at + 4] = bytes([value]) * 4
        elif kind == "cut":
            del data[at : at + value]
        else:
            data[at:at] = data[at : at + value]
    return bytes(data)


@settings(max_examples=1_500, deadline=None, derandomize=True)
@given(base=st.sampled_from(zip_corpus.mutable()), changes=st.lists(CHANGE, max_size=5))
def test_whatever_is_changed_it_is_inspected_or_refused_in_words(base, changes):
    reason = ""
    try:
        archive.inspect(changed(base, changes))
    except BadArchive as error:
        reason = error.reason
    except ArchiveTooLarge as error:
        reason = str(error)
    assert reason.isprintable()
