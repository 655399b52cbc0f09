"""What an extension may say when: the Extensions API's state machine, as a table. Pure.

The names of the states are part of the protocol, they stand in 403 answers
(internal/lambda/core/states.go of the Runtime Interface Emulator, whose code is AWS's). This
module knows no process, no connection and no other extension. Source: runtime-protocol 2.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from enum import StrEnum
from errno import EACCES

from lambdad.invoke.runtime_state import Refused
from lambdad.model import limits


class ExtensionState(StrEnum):
    """As spelled in error messages, logs and telemetry."""

    STARTED = "Started"
    REGISTERED = "Registered"
    READY = "Ready"
    RUNNING = "Running"
    INIT_ERROR = "InitError"
    EXIT_ERROR = "ExitError"
    LAUNCH_ERROR = "LaunchError"
    EXITED = "Exited"
    SHUTDOWN_FAILED = "ShutdownFailed"


class ExtensionCall(StrEnum):
    """The calls, each by the state it leads to."""

    REGISTER = "Registered"
    NEXT = "Ready"
    INIT_ERROR = "InitError"
    EXIT_ERROR = "ExitError"


class EventType(StrEnum):
    """What an extension may subscribe to."""

    INVOKE = "INVOKE"
    SHUTDOWN = "SHUTDOWN"


_S, _C = ExtensionState, ExtensionCall

# A missing edge is a refusal. An error that is reported again stays what it was.
TRANSITIONS: dict[ExtensionState, dict[ExtensionCall, ExtensionState]] = {
    _S.STARTED: {_C.REGISTER: _S.REGISTERED},
    _S.REGISTERED: {
        _C.NEXT: _S.READY,
        _C.INIT_ERROR: _S.INIT_ERROR,
        _C.EXIT_ERROR: _S.EXIT_ERROR,
    },
    _S.READY: {_C.EXIT_ERROR: _S.EXIT_ERROR},
    _S.RUNNING: {_C.NEXT: _S.READY, _C.EXIT_ERROR: _S.EXIT_ERROR},
    _S.INIT_ERROR: {_C.INIT_ERROR: _S.INIT_ERROR},
    _S.EXIT_ERROR: {_C.EXIT_ERROR: _S.EXIT_ERROR},
    _S.LAUNCH_ERROR: {},
    _S.EXITED: {},
    _S.SHUTDOWN_FAILED: {},
}

# Where several events run at a time extensions hear of none of them (8.2).
_OF_EXTERNAL = frozenset({EventType.INVOKE, EventType.SHUTDOWN})
_OF_INTERNAL = frozenset({EventType.INVOKE})
_OF_EXTERNAL_MANAGED = frozenset({EventType.SHUTDOWN})

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_OWN_TYPE = re.compile(r"Extension\.[A-Z][a-zA-Z]+")

TOO_MANY = f"Extension limit ({limits.extensions_max}) reached"


def after(state: ExtensionState, call: ExtensionCall, who: str) -> ExtensionState:
    """The state after ``call`` by ``who``: the name when it registers, else the identifier.

    Raises:
        Refused: 403, the state does not allow it.
    """
    try:
        return TRANSITIONS[state][call]
    except KeyError:
        raise _forbidden(
            "InvalidExtensionState",
            f"State transition from {state} to {call} failed for extension {who}. "
            "Error: State transition is not allowed",
        ) from None


def subscriptions(
    names: Sequence[str], *, external: bool, managed: bool = False
) -> tuple[EventType, ...]:
    """The events of these names, in their order, each once.

    Args:
        names: as the extension gave them.
        external: whether it is a process of its own.
        managed: whether the environment runs several events at a time (8.2).

    Raises:
        Refused: 403, there is no such event, or it is not for this extension.
    """
    if managed and not external:
        if names:
            raise _forbidden("InvalidEventType", "No events allowed for internal extensions")
        return ()
    allowed = _OF_EXTERNAL_MANAGED if managed else _OF_EXTERNAL if external else _OF_INTERNAL
    wanted = dict.fromkeys(names)
    return tuple(_subscription(name, allowed, external=external) for name in wanted)


def _subscription(name: str, allowed: Collection[EventType], *, external: bool) -> EventType:
    for event in EventType:
        if name == event and event in allowed:
            return event
    if name == EventType.SHUTDOWN and not external:
        why = "ShutdownEventNotSupportedForInternalExtension"
    else:
        why = "ErrorInvalidEventType"
    raise _forbidden("InvalidEventType", f"{name}: {why}")


def identifier(header: str) -> str:
    """The identifier that a header holds; ``""`` is a header that is not there.

    Raises:
        Refused: 403, there is none, or it is no UUID.
    """
    if not header:
        raise _forbidden("MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header")
    if _UUID.fullmatch(header) is None:
        raise _forbidden("InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier")
    return header.lower()


def unknown(uuid: str) -> Refused:
    """The answer to an identifier that was never given out, or before a reset."""
    return _forbidden("UnknownExtensionIdentifier", f"Unknown extension {uuid}")


def unknown_failing() -> Refused:
    """The same, where an extension reports an error."""
    return _forbidden("UnknownExtensionIdentifier", "Unknown Lambda-Extension-Identifier")


def no_name() -> Refused:
    return _forbidden("InvalidExtensionName", "Empty extension name")


def no_error_type() -> Refused:
    return _forbidden("MissingHeader", "Lambda-Extension-Function-Error-Type not found")


def name_taken() -> Refused:
    """The answer to an internal extension that registers twice."""
    return _forbidden("InvalidExtensionState", "Extension with this name already registered")


def closed() -> Refused:
    """The answer to an internal extension after the runtime's first ``next``."""
    return _forbidden("RegistrationClosed", "Extension registration closed already")


def too_many() -> Refused:
    """The answer to the internal extension that is one too many."""
    return _forbidden("TooManyExtensions", TOO_MANY)


def _forbidden(error_type: str, message: str) -> Refused:
    return Refused(403, f"Extension.{error_type}", message)


def fatal_type(call: ExtensionCall, said: str, *, managed: bool = False) -> str:
    """The error type of an environment whose extension has reported an error.

    Args:
        call: which of the two reports.
        said: the error type in the report; it counts where ``managed`` and well formed only.
        managed: whether the environment runs several events at a time (8.2).
    """
    if managed and _OWN_TYPE.fullmatch(said):
        return said
    return f"Extension.{call}"


def launch_error_type(errno: int) -> str:
    """``platform.extension``'s error type of an extension that execve(2) refused (2.7)."""
    return "PermissionDenied" if errno == EACCES else "UnknownError"
