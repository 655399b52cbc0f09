import click
import pytest
from click.testing import CliRunner

from lambdad.cli import main

COMMANDS = ["", *sorted(main.commands)]


def help_of(command):
    arguments = [command, "--help"] if command else ["--help"]
    return CliRunner().invoke(main, arguments, terminal_width=100)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_fits_a_screen(command):
    shown = help_of(command)
    lines = shown.output.splitlines()
    assert shown.exit_code == 0
    options = [line for line in lines if line.startswith("  -")]
    assert len(lines) <= 24 or len(lines) - len(options) <= 12
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_every_option_says_what_it_is(command):
    options = [one for one in main.commands[command].params if isinstance(one, click.Option)]
    silent = [one.name for one in options if not one.help]
    # What a name and its default say all of needs no sentence.
    assert set(silent) <= {"timeout", "memory"}


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_help_tells_the_exit_status(command):
    assert "Exit status: 0 " in help_of(command).output.replace("\n  ", " ")


def test_a_wrong_call_is_status_two():
    assert CliRunner().invoke(main, ["serve", "--nothing"]).exit_code == 2
    assert CliRunner().invoke(main, ["nothing"]).exit_code == 2
