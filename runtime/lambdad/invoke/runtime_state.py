"""What a runtime may say when: the Runtime API's state machine, as a table. Pure.

The names of the states are part of the protocol, they stand in 403 answers
(internal/lambda/core/states.go of the Runtime Interface Emulator, whose code is AWS's).
"""

from __future__ import annotations

from enum import StrEnum


class RuntimeState(StrEnum):
    """As spelled in error messages."""

    STARTED = "Started"
    INIT_ERROR = "InitError"
    READY = "Ready"
    RUNNING = "Running"
    RESPONSE = "InvocationResponse"
    ERROR_RESPONSE = "InvocationErrorResponse"
    RESPONSE_SENT = "RuntimeResponseSentState"
    RESTORE_READY = "RestoreReady"
    RESTORING = "Restoring"
    RESTORE_ERROR = "RuntimeRestoreErrorState"


class Call(StrEnum):
    """The calls, each by the state it leads to."""

    NEXT = "Ready"
    RESPONSE = "InvocationResponse"
    ERROR = "InvocationErrorResponse"
    INIT_ERROR = "InitError"
    SENT = "RuntimeResponseSentState"  # the body of a response or an error has been read
    RESTORE_NEXT = "RestoreReady"
    RESTORED = "Restoring"  # the snapshot is taken and restored: restore/next returns
    RESTORE_ERROR = "RuntimeRestoreErrorState"


_S, _C = RuntimeState, Call

# A missing edge is a refusal. Ready and Running stay what they are when the runtime asks again.
TRANSITIONS: dict[RuntimeState, dict[Call, RuntimeState]] = {
    _S.STARTED: {
        _C.NEXT: _S.READY,
        _C.RESTORE_NEXT: _S.RESTORE_READY,
        _C.INIT_ERROR: _S.INIT_ERROR,
    },
    _S.INIT_ERROR: {},
    _S.READY: {_C.NEXT: _S.READY},
    _S.RUNNING: {
        _C.NEXT: _S.RUNNING,
        _C.RESPONSE: _S.RESPONSE,
        _C.ERROR: _S.ERROR_RESPONSE,
    },
    _S.RESPONSE: {_C.SENT: _S.RESPONSE_SENT},
    _S.ERROR_RESPONSE: {_C.SENT: _S.RESPONSE_SENT},
    _S.RESPONSE_SENT: {_C.NEXT: _S.READY},
    _S.RESTORE_READY: {_C.RESTORED: _S.RESTORING},
    _S.RESTORING: {
        _C.NEXT: _S.READY,
        _C.INIT_ERROR: _S.RESTORE_ERROR,  # As if it had said so: clients know no better.
        _C.RESTORE_ERROR: _S.RESTORE_ERROR,
    },
    _S.RESTORE_ERROR: {},
}


class Refused(Exception):
    """A call that the Runtime API refuses: its status and body."""

    def __init__(self, status: int, error_type: str, message: str) -> None:
        super().__init__(message)
        self.status, self.error_type, self.message = status, error_type, message


def after(state: RuntimeState, call: Call) -> RuntimeState:
    """The state after ``call``.

    Raises:
        Refused: 403, the state does not allow it.
    """
    try:
        return TRANSITIONS[state][call]
    except KeyError:
        raise Refused(
            403,
            "InvalidStateTransition",
            f"State transition from {state} to {call} failed for runtime. "
            "Error: State transition is not allowed",
        ) from None


def wrong_request_id() -> Refused:
    """The answer to any id but that of the event which is out."""
    return Refused(400, "InvalidRequestID", "Invalid request ID")
