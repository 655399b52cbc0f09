"""The function's log: standard output, where every line is written at once.

Forms are those of AWS's Python client, as text and as JSON:
https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html
Lines of the platform itself (START, END, REPORT) are not written here.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, TextIO

    SysExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]

_SECOND = "%Y-%m-%dT%H:%M:%SZ"
_TEXT_FORM = "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n"
# On a pipe only a carriage return keeps the lines of one error together, and no-break spaces
# keep their indentation where logs are shown.
_LINE_END_INSIDE = "\r"
_INDENT = "\u00a0"
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


class CallFilter(logging.Filter):
    """Marks each record with the call in whose time it was written."""

    def __init__(self) -> None:
        super().__init__()
        self.request_id = ""
        self.tenant_id: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        record.aws_request_id = self.request_id
        record.tenant_id = self.tenant_id
        return True


class OutputHandler(logging.Handler):
    """Writes records to whatever standard output is at that moment.

    As under AWS's client, a record that cannot be rendered raises where it was logged.
    """

    def emit(self, record: logging.LogRecord) -> None:
        sys.stdout.write(self.format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object for each record; fields without a value are left out."""

    def __init__(self) -> None:
        super().__init__(datefmt=_SECOND)
        self._encoder = json.JSONEncoder(ensure_ascii=False, default=str)

    def format(self, record: logging.LogRecord) -> str:
        record.levelno = min(logging.CRITICAL, max(logging.NOTSET, record.levelno)) // 10 * 10
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


def is_json(log_format: str) -> bool:
    """Whether AWS_LAMBDA_LOG_FORMAT asks for JSON."""
    return log_format.upper() == "JSON"


def set_up(log_format: str, log_level: str) -> CallFilter:
    """Give the root logger its handler.

    Args:
        log_format: AWS_LAMBDA_LOG_FORMAT, or nothing.
        log_level: AWS_LAMBDA_LOG_LEVEL, or nothing; an unknown one changes nothing.

    Returns:
        the filter that is to be told of each call.
    """
    logging.Formatter.converter = time.gmtime
    handler = OutputHandler()
    text = logging.Formatter(_TEXT_FORM, "%Y-%m-%dT%H:%M:%S")
    handler.setFormatter(JsonFormatter() if is_json(log_format) else text)
    call = CallFilter()
    handler.addFilter(call)
    root = logging.getLogger()
    level = "DEBUG" if log_level == "TRACE" else log_level.upper()
    if isinstance(logging.getLevelName(level), int):
        root.setLevel(level)
    root.addHandler(handler)
    return call


def error_fields(error: dict[str, Any]) -> dict[str, Any]:
    """An error as the JSON format logs it."""
    return {"timestamp": time.strftime(_SECOND, time.gmtime()), "level": "ERROR", **error}


def error_text(error: dict[str, Any]) -> str:
    """An error as the text format logs it: one line for a log, many for a reader."""
    title = ": ".join(filter(None, [error["errorType"], error["errorMessage"]]))
    lines = [f"[ERROR] {title}", "Traceback (most recent call last):"]
    for entry in error["stackTrace"]:
        lines.extend(map(_indented, entry.splitlines() or [""]))
    return _LINE_END_INSIDE.join(lines) + "\n"


def _indented(line: str) -> str:
    text = line.lstrip(" ")
    return _INDENT * (len(line) - len(text)) + text
