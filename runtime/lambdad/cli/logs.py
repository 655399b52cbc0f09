"""``lambdad logs``: what a function has said, from a daemon that runs."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from lambdad.cli.endpoint import Endpoint, Refused, endpoint_options
from lambdad.model.clock import SystemClock

_SINCE = re.compile(r"(\d{1,9})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_POLL_S = 0.5
# An event may be seen after others that are a little younger.
_OVERLAP_MS = 5_000
_OF_THE_PLATFORM = re.compile(
    r"(INIT_START|INIT_REPORT|RESTORE_START|RESTORE_REPORT|START|END|REPORT|XRAY|EXTENSION"
    r"|TELEMETRY|LOGS)[ \t]|\{\"time\":\"[^\"]*\",\"type\":\"platform\."
)
# What a function says is not to steer somebody's terminal.
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

Event = dict[str, Any]


def _milliseconds(_: click.Context, __: click.Parameter, since: str) -> int:
    found = _SINCE.fullmatch(since)
    if found is None:
        raise click.BadParameter("a number and one of s, m, h, d, w: 30s, 10m, 2d")
    return int(found[1]) * _SECONDS[found[2]] * 1000


@click.command()
@click.argument("function")
@click.option("-f", "--follow", is_flag=True, help="Go on until interrupted.")
@click.option(
    "-s", "--since", default="10m", show_default=True, callback=_milliseconds,
    help="How far back: a number and s, m, h, d or w.",
)  # fmt: skip
@click.option("--filter", "pattern", default="", help="A filter pattern of CloudWatch Logs.")
@click.option("--stream", multiple=True, help="Only this log stream; repeatable.")
@endpoint_options("CLOUDWATCH_LOGS")
def logs(  # noqa: PLR0917  one parameter an option
    function: str, follow: bool, since: int, pattern: str, stream: tuple[str, ...],  # noqa: FBT001  click's
    endpoint_url: str, credentials: Path | None, region: str,
) -> None:  # fmt: skip
    """Print what a function has logged; FUNCTION may also be a log group, such as /shared/logs.

    Exit status: 0 at the end or when interrupted, 1 when there is nothing to read from, 2 for a
    wrong call.
    """
    show = _printer()
    try:
        endpoint = Endpoint(endpoint_url, region, credentials, SystemClock())
        group, own_stream = _group(endpoint, function)
        asked: dict[str, Any] = {"logGroupName": group, "filterPattern": pattern}
        if stream:
            asked["logStreamNames"] = list(stream)
        begin_ms = max(0, int(endpoint.clock.now() * 1000) - since)
        for event in _events(endpoint, asked, begin_ms, follow=follow):
            if own_stream is None or own_stream.match(event["logStreamName"]):
                show(event["message"])
    except KeyboardInterrupt:
        return
    except Refused as error:
        raise click.ClickException(str(error)) from error


def _group(endpoint: Endpoint, function: str) -> tuple[str, re.Pattern[str] | None]:
    """The group that a function logs to, and how its streams are called if others log there."""
    if function.startswith("/"):
        return function, None
    configuration = endpoint.function(function)
    name, group = configuration["FunctionName"], configuration["LoggingConfig"]["LogGroup"]
    if group == f"/aws/lambda/{name}":
        return group, None
    return group, re.compile(rf"\d{{4}}/\d\d/\d\d/{re.escape(name)}\[")


def _events(
    endpoint: Endpoint, asked: dict[str, Any], begin_ms: int, *, follow: bool
) -> Iterator[Event]:
    """Every event once, in the order of the daemon; a group comes to be with its first event."""
    seen: dict[str, int] = {}
    while True:
        for event in _pages(endpoint, {**asked, "startTime": begin_ms}, patient=follow):
            if event["eventId"] not in seen:
                seen[event["eventId"]] = event["timestamp"]
                yield event
        if not follow:
            return
        # Who writes by PutLogEvents may be ahead of the time: others are not to be missed for that.
        newest_ms = min(max(seen.values(), default=0), int(endpoint.clock.now() * 1000))
        begin_ms = max(begin_ms, newest_ms - _OVERLAP_MS)
        seen = {key: at for key, at in seen.items() if at >= begin_ms}
        time.sleep(_POLL_S)


def _pages(endpoint: Endpoint, asked: dict[str, Any], *, patient: bool) -> Iterator[Event]:
    while True:
        try:
            answer = endpoint.logs("FilterLogEvents", asked)
        except Refused as error:
            if patient and error.code == "ResourceNotFoundException":
                return
            raise
        yield from answer["events"]
        if "nextToken" not in answer:
            return
        asked = {**asked, "nextToken": answer["nextToken"]}


def _printer() -> Callable[[str], None]:
    """Prints a message: as it is into a file, with nothing but text in it to a terminal."""
    if not sys.stdout.isatty():
        return lambda message: click.echo(message.removesuffix("\n"), color=True)
    from rich.console import Console
    from rich.text import Text

    console = Console(highlight=False, soft_wrap=True)

    def show(message: str) -> None:
        text = message.removesuffix("\n").replace("\r", "\n")
        text = _UNSEEN.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
        console.print(Text(text, "dim cyan" if _OF_THE_PLATFORM.match(text) else ""))

    return show
