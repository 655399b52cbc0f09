"""What one environment says: the only road to its log and its telemetry.

The platform's events, the lines of functions and extensions and the framed records of runtime
clients come in; here it is decided in which form, and whether at all, each stands in the log.
Telemetry gets everything, whatever the log leaves out. How logs are kept and how telemetry
travels is decided elsewhere.

Source: runtime-protocol 3.2, 3.3 and 6;
https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-log-level.html
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from enum import StrEnum
from functools import partial
from typing import Any, Protocol

from lambdad.invoke.frames import Frame
from lambdad.invoke.log_level import Level, level_named
from lambdad.invoke.platform_events import PlatformEvent
from lambdad.invoke.subscription import Api, Subscription
from lambdad.model import limits
from lambdad.model.clock import Clock, iso_milliseconds
from lambdad.model.function import Function

# From this schema on, what functions log in JSON is delivered as JSON.
_JSON_SCHEMA_MIN = "2022-12-13"


class Source(StrEnum):
    """Who wrote a line, as telemetry names it."""

    FUNCTION = "function"
    EXTENSION = "extension"


class Logs(Protocol):
    """Where log events are kept."""

    def write(self, group: str, stream: str, timestamp_ms: int, messages: Sequence[bytes]) -> None:
        """Append to a stream; each message is one log event, its newline included."""


class Publisher(Protocol):
    """Who brings telemetry to its subscribers."""

    @property
    def followed(self) -> bool:
        """Whether there is anybody to be told, now or later."""

    def publish(self, time_s: float, kind: str, record: Callable[[Subscription], object]) -> None:
        """Tell subscribers; a *record* of ``None`` is not for the one it was asked for."""


class Tail:
    """The last 4 KiB that were logged since it was begun: what ``LogType: Tail`` shows.

    Attributes:
        text: the log so far.
    """

    __slots__ = ("_open", "text")

    def __init__(self, open_tails: list[Tail]) -> None:
        self.text = b""
        self._open = open_tails
        open_tails.append(self)

    def add(self, text: bytes) -> None:
        self.text = (self.text + text)[-limits.log_tail_bytes :]

    def close(self) -> bytes:
        """Nothing is added any more; the text, which stays."""
        if self in self._open:
            self._open.remove(self)
        return self.text


class Journal:
    """The journal of one environment.

    Args:
        function: says in which form and from which level on it is logged, and to which group.
        log_stream: the environment's own.
        telemetry: brings it to extensions, if there is somebody to be told.
    """

    def __init__(
        self,
        function: Function,
        log_stream: str,
        logs: Logs,
        clock: Clock,
        telemetry: Publisher | None,
    ) -> None:
        self._logs, self._clock, self._telemetry = logs, clock, telemetry
        self._group = function.log_group or f"/aws/lambda/{function.name}"
        self._stream = log_stream
        self._json = function.log_format == "JSON"
        self._system = level_named(function.system_log_level) or Level.INFO
        self._application = level_named(function.application_log_level) or Level.INFO
        self._now_s = 0.0
        self._tails: list[Tail] = []

    @property
    def keeps_records(self) -> bool:
        """Whether somebody reads what is no line of text."""
        return self._json or self._followed

    @property
    def _followed(self) -> bool:
        return self._telemetry is not None and self._telemetry.followed

    def emit(self, *events: PlatformEvent) -> None:
        """The platform has something to say."""
        now_s = self._now()
        lines = []
        for event in events:
            if event.type and self._telemetry is not None and self._telemetry.followed:
                self._telemetry.publish(now_s, event.type, event.record_for)
            text = self._json_line(now_s, event) if self._json else event.text()
            if text:
                # File names and headers may be no text; a log is.
                lines.append(text.encode("utf-8", "replace"))
        if lines:
            self._write(now_s, lines, b"".join(lines))

    def wrote(self, source: Source, lines: bytes) -> None:
        """A process has written whole lines to its standard output or error."""
        now_s = self._now()
        messages = _split(lines)
        for message in messages if self._followed else ():
            self._publish(now_s, source, message)
        if self._json and source is Source.FUNCTION:
            messages = [message for message in messages if self._shows(message, None)]
            lines = b"".join(messages)
        if messages:
            self._write(now_s, messages, lines)

    def framed(self, frame: Frame) -> None:
        """The runtime client has written a record: one event, however many lines it has."""
        now_s, text = self._now(), frame.text
        self._publish(now_s, Source.FUNCTION, text)
        if not self._json or self._shows(text, frame.level):
            self._write(now_s, (text,), text if text.endswith(b"\n") else text + b"\n")

    def tail(self) -> Tail:
        """Keep what is logged from now on, too, until it is closed."""
        return Tail(self._tails)

    def _now(self) -> float:
        """Seconds of the epoch; log events of a stream never go back."""
        self._now_s = max(self._now_s, self._clock.now())
        return self._now_s

    def _json_line(self, now_s: float, event: PlatformEvent) -> str:
        record = event.record() if event.level >= self._system else None
        if record is None:
            return ""
        envelope = {"time": iso_milliseconds(now_s), "type": event.type, "record": record}
        return _ENCODER.encode(envelope) + "\n"

    def _publish(self, now_s: float, source: Source, text: bytes) -> None:
        if self._telemetry is not None:
            self._telemetry.publish(now_s, source, partial(self._record, text))

    def _record(self, text: bytes, subscription: Subscription) -> object:
        """What a subscriber gets of a line or frame: an object, if both sides speak JSON."""
        new = subscription.api is Api.TELEMETRY and subscription.schema >= _JSON_SCHEMA_MIN
        said = _json_object(text) if self._json and new else None
        return text.decode("utf-8", "replace") if said is None else said

    def _shows(self, text: bytes, level: Level | None) -> bool:
        """Whether what a function wrote matters enough; *level* is that of its frame.

        What is no JSON has no level and passes; JSON without a level we know is INFO.
        """
        if level is None:
            said = _json_object(text)
            if said is None:
                return True
            level = level_named(said.get("level")) or Level.INFO
        return level >= self._application

    def _write(self, now_s: float, messages: Sequence[bytes], lines: bytes) -> None:
        for tail in self._tails:
            tail.add(lines)
        self._logs.write(self._group, self._stream, int(now_s * 1000), messages)


def _split(lines: bytes) -> Sequence[bytes]:
    """One message for each line, with its newline; a carriage return ends none."""
    if lines.find(b"\n") == len(lines) - 1:
        return (lines,)
    return [line + b"\n" for line in lines.split(b"\n")[:-1]]


def _no_number(text: str) -> float:
    raise ValueError(f"cannot read {text}: no number of JSON's")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text)


_ENCODER = json.JSONEncoder(separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_float=_finite, parse_constant=_no_number)


def _json_object(text: bytes) -> dict[str, Any] | None:
    """The JSON object that was written; ``None`` if it is anything else, or nested too deep."""
    if not text.startswith(b"{"):
        return None
    try:
        said: dict[str, Any] = _DECODER.decode(text.decode())
    except (ValueError, RecursionError):
        return None
    return said
