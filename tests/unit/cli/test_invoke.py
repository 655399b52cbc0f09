import importlib
import io
import zipfile

import click
import pytest
from click.testing import CliRunner

from lambdad.cli import main

# The package shows the command under the module's name.
invoke = importlib.import_module("lambdad.cli.invoke")


@pytest.mark.parametrize(
    ("target", "handler"),
    [
        ("folder", "lambda_function.lambda_handler"),
        ("folder:app.main", "app.main"),
        ("file.py", "file.handler"),
        ("file.py:file.other", "file.other"),
    ],
)
def test_a_handler_has_a_default(tmp_path, monkeypatch, target, handler):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.py").touch()
    path, found = invoke._target(target)
    assert path.exists()
    assert found == handler


def test_a_package_holds_what_the_folder_holds_but_no_byte_code(tmp_path):
    (tmp_path / "a/__pycache__").mkdir(parents=True)
    (tmp_path / "a/b.py").write_text("b")
    (tmp_path / "a/__pycache__/b.pyc").touch()
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(io.BytesIO(invoke._zip(tmp_path))) as package:
        assert package.namelist() == ["a/b.py"]
        assert package.read("a/b.py") == b"b"


def test_an_event_comes_from_the_line_a_file_or_standard_input(tmp_path, monkeypatch):
    (tmp_path / "event.json").write_bytes(b"[1]")
    assert invoke._event('{"a": 1}') == b'{"a": 1}'
    assert invoke._event(f"@{tmp_path / 'event.json'}") == b"[1]"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"[2]")))
    assert invoke._event("-") == b"[2]"


@pytest.mark.parametrize("event", ["{", "@/nowhere/at/all"])
def test_an_event_that_is_none_is_a_wrong_call(event):
    with pytest.raises(click.BadParameter):
        invoke._event(event)


def test_variables_are_pairs():
    assert invoke._variables(("A=b", "C=d=e", "F=")) == {"A": "b", "C": "d=e", "F": ""}
    with pytest.raises(click.BadParameter, match="a variable needs a name"):
        invoke._variables(("=b",))


@pytest.mark.parametrize(
    "arguments",
    [["/nowhere/at/all"], [], [".", "-t", "901"], [".", "-m", "127"], [".", "-n", "0"]],
)
def test_a_wrong_call_is_status_two(arguments):
    assert CliRunner().invoke(main, ["invoke", *arguments]).exit_code == 2
