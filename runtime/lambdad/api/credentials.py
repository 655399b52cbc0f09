"""The keys that may sign: a file in AWS's format, so that clients may use the same one.

Sections are profiles; in each stand ``aws_access_key_id``, ``aws_secret_access_key`` and, for
temporary keys, ``aws_session_token``. What stands in the file never stands in an error.
Source: https://docs.aws.amazon.com/cli/latest/userguide/cli-configure-files.html
"""

from __future__ import annotations

import configparser
import os
import secrets
from pathlib import Path

from lambdad.api.sigv4 import Key

_ID_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_ID, _SECRET, _TOKEN = "aws_access_key_id", "aws_secret_access_key", "aws_session_token"


class NoCredentials(Exception):
    """There is no file of keys that may be trusted; the message says why and what to do."""


def load(path: Path) -> dict[str, Key]:
    """The keys in a file, by id.

    Raises:
        NoCredentials: it cannot be read, others can read it, or it has no keys.
    """
    try:
        with path.open(encoding="utf-8") as file:
            status = os.fstat(file.fileno())
            if status.st_uid != os.geteuid() or status.st_mode & 0o077:
                raise NoCredentials(
                    f"cannot trust {path}: it must be yours and readable by you alone. "
                    f"Use chown and chmod 600"
                )
            text = file.read()
    except OSError as error:
        raise NoCredentials(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError:
        raise NoCredentials(f"cannot read {path}: it is not UTF-8") from None
    return _keys(path, text)


def make(path: Path) -> None:
    """Write a file with one new key, readable by its owner alone, unless there is one.

    Raises:
        NoCredentials: it cannot be written.
    """
    access_key_id = "AKIA" + "".join(secrets.choice(_ID_LETTERS) for _ in range(16))
    text = f"[default]\n{_ID} = {access_key_id}\n{_SECRET} = {secrets.token_urlsafe(30)}\n"
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NoCredentials(f"cannot make {path}: {error.strerror}") from error
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def _keys(path: Path, text: str) -> dict[str, Key]:
    # Secrets may hold a percent sign, and no section gives its values to all others.
    parser = configparser.RawConfigParser(default_section="\0")
    try:
        parser.read_string(text)
    except configparser.Error:
        raise NoCredentials(
            f"cannot read {path}: it is not in the form of an AWS credentials file"
        ) from None
    keys: dict[str, Key] = {}
    for section in parser.values():
        access_key_id, secret = section.get(_ID, ""), section.get(_SECRET, "")
        if access_key_id and secret:
            keys[access_key_id] = Key(secret, section.get(_TOKEN) or None)
    if not keys:
        raise NoCredentials(f"cannot use {path}: no section has {_ID} and {_SECRET}")
    return keys
