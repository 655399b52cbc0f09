"""``lambdad top``: what a daemon's functions and environments do, looked at again and again."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lambdad.cli.endpoint import Endpoint, Refused, endpoint_options
from lambdad.model.clock import SystemClock

if TYPE_CHECKING:
    from rich.console import Console

# Whoever looks every second wants to hear of a daemon that does not answer.
_ANSWER_S_MAX = 5
# Without a screen nothing has to fit one.
_COLUMNS_IN_A_FILE = 200


@click.command()
@click.argument("function", default="")
@click.option(
    "-n", "--interval", default=1.0, show_default=True, type=click.FloatRange(min=0.1),
    help="Seconds between two looks.",
)  # fmt: skip
@click.option("--once", is_flag=True, help="Look once; rates are those since the daemon's start.")
@click.option("--json", "as_json", is_flag=True, help="One look for programs: totals, no rates.")
@endpoint_options("LAMBDA")
def top(  # noqa: PLR0917  one parameter an option
    function: str, interval: float, once: bool, as_json: bool,  # noqa: FBT001  click's
    endpoint_url: str, credentials: Path | None, region: str,
) -> None:  # fmt: skip
    """Show what functions do, and their environments; of one FUNCTION, each environment.

    Goes on until interrupted, also when the daemon goes away and comes back. Where there is no
    terminal to draw on, it looks once.

    Exit status: 0 at the end or when interrupted, 1 when there is no daemon to look at, 2 for a
    wrong call.
    """
    from rich.console import Console

    console = Console(highlight=False)
    try:
        endpoint = Endpoint(endpoint_url, region, credentials, SystemClock(), _ANSWER_S_MAX)
        if as_json:
            click.echo(json.dumps(endpoint.census(), indent=2))
        elif once or not console.is_terminal or console.is_dumb_terminal:
            _print_once(console, endpoint, function)
        else:
            _watch(console, endpoint, function, interval)
    except KeyboardInterrupt:
        return
    except Refused as error:
        raise click.ClickException(str(error)) from error


def _print_once(console: Console, endpoint: Endpoint, function: str) -> None:
    from lambdad.cli import screen
    from lambdad.cli.rates import activity

    census = endpoint.census()
    width = console.width if console.is_terminal else _COLUMNS_IN_A_FILE
    did = activity(None, census)
    shown = screen.frame(endpoint.url, census, did, width=width, height=None, function=function)
    console.print(shown, soft_wrap=True)


def _watch(console: Console, endpoint: Endpoint, function: str, interval_s: float) -> None:
    """Draw frame after frame.

    Raises:
        Refused: there is not even one census.
    """
    from rich.live import Live

    from lambdad.cli import screen
    from lambdad.cli.rates import activity

    before, now, trouble = None, endpoint.census(), ""
    # The screen that is taken here is given back, also when somebody ends it from outside.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            shown = screen.frame(
                endpoint.url, now, activity(before, now), width=console.width,
                height=console.height, function=function, trouble=trouble,
            )  # fmt: skip
            live.update(shown, refresh=True)
            time.sleep(interval_s)
            try:
                before, now, trouble = now, endpoint.census(), ""
            except Refused as error:
                trouble = f"{error}; looking again"
