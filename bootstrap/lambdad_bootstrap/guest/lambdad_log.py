"""The function's log: frames on the log descriptor, or lines on standard output without one.

Forms are those of AWS's Python client 4.2.2, as text and as JSON:
https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html
Everything is written at once. What is printed does not come by here, nor do the lines of the
platform itself (START, END, REPORT).
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from types import TracebackType
    from typing import Any, TextIO, Union

    Log = Union["StandardOutput", "LogDescriptor"]
    SysExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_SECOND = "%Y-%m-%dT%H:%M:%SZ"
_TEXT_TIME = "%Y-%m-%dT%H:%M:%S"
_TEXT_FORM = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
# Indentation that is kept where logs are shown.
_INDENT = "\u00a0"
# The type of a frame is its form; the bits above that are the level.
_TEXT_FRAME, _JSON_FRAME = 0xA55A0003, 0xA55A0002
# Whatever a record holds beyond these was put there with `extra`.
_OWN_FIELDS = frozenset(
    {
        "name",
        "msg",
        "args",
        "levelname",
        "levelno",
        "pathname",
        "filename",
        "module",
        "exc_info",
        "exc_text",
        "stack_info",
        "lineno",
        "funcName",
        "created",
        "msecs",
        "relativeCreated",
        "thread",
        "threadName",
        "processName",
        "process",
        "aws_request_id",
        "tenant_id",
    }
)


class Unbuffered:
    """A text stream that keeps nothing back: who is frozen or killed has said all it wrote."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def __enter__(self) -> None:
        """Do nothing, as AWS's stream does."""

    def __exit__(self, *_: object) -> None:
        """Stay open: the stream outlives whoever uses it."""

    def write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()

    def writelines(self, lines: list[str]) -> None:
        self.stream.writelines(lines)
        self.stream.flush()


class StandardOutput:
    """The log where the platform takes no frames: whatever standard output is at that moment."""

    def write(self, text: str, _frame_type: int) -> None:
        sys.stdout.write(text)

    def write_error(self, lines: list[str], _frame_type: int) -> None:
        # Only a carriage return keeps the lines of one error together.
        sys.stdout.write("\r".join(lines) + "\n")

    def close(self) -> None:
        """Leave it open: others write there, too."""


class LogDescriptor:
    """The log where the platform takes frames: each is one log event of as many lines as it has.

    Before the text stand the frame's type (4 bytes), the length of the text (4), and the time in
    microseconds since the epoch (8), big-endian.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str, frame_type: int) -> None:
        message = text.encode()
        lead = frame_type << 32 | len(message)
        frame = lead.to_bytes(8, "big") + (time.time_ns() // 1000).to_bytes(8, "big") + message
        written = os.write(self._descriptor, frame)
        while written < len(frame):  # A signal came in between.
            written += os.write(self._descriptor, frame[written:])

    def write_error(self, lines: list[str], frame_type: int) -> None:
        self.write("\n".join(lines), frame_type)

    def close(self) -> None:
        os.close(self._descriptor)


class LogHandler(logging.Handler):
    """Writes records to the log, each marked with the call in whose time it was written.

    As under AWS's client, a record that cannot be rendered raises where it was logged, and
    without a level or JSON asked for, frames do not say the level of text.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log: Log = StandardOutput()
        self.says_level = False
        self.request_id = ""
        self.tenant_id: str | None = None

    def filter(self, record: logging.LogRecord) -> Any:
        """Mark the record, before filters of the function see it; from 3.12 on they may swap it."""
        record.aws_request_id = self.request_id
        record.tenant_id = self.tenant_id
        return super().filter(record)

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        as_json = isinstance(self.formatter, JsonFormatter)
        kind = frame_type(record.levelno, as_json=as_json) if self.says_level else _TEXT_FRAME
        self.log.write(text, kind)


class JsonFormatter(logging.Formatter):
    """One JSON object for each record; fields without a value are left out."""

    def __init__(self) -> None:
        super().__init__(datefmt=_SECOND)
        self._encoder = json.JSONEncoder(ensure_ascii=False, default=str)

    def format(self, record: logging.LogRecord) -> str:
        record.levelno = _rounded(record.levelno)
        record.levelname = logging.getLevelName(record.levelno)
        plain_dict = isinstance(record.msg, dict) and not record.args
        place = f"{record.pathname}:{record.funcName}:{record.lineno}"
        fields = {
            "timestamp": self.formatTime(record, self.datefmt),
            "level": record.levelname,
            "message": record.msg if plain_dict else record.getMessage(),
            "logger": record.name,
            **_exception_fields(record.exc_info),
            "requestId": getattr(record, "aws_request_id", None),
            "location": place if record.exc_info else None,
            "tenantId": getattr(record, "tenant_id", None),
        }
        for name, value in vars(record).items():
            if name not in _OWN_FIELDS:
                fields.setdefault(name, value)
        present = {name: value for name, value in fields.items() if value is not None}
        return self._encoder.encode(present) + "\n"


def _exception_fields(exc_info: SysExcInfo | tuple[None, None, None] | None) -> dict[str, Any]:
    if not exc_info or exc_info[0] is None:
        return {"stackTrace": None, "errorType": None, "errorMessage": None}
    return {
        "stackTrace": traceback.format_tb(exc_info[2]),
        "errorType": exc_info[0].__name__,
        "errorMessage": str(exc_info[1]),
    }


def frame_type(levelno: int, *, as_json: bool) -> int:
    """The type of a frame, for a level of the logging module."""
    tens = _rounded(levelno) // 10
    return (_JSON_FRAME if as_json else _TEXT_FRAME) | (tens + 1 << 2 if tens else 0)


def _rounded(levelno: int) -> int:
    return min(logging.CRITICAL, max(logging.NOTSET, levelno)) // 10 * 10


def take_log(environ: MutableMapping[str, str]) -> Log:
    """The log of this process; functions are not to see the variable that says which."""
    descriptor = environ.pop("_LAMBDA_TELEMETRY_LOG_FD", None)
    return StandardOutput() if descriptor is None else LogDescriptor(int(descriptor))


def is_json(log_format: str) -> bool:
    """Whether AWS_LAMBDA_LOG_FORMAT asks for JSON."""
    return log_format.upper() == "JSON"


# Made ahead: each page that a process forked later writes to costs it a copy.
_TEXT_FORMATTER, _JSON_FORMATTER = logging.Formatter(_TEXT_FORM, _TEXT_TIME), JsonFormatter()
_HANDLER = LogHandler()


def set_up(log_format: str, log_level: str, log: Log) -> LogHandler:
    """Give the root logger its handler.

    Args:
        log_format: AWS_LAMBDA_LOG_FORMAT, or nothing.
        log_level: AWS_LAMBDA_LOG_LEVEL, or nothing; an unknown one changes nothing.
        log: where records go.

    Returns:
        the handler, that is to be told of each call.
    """
    if logging.Formatter.converter is not time.gmtime:
        logging.Formatter.converter = time.gmtime
    _HANDLER.log, _HANDLER.says_level = log, is_json(log_format) or bool(log_level)
    _HANDLER.setFormatter(_JSON_FORMATTER if is_json(log_format) else _TEXT_FORMATTER)
    root = logging.getLogger()
    level = "DEBUG" if log_level == "TRACE" else log_level.upper()
    if isinstance(logging.getLevelName(level), int):
        root.setLevel(level)
    root.addHandler(_HANDLER)
    return _HANDLER


def error_fields(error: dict[str, Any]) -> dict[str, Any]:
    """An error as the JSON format logs it."""
    return {"timestamp": time.strftime(_SECOND, time.gmtime()), "level": "ERROR", **error}


def error_lines(error: dict[str, Any]) -> list[str]:
    """An error as the text format logs it: one event for a log, many lines for a reader."""
    title = ": ".join(filter(None, [error["errorType"], error["errorMessage"]]))
    lines = [f"[ERROR] {title}", "Traceback (most recent call last):"]
    for entry in error["stackTrace"]:
        lines.extend(map(_indented, entry.splitlines() or [""]))
    return lines


def _indented(line: str) -> str:
    text = line.lstrip(" ")
    return _INDENT * (len(line) - len(text)) + text
