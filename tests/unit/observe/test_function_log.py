from pathlib import Path

import pytest

from lambdad.observe import function_log
from lambdad.observe.function_log import FunctionLogs


@pytest.fixture
def logs(tmp_path):
    logs = FunctionLogs(tmp_path)
    yield logs
    logs.close_all()


def test_lines_are_appended_byte_for_byte(logs, tmp_path):
    logs.write("fn", b"one\n")
    logs.write("fn", b"\xff\x00\n")
    assert (tmp_path / "fn.log").read_bytes() == b"one\n\xff\x00\n"


def test_each_function_has_a_file_of_its_own(logs, tmp_path):
    for name in ("a", "b", "a.b", "a-b_c"):
        logs.write(name, name.encode() + b"\n")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "a.log": "a\n", "b.log": "b\n", "a.b.log": "a.b\n", "a-b_c.log": "a-b_c\n"
    }  # fmt: skip


def test_a_restart_goes_on_where_the_file_ended(logs, tmp_path):
    logs.write("fn", b"one\n")
    logs.close("fn")
    logs.write("fn", b"two\n")
    assert (tmp_path / "fn.log").read_bytes() == b"one\ntwo\n"


def test_a_full_file_makes_way_and_one_older_is_kept(logs, tmp_path, monkeypatch):
    monkeypatch.setattr(function_log, "FILE_BYTES_MAX", 100)
    lines = [b"line %3d\n" % number for number in range(200)]
    for line in lines:
        logs.write("fn", line)
        assert all(path.stat().st_size <= 100 + 2 * len(line) for path in tmp_path.iterdir())
    kept = (tmp_path / "fn.log.1").read_bytes() + (tmp_path / "fn.log").read_bytes()
    assert b"".join(lines).endswith(kept)
    assert len(kept) > 100
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fn.log", "fn.log.1"]


def test_closing_leaves_no_descriptor(logs):
    before = {path.name for path in Path("/proc/self/fd").iterdir()}
    logs.write("a", b"\n")
    logs.write("b", b"\n")
    logs.close("a")
    logs.close("never opened")
    logs.close_all()
    assert {path.name for path in Path("/proc/self/fd").iterdir()} == before


def test_the_log_of_a_function_that_is_no_more_goes_with_it(logs, tmp_path):
    logs.write("a", b"line\n")
    logs.write("ab", b"line\n")
    logs.remove("a")
    logs.remove("never written")
    assert [path.name for path in tmp_path.iterdir()] == ["ab.log"]
