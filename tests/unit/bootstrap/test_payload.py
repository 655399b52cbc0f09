"""What is handed to environments."""

from lambdad_bootstrap import payload


def test_the_guest_files_are_where_they_are_said_to_be():
    names = {path.name for path in payload.GUEST.iterdir()}
    assert {"bootstrap", "bootstrap.py", "lambdad_client.py"} <= names


def test_a_copy_holds_sources_only_with_their_modes(tmp_path):
    payload.copy_guest(tmp_path / "a" / "runtime")
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "a/runtime").iterdir()}
    assert modes.pop("bootstrap") == 0o755
    assert set(modes.values()) == {0o644}
    assert all(name.endswith(".py") for name in modes)


def test_a_copy_may_be_made_again(tmp_path):
    payload.copy_guest(tmp_path)
    (tmp_path / "bootstrap.py").write_text("old")
    payload.copy_guest(tmp_path)
    original = payload.GUEST / "bootstrap.py"
    assert (tmp_path / "bootstrap.py").read_bytes() == original.read_bytes()
