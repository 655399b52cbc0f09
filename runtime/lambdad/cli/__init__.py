"""The command line: one file per command."""

from __future__ import annotations

import click

from lambdad import __version__
from lambdad.cli.doctor import doctor
from lambdad.cli.invoke import invoke
from lambdad.cli.logs import logs
from lambdad.cli.serve import serve
from lambdad.cli.top import top


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__)
def main() -> None:
    """AWS Lambda's execution environment as a Unix daemon.

    Clients reach it with their endpoint URL set to http://127.0.0.1:3001.
    """


main.add_command(serve)
main.add_command(invoke)
main.add_command(logs)
main.add_command(top)
main.add_command(doctor)
