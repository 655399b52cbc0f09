"""Every setting once: its name, default, flag, variable and meaning.

Command line, environment (``LAMBDAD_<NAME>``) and TOML file are read from this table, the
former before the latter.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from pathlib import Path
from typing import Any

import click

from lambdad.model import limits

CONFIG_FILE = Path("/etc/lambdad.toml")
AUTH = ("none", "sigv4")
NETWORK = ("none", "outbound", "host")


def default_state_dir() -> Path:
    """``/var/lib/lambdad`` for root, the user's state folder for others."""
    if os.geteuid() == 0:
        return Path("/var/lib/lambdad")
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    return Path(home) / "lambdad"


def default_memory_budget() -> int:
    """What environments may take of this host's memory, in bytes; see sysconf(3)."""
    host_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return int(host_bytes * limits.memory_budget_share)


class _Size(click.ParamType):  # type: ignore[type-arg]  # generic only for type checkers
    """Bytes, as a number or with a unit."""

    name = "size"
    _UNITS = ("", "KiB", "MiB", "GiB", "TiB")

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        matched = re.fullmatch(rf"(\d+) ?({'|'.join(self._UNITS)})", str(value))
        if matched is None:
            self.fail(f"{value!r} is not a size such as 4GiB", param, ctx)
        return int(matched[1]) << 10 * self._UNITS.index(matched[2])


def _setting(default: Any, text: str, **more: Any) -> Any:
    metadata = {"help": text, **more}
    if callable(default):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


# ruff: noqa: RUF009  each call makes one field
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a daemon is to run."""

    host: str = _setting("127.0.0.1", "Address of the Lambda API.")
    port: int = _setting(3001, "Port of the Lambda API; 0 picks a free one.")
    state_dir: Path = _setting(default_state_dir, "Where functions are kept.")
    region: str = _setting("us-east-1", "Region in ARNs and variables.")
    account: str = _setting("123456789012", "Account number in ARNs.")
    concurrency: int = _setting(
        limits.concurrency_default, "Invocations at a time; beyond, 429.", minimum=1
    )
    scaling_rate: int = _setting(0, "Starts of a function in 10 s; 0 for any.", minimum=0)
    memory_budget: int = _setting(
        default_memory_budget,
        "Memory of all environments: 4GiB.  [default: 3/4 of this host's]",
        kind=_Size(),
    )
    idle_s: float = _setting(
        float(limits.idle_s_default), "Seconds an idle environment is kept.", minimum=0
    )
    spares: int = _setting(
        1, "Blank sandboxes kept ready for each interpreter; 0 for none.", minimum=0
    )
    zygote_packages: tuple[str, ...] = _setting(
        ("boto3",), "Package loaded ahead for who uses it; repeatable, '' for none."
    )
    auth: str = _setting("none", "Who may call: all on this host, or who signs.", choices=AUTH)
    credentials: Path | None = _setting(
        None, "Who may sign, an AWS credentials file.  [default: in STATE_DIR]"
    )
    network: str = _setting("none", "What environments can reach.", choices=NETWORK)
    allow_host: tuple[str, ...] = _setting(
        (), "HOST:PORT or CIDR that may be reached, too; repeatable."
    )
    dns: tuple[str, ...] = _setting(
        (), "Name server of environments; repeatable.  [default: this host's]"
    )
    allow_shared_uid: bool = _setting(
        default=False, text="Run as an ordinary user, whose id all have."
    )
    allow_unlimited_memory: bool = _setting(
        default=False, text="Run without cgroups: memory is but watched."
    )


# Their help says what the default is, or that there is none.
_DEFAULT_IN_HELP = {"state_dir", "credentials", "dns", "allow_host", "memory_budget"}
_KINDS = {"int": int, "float": float, "Path": Path, "Path | None": Path}


def options(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a click command an option for each of these settings or for all, and ``--config``."""
    wanted = [item for item in fields(Settings) if not names or item.name in names]
    return lambda command: _with_options(command, wanted)


def _with_options(command: Callable[..., Any], wanted: list[Field[Any]]) -> Callable[..., Any]:
    for item in reversed(wanted):
        flag = "--" + item.name.replace("_", "-")
        kind: Any = item.metadata.get("kind") or _KINDS.get(str(item.type), str)
        if "minimum" in item.metadata:
            ranged = click.IntRange if kind is int else click.FloatRange
            kind = ranged(min=item.metadata["minimum"])
        if "choices" in item.metadata:
            kind = click.Choice(item.metadata["choices"])
        shown: dict[str, Any] = {"type": kind}
        if str(item.type) == "bool":
            shown = {"is_flag": True}
        elif str(item.type).startswith("tuple"):
            shown = {"type": str, "multiple": True}
        command = click.option(
            flag,
            default=item.default if item.default_factory is MISSING else item.default_factory,
            show_default=item.name not in _DEFAULT_IN_HELP,
            envvar="LAMBDAD_" + item.name.upper(),
            help=item.metadata["help"],
            **shown,
        )(command)
    return click.option(
        "--config",
        type=click.Path(dir_okay=False, path_type=Path),
        envvar="LAMBDAD_CONFIG",
        is_eager=True,
        expose_value=False,
        callback=_read_file,
        help=f"TOML file with settings by these names.  [default: {CONFIG_FILE}]",
    )(command)


def _read_file(context: click.Context, _: click.Parameter, path: Path | None) -> None:
    """Take defaults from the file; flags and variables still win."""
    if path is None and not CONFIG_FILE.exists():
        return
    path = path or CONFIG_FILE
    try:
        values: Mapping[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise click.BadParameter(f"cannot read {path}: {error}") from error
    known = {item.name for item in fields(Settings)}
    unknown = sorted(set(values) - known)
    if unknown:
        raise click.BadParameter(
            f"cannot read {path}: it sets {', '.join(unknown)}, "
            f"but there are only {', '.join(sorted(known))}"
        )
    context.default_map = {**(context.default_map or {}), **values}
