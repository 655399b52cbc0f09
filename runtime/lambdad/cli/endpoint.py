"""A running daemon, as commands reach it: over HTTP, like any client; signed if there is a key."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import click

from lambdad.api import credentials, sigv4
from lambdad.api.admin import CENSUS_PATH
from lambdad.model.clock import Clock

_ANSWER_S_MAX = 60


def endpoint_options(service: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a click command the options that say where the daemon is, and who asks it.

    Args:
        service: in AWS's variable for the URL: ``LAMBDA`` in ``AWS_ENDPOINT_URL_LAMBDA``.
    """
    wanted = (
        click.option(
            "--endpoint-url", default="http://127.0.0.1:3001", show_default=True,
            envvar=[f"AWS_ENDPOINT_URL_{service}", "AWS_ENDPOINT_URL"], help="Where the daemon is.",
        ),
        click.option(
            "--credentials", type=click.Path(path_type=Path), envvar="LAMBDAD_CREDENTIALS",
            help="Sign with the first key of this AWS credentials file.",
        ),
        click.option(
            "--region", default="us-east-1", show_default=True, envvar="LAMBDAD_REGION",
            help="Region to sign for.",
        ),
    )  # fmt: skip
    return lambda command: reduce(lambda made, option: option(made), reversed(wanted), command)


class Refused(Exception):
    """There is no answer, or the answer is an error, whose name is ``code``."""

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class Endpoint:
    """The API at a URL, which is its ``url``.

    Args:
        url: such as ``http://127.0.0.1:3001``.
        region: that is signed for.
        keys: a credentials file, of which the first key signs; None to sign nothing.
        clock: tells the time of signatures.
        answer_s_max: how long an answer may take.

    Raises:
        Refused: this is no URL, or these are no keys.
    """

    def __init__(
        self,
        url: str,
        region: str,
        keys: Path | None,
        clock: Clock,
        answer_s_max: float = _ANSWER_S_MAX,
    ) -> None:
        self.url, self._region, self.clock = url, region, clock
        self._answer_s_max = answer_s_max
        try:
            parts = urlsplit(url)
            self._https, self._host = parts.scheme == "https", parts.netloc
            known = parts.scheme in {"http", "https"} and parts.port != 0 and parts.hostname
            self._key = None if keys is None else next(iter(credentials.load(keys).items()))
        except (ValueError, credentials.NoCredentials) as error:
            raise Refused(str(error)) from error
        if not known:
            raise Refused(f"cannot use {url}: it is not a URL such as http://127.0.0.1:3001")

    def function(self, name: str) -> dict[str, Any]:
        """The configuration of a function.

        Raises:
            Refused: there is none, or no answer.
        """
        path = f"/2015-03-31/functions/{quote(name, safe='')}/configuration"
        return self._ask("GET", path, "lambda", {}, b"")

    def census(self) -> dict[str, Any]:
        """What the daemon has and does at this moment, see ``lambdad.api.admin``.

        Raises:
            Refused: there is no answer.
        """
        return self._ask("GET", CENSUS_PATH, "lambda", {}, b"")

    def logs(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        """What an operation of CloudWatch Logs answers.

        Raises:
            Refused: it does not, or with an error.
        """
        headers = {
            "content-type": "application/x-amz-json-1.1",
            "x-amz-target": f"Logs_20140328.{operation}",
        }
        return self._ask("POST", "/", "logs", headers, json.dumps(params).encode())

    def _ask(
        self, method: str, path: str, service: str, headers: dict[str, str], body: bytes
    ) -> dict[str, Any]:
        headers = {"host": self._host, **headers}
        if self._key is not None:
            headers = self._signed(method, path, service, headers, body)
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        connection = kind(self._host, timeout=self._answer_s_max)
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            status, said = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise Refused(f"cannot reach {self.url}: {error}") from error
        finally:
            connection.close()
        return self._read(status, answer.headers.get("x-amzn-ErrorType", ""), said)

    def _read(self, status: int, code: str, said: bytes) -> dict[str, Any]:
        try:
            document: dict[str, Any] = json.loads(said)
            message = document.get("message") or document.get("Message") or code
        except (ValueError, AttributeError):
            raise Refused(f"cannot read the answer of {self.url}: is it lambdad?") from None
        if status != http.client.OK:
            raise Refused(f"{code}: {message}", code)
        return document

    def _signed(
        self, method: str, path: str, service: str, headers: dict[str, str], body: bytes
    ) -> dict[str, str]:
        assert self._key is not None, "only who has a key signs"
        access_key_id, key = self._key
        headers = {**headers, "x-amz-date": sigv4.basic_format(self.clock.now())}
        if key.session_token is not None:
            headers["x-amz-security-token"] = key.session_token
        request = sigv4.Signed(method, path, "", headers)
        digest = hashlib.sha256(body).hexdigest()
        scope = self._region, service
        headers["authorization"] = sigv4.authorization(
            request, digest, access_key_id, key.secret, scope
        )
        return headers
