"""The Runtime API seen from a runtime: one connection, six requests, no decisions.

This is not a general HTTP client: it speaks HTTP/1.1 to one server, waits for ever where the
Runtime API may be silent for ever, and knows of an answer only what the Runtime API sends.
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
"""

from __future__ import annotations

import socket
import sys

# The name is enough for type checkers, and `typing` costs more to import than all of this.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedReader

_RUNTIME = "/2018-06-01/runtime"
_PYTHON = ".".join(map(str, sys.version_info[:3]))
_ACCEPTED = 202
_TOO_LARGE = 413
# The X-Ray cause of an error may take a header of 1 MiB; the rest of a section is small.
_HEAD_BYTES_MAX = (1 << 20) + (64 << 10)
_XRAY_CAUSE_BYTES_MAX = 1 << 20
# Up to this size copying a body behind its header is cheaper than a second system call.
_JOINED_BYTES_MAX = 64 << 10


class RuntimeApiError(Exception):
    """The Runtime API refused a request, with a status, or broke off, without one."""

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class Unanswered(RuntimeApiError):
    """The connection ended before the first byte of an answer."""


# Connections that have been made before there was a client, by their address.
_ahead: dict[tuple[str, int], socket.socket] = {}


def connect_ahead(host: str, port: int) -> None:
    """Have a connection at hand for the first client that will want one to this address."""
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    _connect(connection, (host, port))
    _ahead[host, port] = connection


def _connect(connection: socket.socket, address: tuple[str, int]) -> None:
    connection.connect(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Invocation:
    """One event as `/invocation/next` delivers it. Header values that are empty are absent.

    `client_context` and `cognito_identity` are JSON texts, `deadline_ms` is milliseconds since
    the epoch, and `attempt_id` is sent back with the outcome when there is one.
    """

    def __init__(self, headers: dict[str, str], payload: bytes) -> None:
        def header(name: str) -> str | None:
            return headers.get(name) or None

        request_id = header("lambda-runtime-aws-request-id")
        if request_id is None:
            msg = "cannot run an event without Lambda-Runtime-Aws-Request-Id"
            raise RuntimeApiError(msg)
        self.request_id = request_id
        self.deadline_ms = int(header("lambda-runtime-deadline-ms") or 0)
        self.function_arn = header("lambda-runtime-invoked-function-arn")
        self.trace_id = header("lambda-runtime-trace-id")
        self.client_context = header("lambda-runtime-client-context")
        self.cognito_identity = header("lambda-runtime-cognito-identity")
        self.tenant_id = header("lambda-runtime-aws-tenant-id")
        self.attempt_id = header("lambda-runtime-invocation-id")
        self.content_type = header("content-type") or "application/json"
        self.payload = payload


class RuntimeClient:
    """Asks for events and posts what became of them.

    Args:
        address: `host:port`, as AWS_LAMBDA_RUNTIME_API has it.
    """

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = (host, int(port))
        self._common = f"Host: {address}\r\nUser-Agent: aws-lambda-python/{_PYTHON}-lambdad\r\n"
        self._poll = f"GET {_RUNTIME}/invocation/next HTTP/1.1\r\n{self._common}\r\n".encode()
        self._socket: socket.socket | None = None
        self._stream: BufferedReader | None = None

    def next_invocation(self) -> Invocation:
        """Wait for an event."""
        headers, body = self._get(self._poll, "the next invocation")
        return Invocation(headers, body)

    def post_response(self, invocation: Invocation, body: bytes, content_type: str) -> None:
        """Post a result. One too large is refused, which the invoker hears from the platform."""
        path = f"{_RUNTIME}/invocation/{invocation.request_id}/response"
        headers = _attempt(invocation) + f"Content-Type: {content_type}\r\n"
        self._post(path, headers, body, also_fine=_TOO_LARGE)

    def post_error(self, invocation: Invocation, body: bytes, xray_cause: str) -> None:
        """Post an error with its cause for X-Ray, which is left out from 1 MiB on."""
        path = f"{_RUNTIME}/invocation/{invocation.request_id}/error"
        headers = _attempt(invocation) + "Content-Type: application/json\r\n"
        if len(xray_cause.encode()) < _XRAY_CAUSE_BYTES_MAX:
            headers += f"Lambda-Runtime-Function-XRay-Error-Cause: {xray_cause}\r\n"
        self._post(path, headers, body)

    def post_init_error(self, body: bytes, error_type: str) -> None:
        headers = f"Lambda-Runtime-Function-Error-Type: {error_type}\r\n"
        self._post(f"{_RUNTIME}/init/error", headers, body)

    def restore_next(self, renew: Callable[[], None]) -> None:
        """Say that the snapshot can be taken, and wait until it has been restored.

        Where this process is copied meanwhile, the copy finds its connection ended. It then
        calls ``renew`` and asks for itself: by the time of the answer it is one of its own.
        """
        request = f"GET {_RUNTIME}/restore/next HTTP/1.1\r\n{self._common}\r\n"
        self._get(request.encode(), "the restore", renew)

    def post_restore_error(self, body: bytes, error_type: str) -> None:
        headers = f"Lambda-Runtime-Function-Error-Type: {error_type}\r\n"
        self._post(f"{_RUNTIME}/restore/error", headers, body)

    def close(self) -> None:
        """Forget the connection; the next request makes a new one."""
        if self._socket is not None and self._stream is not None:
            self._stream.close()
            self._socket.close()
        self._socket = self._stream = None

    def _get(
        self, request: bytes, what: str, lost: Callable[[], None] = lambda: None
    ) -> tuple[dict[str, str], bytes]:
        """Headers and body. A connection ``lost`` before the answer is replaced once."""
        try:
            status, headers, body = self._exchange(request)
        except Unanswered:
            lost()
            status, headers, body = self._exchange(request)
        if status != 200:
            msg = f"cannot get {what}: {status} {body!r}"
            raise RuntimeApiError(msg, status)
        return headers, body

    def _post(self, path: str, headers: str, body: bytes, also_fine: int = _ACCEPTED) -> None:
        length = f"Content-Length: {len(body)}\r\n"
        head = f"POST {path} HTTP/1.1\r\n{self._common}{headers}{length}\r\n".encode()
        status, _, answer = self._exchange(head, body)
        if status not in {_ACCEPTED, also_fine}:
            msg = f"cannot post to {path}: {status} {answer!r}"
            raise RuntimeApiError(msg, status)

    def _exchange(self, head: bytes, body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
        try:
            connection, stream = self._connected()
            if len(body) <= _JOINED_BYTES_MAX:
                connection.sendall(head + body)
            else:
                connection.sendall(head)
                connection.sendall(body)
            status_line = stream.readline(_HEAD_BYTES_MAX)
        except ConnectionError as error:
            self.close()
            msg = f"cannot reach the Runtime API at {self._address}: {error}"
            raise Unanswered(msg) from error
        if not status_line:
            self.close()
            msg = f"cannot reach the Runtime API at {self._address}: it closed the connection"
            raise Unanswered(msg)
        headers = _read_headers(stream)
        answer = int(status_line.split(b" ", 2)[1]), headers, _read_body(stream, headers)
        if headers.get("connection", "").lower() == "close":
            self.close()
        return answer

    def _connected(self) -> tuple[socket.socket, BufferedReader]:
        if self._socket is None or self._stream is None:
            # connect() takes a numeric address as it is; create_connection() would resolve it,
            # and load the IDNA codec for that.
            ahead = _ahead.pop(self._address, None)
            connection = ahead or socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            self.use(connection)
            if ahead is None:
                _connect(connection, self._address)
        assert self._socket is not None
        assert self._stream is not None
        return self._socket, self._stream

    def use(self, connection: socket.socket) -> None:
        """Speak on this connection from now on."""
        self._socket, self._stream = connection, connection.makefile("rb")


def _attempt(invocation: Invocation) -> str:
    if invocation.attempt_id is None:
        return ""
    return f"Lambda-Runtime-Invocation-Id: {invocation.attempt_id}\r\n"


def _read_headers(stream: BufferedReader) -> dict[str, str]:
    """Read a header section: values by name in lower case, the last one of a name.

    A client context is JSON in UTF-8, so values are not limited to ASCII.
    """
    headers: dict[str, str] = {}
    left = _HEAD_BYTES_MAX
    while True:
        line = stream.readline(left)
        left -= len(line)
        if not line.endswith(b"\n"):
            msg = "cannot read headers: " + ("they end early" if left else "they are too long")
            raise RuntimeApiError(msg)
        name, colon, value = line.decode("utf-8", "surrogateescape").partition(":")
        if not colon:
            return headers
        headers[name.lower()] = value.strip()


def _read_body(stream: BufferedReader, headers: dict[str, str]) -> bytes:
    """Read a body, by its length or in chunks. An answer that names neither has none."""
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return _read_exactly(stream, int(headers.get("content-length", 0)))
    chunks = []
    while size := int(stream.readline(_HEAD_BYTES_MAX).partition(b";")[0], 16):
        chunks.append(_read_exactly(stream, size))
        stream.readline(_HEAD_BYTES_MAX)
    _read_headers(stream)
    return b"".join(chunks)


def _read_exactly(stream: BufferedReader, size: int) -> bytes:
    body = stream.read(size)
    if len(body) < size:
        msg = f"cannot read a body of {size} bytes: it ends after {len(body)}"
        raise RuntimeApiError(msg)
    return body
