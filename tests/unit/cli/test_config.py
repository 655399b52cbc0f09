import os
from dataclasses import fields
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lambdad import config
from lambdad.config import Settings, options


@pytest.fixture
def read(monkeypatch, tmp_path):
    """The settings that a command line gives, or click's refusal; no file but what is given."""
    monkeypatch.setattr(config, "CONFIG_FILE", tmp_path / "none.toml")
    for item in fields(Settings):
        monkeypatch.delenv("LAMBDAD_" + item.name.upper(), raising=False)
    monkeypatch.delenv("LAMBDAD_CONFIG", raising=False)

    def made(*arguments, toml=None, **variables):
        seen = []

        @click.command()
        @options()
        def command(**values):
            seen.append(Settings(**values))

        if toml is not None:
            file = tmp_path / "lambdad.toml"
            file.write_text(toml, encoding="utf-8")
            arguments = (*arguments, "--config", str(file))
        ran = CliRunner().invoke(command, arguments, env=variables)
        return seen[0] if seen else ran

    return made


def test_without_a_word_the_defaults_hold(read):
    assert read() == Settings()
    assert (Settings().host, Settings().port) == ("127.0.0.1", 3001)


def test_a_flag_is_before_a_variable_before_the_file_before_the_default(read):
    assert read().port == 3001
    assert read(toml="port = 1").port == 1
    assert read(toml="port = 1", LAMBDAD_PORT="2").port == 2
    assert read("--port", "3", toml="port = 1", LAMBDAD_PORT="2").port == 3


def test_every_setting_can_be_given_in_each_place(read):
    samples = {"str": "1.2.3.4", "int": 4, "float": 6.5, "bool": True, "Path": Path("/s")}
    samples |= {"Path | None": Path("/s"), "tuple[str, ...]": ("1.2.3.4",)}
    given = {
        item.name: item.metadata.get("choices", [samples[str(item.type)]])[-1]
        for item in fields(Settings)
    }
    wanted = Settings(**given)
    as_text = {
        name: value[0] if isinstance(value, tuple) else str(value) for name, value in given.items()
    }
    variables = {"LAMBDAD_" + name.upper(): text for name, text in as_text.items()}
    assert read(**variables) == wanted
    flags = []
    for name, text in as_text.items():
        flag = "--" + name.replace("_", "-")
        flags += [flag] if given[name] is True else [flag, text]
    assert read(*flags) == wanted
    lines = [f"{name} = {in_toml(given[name])}" for name in given]
    assert read(toml="\n".join(lines)) == wanted


def in_toml(value):
    if isinstance(value, tuple):
        return repr(list(value))
    return repr(str(value)) if isinstance(value, (str, Path)) else str(value).lower()


@pytest.mark.parametrize(
    ("said", "size"),
    [("0", 0), ("4096", 4_096), ("512MiB", 512 * 2**20), ("4 GiB", 2**32), ("1TiB", 2**40)],
)
def test_a_size_is_bytes_or_has_a_unit(read, said, size):
    assert read("--memory-budget", said).memory_budget == size


@pytest.mark.parametrize("said", ["-1", "4GB", "4g", "half", "1.5GiB", ""])
def test_what_is_no_size_is_refused(read, said):
    ran = read("--memory-budget", said)
    assert ran.exit_code == 2
    assert "is not a size such as 4GiB" in " ".join(ran.output.split())


def test_without_a_word_environments_may_have_most_of_the_hosts_memory():
    host_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert host_bytes / 2 < Settings().memory_budget < host_bytes


def test_the_file_may_be_named_by_a_variable(read, tmp_path):
    (tmp_path / "other.toml").write_text("port = 9")
    assert read(LAMBDAD_CONFIG=str(tmp_path / "other.toml")).port == 9


def test_the_usual_file_is_read_if_it_is_there(read, monkeypatch, tmp_path):
    (tmp_path / "usual.toml").write_text("port = 8")
    monkeypatch.setattr(config, "CONFIG_FILE", tmp_path / "usual.toml")
    assert read().port == 8


@pytest.mark.parametrize("toml", ["prot = 1", "[server]\nport = 1", "PORT = 1"])
def test_a_setting_that_there_is_not_is_refused_with_those_there_are(read, toml):
    ran = read(toml=toml)
    assert ran.exit_code == 2
    said = " ".join(ran.output.split())
    assert "it sets " in said
    assert "there are only account, allow_host, allow_shared_uid," in said


@pytest.mark.parametrize("toml", ["port =", "port = 1\nport = 2", "\x00"])
def test_a_file_that_cannot_be_read_is_refused(read, toml):
    ran = read(toml=toml)
    assert ran.exit_code == 2
    assert "cannot read" in ran.output


def test_a_file_that_is_not_there_is_refused(read, tmp_path):
    ran = read("--config", str(tmp_path / "nowhere.toml"))
    assert ran.exit_code == 2
    assert "cannot read" in ran.output


@pytest.mark.parametrize(
    ("arguments", "toml"),
    [
        (("--port", "x"), None),
        (("--concurrency", "0"), None),
        (("--idle-s", "-1"), None),
        ((), 'port = "x"'),
        ((), "concurrency = 0"),
        ((), "idle_s = -1"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_wherever_it_stands(read, arguments, toml):
    assert read(*arguments, toml=toml).exit_code == 2


def test_the_state_is_kept_where_the_system_or_the_user_keeps_it(monkeypatch):
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert config.default_state_dir() == Path("/var/lib/lambdad")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/user/state")
    assert config.default_state_dir() == Path("/home/user/state/lambdad")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/home/user")
    assert config.default_state_dir() == Path("/home/user/.local/state/lambdad")
