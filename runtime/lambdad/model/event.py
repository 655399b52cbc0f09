"""Events of asynchronous invocations: what was accepted and is still to be run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """One accepted event, the same through all its attempts.

    Attributes:
        request_id: of the call that brought it, and of each attempt.
        function, version: what is to run; an alias means what it points to at each attempt.
        payload: byte for byte.
        function_arn, trace, client_context, content_type, tenant_id, traced: as an
            ``Invocation`` has them.
        accepted: seconds since the epoch.
        due: when it may run next, in the same seconds.
        attempts: how often it has failed.
    """

    request_id: str
    function: str
    version: str
    payload: bytes
    function_arn: str
    trace: str
    client_context: str | None
    content_type: str
    tenant_id: str | None
    traced: bool
    accepted: float
    due: float
    attempts: int = 0
