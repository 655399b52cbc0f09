"""``lambdad serve``: the daemon in the foreground, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import Any

import click
import structlog

from lambdad.config import Settings, options


@click.command()
@options()
@click.option("-v", "--verbose", is_flag=True, help="Log what the daemon does.")
def serve(*, verbose: bool, **values: Any) -> None:
    """Serve the Lambda API.

    Prints one line with the URL when it is ready. ``lambdad logs`` shows what functions say.

    Exit status: 0 after SIGTERM or SIGINT, 1 when it cannot start, 2 for a wrong call.
    """
    from lambdad.daemon import run
    from lambdad.ground import CannotStart

    configure_log(verbose=verbose)
    try:
        run(_serve(Settings(**values)))
    except CannotStart as error:
        click.echo(f"lambdad: {error}", err=True)
        sys.exit(1)


def configure_log(*, verbose: bool) -> None:
    """The daemon's own log: to standard error, warnings only unless asked for more."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.INFO if verbose else logging.WARNING
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.TimeStamper("iso"),
            structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty()),
        ],
    )


async def _serve(settings: Settings) -> None:
    from lambdad.daemon import serving

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with serving(settings) as (url, degraded):
        for promise, consequence in degraded.items():
            click.echo(f"lambdad: {promise} DEGRADED: {consequence}", err=True)
        click.echo(f"lambdad is ready: {url}")
        await stop.wait()
