"""The outside door, as clients use it that mean no good."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError
from scenario.program import OWN_RUNTIME, PATIENCE

ECHO = "def handler(event, context): return event"
FUNCTIONS_PATH = "/2015-03-31/functions"


def refusal(call, **parameters):
    """The code and status that a call is refused with."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def creation(package, **more):
    return {
        "FunctionName": "never",
        "Runtime": OWN_RUNTIME,
        "Role": "arn:aws:iam::123456789012:role/any",
        "Handler": "lambda_function.handler",
        "Code": {"ZipFile": package},
        **more,
    }


def send(daemon, data, *, until_closed=False):
    """Send bytes to the door; all that comes back until it is silent, or closed."""
    address = urlsplit(daemon.url)
    answer = b""
    with socket.create_connection((address.hostname, address.port), timeout=10 * PATIENCE) as end:
        try:
            end.sendall(data)
            while chunk := end.recv(65_536):
                answer += chunk
                if not until_closed and complete(answer):
                    break
        except (ConnectionResetError, BrokenPipeError):
            return answer
    return answer


def complete(answer):
    """Whether an answer is there to its end."""
    head, gap, body = answer.partition(b"\r\n\r\n")
    if gap and head.split()[1] == b"204":
        return True
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return bool(gap) and len(body) >= int(line.split(b":")[1])
    return False
