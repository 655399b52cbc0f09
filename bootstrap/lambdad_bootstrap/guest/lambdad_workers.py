"""Many events at once: one process for each, all asking the same Runtime API.

https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-python-runtime.html
A function that takes one event at a time passes by here without anything being done.
"""

from __future__ import annotations

import logging
import os
import socket
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from lambdad_bootstrap.guest import lambdad_client, lambdad_log
else:
    import lambdad_client
    import lambdad_log

_TRIES, _FIRST_DELAY_S = 5, 0.1
_FORBIDDEN = 403


class PatientClient(lambdad_client.RuntimeClient):
    """Goes on where one worker of many can; the others have events of their own."""

    def next_invocation(self) -> lambdad_client.Invocation:
        """Wait for an event; tries five times, with growing pauses."""
        for number in range(_TRIES - 1):
            try:
                return super().next_invocation()
            except Exception as error:  # noqa: BLE001 - whatever it is may pass
                self._lost(error)
            time.sleep(_FIRST_DELAY_S * 2**number)
        return super().next_invocation()

    def post_response(
        self, invocation: lambdad_client.Invocation, body: bytes, content_type: str
    ) -> None:
        try:
            super().post_response(invocation, body, content_type)
        except Exception as error:  # noqa: BLE001 - this event is lost, the next one is not
            self._lost(error)

    def post_error(
        self, invocation: lambdad_client.Invocation, body: bytes, xray_cause: str
    ) -> None:
        try:
            super().post_error(invocation, body, xray_cause)
        except Exception as error:  # noqa: BLE001 - as above
            self._lost(error)

    def post_init_error(self, body: bytes, error_type: str) -> None:
        """Say why there is no handler, unless another worker was faster."""
        try:
            super().post_init_error(body, error_type)
        except lambdad_client.RuntimeApiError as error:
            if error.status != _FORBIDDEN:
                raise

    def _lost(self, error: Exception) -> None:
        logging.warning("%s; this worker goes on", error)  # noqa: LOG015 - the function's own log
        self.close()


def client_of(environ: MutableMapping[str, str]) -> lambdad_client.RuntimeClient:
    """The connection of this process; with many of them, this returns once in each.

    Raises:
        SystemExit: in the process that started the others, when the last of them has ended.
        OSError: they cannot be started, or have no place for their output.
    """
    address = environ["AWS_LAMBDA_RUNTIME_API"]
    if "AWS_LAMBDA_MAX_CONCURRENCY" not in environ:
        return lambdad_client.RuntimeClient(address)
    _fork(int(environ["AWS_LAMBDA_MAX_CONCURRENCY"]), environ)
    output = environ.get("_LAMBDA_TELEMETRY_LOG_FD_PROVIDER_SOCKET")
    if output:
        _redirect(output)
    return PatientClient(address)


def _fork(count: int, environ: MutableMapping[str, str]) -> None:
    """Return in each of ``count`` new processes."""
    _announce(count, environ)
    workers = []
    for _ in range(count):
        worker = os.fork()
        if worker == 0:
            return
        workers.append(worker)
    for worker in workers:
        os.waitpid(worker, 0)
    sys.exit()


def _announce(count: int, environ: MutableMapping[str, str]) -> None:
    """Log what AWS's client logs; the log descriptor is for this process alone."""
    log = lambdad_log.take_log(environ)
    log_format = environ.get("AWS_LAMBDA_LOG_FORMAT", "")
    lambdad_log.set_up(log_format, environ.get("AWS_LAMBDA_LOG_LEVEL", ""), log)
    root = logging.getLogger()
    root.debug(
        {
            "event": "runtime_worker_pool_initializing",
            "workerCount": count,
            "executionEnvironmentMaxConcurrency": count,
        }
    )
    root.handlers.clear()
    log.close()


def _redirect(path: str) -> None:
    """Write to streams of one's own, so that the platform can tell workers apart."""
    for descriptor in (1, 2):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            stream.connect(path)
            os.dup2(stream.fileno(), descriptor)
