"""``lambdad invoke``: run a handler once, in its full sandbox, with no server."""

from __future__ import annotations

import base64
import io
import json
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import click

from lambdad.cli.serve import configure_log
from lambdad.config import Settings, options

_NAME = "function"


@click.command()
@click.argument("target", metavar="PATH[:HANDLER]")
@click.option("-e", "--event", default="{}", help="JSON, or @FILE, or - for standard input.")
@click.option("-r", "--runtime", help="Such as python3.12.  [default: this Python's]")
@click.option("-t", "--timeout", type=click.IntRange(1, 900), default=3, show_default=True)
@click.option("-m", "--memory", type=click.IntRange(128, 10240), default=128, show_default=True)
@click.option("-E", "--env", multiple=True, metavar="NAME=VALUE", help="A variable; repeatable.")
@click.option("-n", "--times", type=click.IntRange(1), default=1, help="Cold once, then warm.")
@options("network", "allow_host", "dns", "allow_shared_uid", "allow_unlimited_memory")
def invoke(  # noqa: PLR0917  one parameter an option
    target: str, event: str, runtime: str | None, timeout: int, memory: int,
    env: tuple[str, ...], times: int, **settings: Any,
) -> None:  # fmt: skip
    """Run a function from a folder or file and print its result.

    HANDLER is module.function: by default lambda_function.lambda_handler for a folder and
    FILE.handler for a file. The log goes to standard error.

    Exit status: 0 when the function succeeded, 1 when it failed, 2 for a wrong call.
    """
    from lambdad.daemon import run
    from lambdad.ground import CannotStart

    configure_log(verbose=False)
    path, handler = _target(target)
    parameters = {
        "FunctionName": _NAME,
        "Runtime": runtime or f"python3.{sys.version_info.minor}",
        "Role": "arn:aws:iam::123456789012:role/lambdad",
        "Handler": handler,
        "Timeout": timeout,
        "MemorySize": memory,
        "Environment": {"Variables": _variables(env)},
        "Code": {"ZipFile": _zip(path)},
    }
    payload = _event(event)
    try:
        failed = run(_invoke(parameters, payload, times, settings))
    except CannotStart as error:
        raise click.ClickException(str(error)) from error
    sys.exit(1 if failed else 0)


async def _invoke(
    parameters: dict[str, Any], payload: bytes, times: int, settings: dict[str, Any]
) -> bool:
    """The same road as through the API: create, wait, invoke."""
    from lambdad.api.call import Call
    from lambdad.daemon import daemon
    from lambdad.model import ids
    from lambdad.model.errors import ApiError

    failed = False
    with tempfile.TemporaryDirectory(prefix="lambdad-") as folder:
        async with daemon(Settings(state_dir=Path(folder), **settings)) as composed:
            try:
                await composed.operations["CreateFunction"](parameters, Call(ids.request_id()))
                await composed.registry.settled()
                for _ in range(times):
                    asked = {"FunctionName": _NAME, "Payload": payload, "LogType": "Tail"}
                    answer = await composed.operations["Invoke"](asked, Call(ids.request_id()))
                    failed = _show(answer) or failed
            except ApiError as error:
                raise click.ClickException(f"{error.code}: {error.message}") from error
    return failed


def _show(answer: dict[str, Any]) -> bool:
    click.echo(base64.b64decode(answer["LogResult"]).decode(errors="replace"), err=True, nl=False)
    click.echo(answer["Payload"].decode(errors="replace"))
    return "FunctionError" in answer


def _target(target: str) -> tuple[Path, str]:
    name, colon, handler = target.rpartition(":")
    path = Path(name if colon else target)
    if not path.exists():
        raise click.BadParameter(f"cannot find {path}")
    default = "lambda_function.lambda_handler" if path.is_dir() else f"{path.stem}.handler"
    return path, handler if colon else default


def _variables(pairs: tuple[str, ...]) -> dict[str, str]:
    variables = dict(pair.partition("=")[::2] for pair in pairs)
    if "" in variables:
        raise click.BadParameter("a variable needs a name: NAME=VALUE")
    return variables


def _event(event: str) -> bytes:
    if event == "-":
        return sys.stdin.buffer.read()
    if event.startswith("@"):
        try:
            return Path(event[1:]).read_bytes()
        except OSError as error:
            raise click.BadParameter(f"cannot read {event[1:]}: {error.strerror}") from error
    try:
        json.loads(event)
    except ValueError as error:
        raise click.BadParameter(f"the event is not JSON: {error}") from error
    return event.encode()


def _zip(path: Path) -> bytes:
    """A deployment package of a folder, or of one file."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w", zipfile.ZIP_STORED) as archive:
        if path.is_file():
            archive.write(path, path.name)
        else:
            _add_folder(archive, path)
    return package.getvalue()


def _add_folder(archive: zipfile.ZipFile, folder: Path) -> None:
    for entry in sorted(folder.rglob("*")):
        if entry.is_file() and "__pycache__" not in entry.parts:
            archive.write(entry, entry.relative_to(folder))
