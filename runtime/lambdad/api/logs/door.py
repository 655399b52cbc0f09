"""CloudWatch Logs behind the door: a target and a body in, an answer out; no HTTP is known here.

The protocol is JSON 1.1: one path, the operation in ``X-Amz-Target``, everything else in the
body (https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html). The service model is read
when somebody asks for the first time. Requests are read and answers written in the thread that
reads the logs: they can be large.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from functools import cached_property, partial
from typing import Any

from lambdad.api.logs.events import EventOperations
from lambdad.api.logs.groups import GroupOperations
from lambdad.api.logs.place import Params, Place, Result, invalid
from lambdad.api.logs.streams import StreamOperations
from lambdad.api.operations.functions import table
from lambdad.api.wire import model, render, validate
from lambdad.api.wire.model import Operation, ServiceModel
from lambdad.api.wire.parse import Unparsable, parse
from lambdad.api.wire.render import Answer
from lambdad.model import limits
from lambdad.model.errors import ApiError
from lambdad.observe.log_store import LogStore

SERVICE = "logs"
TARGET_PREFIX = "Logs_20140328."
_CONTENT_TYPE = "application/x-amz-json-1.1"
_UNAVAILABLE = "ServiceUnavailableException"


class LogsApi:
    """Answers requests for logs.

    Args:
        store: where the logs are.
        reader: an executor that may be kept busy for a second.
    """

    def __init__(self, store: LogStore, reader: Executor, *, region: str, account: str) -> None:
        self._place = Place(store, reader, region, account)
        self._handlers: dict[str, Callable[[Params], Awaitable[Result]]] = {
            **table(GroupOperations(self._place)),
            **table(StreamOperations(self._place)),
            **table(EventOperations(self._place)),
        }

    async def answer(self, target: str, body: bytes) -> Answer:
        """Do what a request asks for.

        Args:
            target: the header ``X-Amz-Target``.
            body: as sent.

        Raises:
            ApiError: that cannot be done; ``refusal`` is how to say so.
        """
        name = target.removeprefix(TARGET_PREFIX)
        handler = self._handlers.get(name)
        if handler is None or name == target:
            raise ApiError("UnknownOperationException", f"{name} is not offered by lambdad.")
        if len(body) > limits.log_request_bytes_max:
            raise ApiError(
                "RequestEntityTooLargeException",
                f"Request must be smaller than {limits.log_request_bytes_max} bytes",
            )
        operation, params = await self._place.read(partial(self._read, name, body))
        try:
            result = await handler(params)
        except OSError as error:  # A full disk, most of the time: nothing of it is done.
            raise ApiError(_UNAVAILABLE, f"cannot use the logs: {error.strerror}") from error
        return await self._place.read(partial(_rendered, operation, result))

    @cached_property
    def _model(self) -> ServiceModel:
        return model.load(model.LOGS)

    def _read(self, name: str, body: bytes) -> tuple[Operation, dict[str, Any]]:
        operation = self._model.operations[name]
        try:
            params = parse(operation, {}, [], {}, body)
        except Unparsable as error:
            raise ApiError("SerializationException", str(error)) from error
        violations = validate.violations(operation, params)
        if violations:
            raise invalid(validate.message(violations))
        return operation, params


def refusal(error: ApiError) -> Answer:
    """The answer that an error is: status 400, unless it is none of the caller's."""
    body = json.dumps({"__type": error.code, "message": error.message}).encode()
    return Answer(
        500 if error.code == _UNAVAILABLE else 400,
        {"x-amzn-ErrorType": error.code, "Content-Type": _CONTENT_TYPE},
        body,
    )


def _rendered(operation: Operation, result: Result) -> Answer:
    answer = render.render(operation, result)
    answer.headers["Content-Type"] = _CONTENT_TYPE
    return answer
