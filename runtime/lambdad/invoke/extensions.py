"""The extensions of one environment: who they are, what they wait for, what became of them.

It is told what the Extensions API hears and what processes do, and tells whether a gate is open:
all registered, all ready, all back. It starts and ends no process and sets no timer; what
follows from an open gate or a fault is the environment's. Source: runtime-protocol 2, 4.2, 4.5.

A poll whose connection is gone is no poll. On AWS its extension stays locked out (403) until the
next event, which is then lost. Here it may poll again, and finds the event that it has missed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lambdad.invoke import extension_state
from lambdad.invoke.extension_state import EventType, ExtensionCall, ExtensionState
from lambdad.invoke.platform_words import extension_exit_text
from lambdad.invoke.shutdown import ShutdownReason
from lambdad.model import ids, limits


@dataclass(frozen=True, slots=True)
class InvokeEvent:
    """The runtime has got an event; ``deadline_ms`` is milliseconds of the epoch."""

    deadline_ms: int
    request_id: str
    function_arn: str
    trace: str


@dataclass(frozen=True, slots=True)
class ShutdownEvent:
    """The environment ends; at ``deadline_ms``, of the epoch, whoever is left is killed."""

    deadline_ms: int
    reason: ShutdownReason


ExtensionEvent = InvokeEvent | ShutdownEvent


class Fault(NamedTuple):
    """What an invoker reads of an extension that failed."""

    error_type: str
    text: str


class _Poll(NamedTuple):
    """A ``next`` that waits, and whether its client still does."""

    event: asyncio.Future[ExtensionEvent]
    connected: Callable[[], bool]


@dataclass(slots=True, eq=False)
class Extension:
    """One extension.

    Attributes:
        name: the file's, or as it called itself; any bytes, ``shown_name`` is for logs.
        external: whether it is a process of its own.
        identifier: a UUID; empty before it has registered.
        events: subscribed to, in its order.
        error_type: as it said itself, or why it was not launched; for logs and telemetry.
        process_ended: or never started; never set of an internal one.
    """

    name: str
    external: bool
    state: ExtensionState = ExtensionState.STARTED
    identifier: str = ""
    events: tuple[EventType, ...] = ()
    error_type: str | None = None
    process_ended: bool = False
    _poll: _Poll | None = None
    _missed: ExtensionEvent | None = None

    @property
    def shown_name(self) -> str:
        """The name as logs and telemetry have it."""
        return _shown(self.name)

    def next_event(self, connected: Callable[[], bool]) -> asyncio.Future[ExtensionEvent]:
        """Wait for an event, or take the one that was missed.

        Raises:
            Refused: not in this state.
        """
        if self.state is ExtensionState.READY and self._poll_is_lost():
            self.hang_up()
        else:
            self.state = extension_state.after(self.state, ExtensionCall.NEXT, self.identifier)
        waiting: asyncio.Future[ExtensionEvent] = asyncio.get_running_loop().create_future()
        self._poll = _Poll(waiting, connected)
        if self._missed is not None:
            self.tell(self._missed)
        return waiting

    def tell(self, event: ExtensionEvent) -> None:
        """Answer its poll, or have the event ready for the next one."""
        self._missed = event
        if self.state is not ExtensionState.READY:
            return
        self.state = ExtensionState.RUNNING
        if self._poll_is_lost():
            self.hang_up()
        elif self._poll is not None:
            self._poll.event.set_result(event)
            self._poll = self._missed = None

    def hang_up(self) -> None:
        """Whoever polls gets no answer."""
        if self._poll is not None:
            self._poll.event.cancel()
            self._poll = None

    def _poll_is_lost(self) -> bool:
        poll = self._poll
        return poll is not None and (poll.event.done() or not poll.connected())


class Extensions:
    """Those of one environment, from one start of its processes to the next.

    Args:
        changed: called when a gate may have opened, a fault was recorded or a process has ended.
        managed: whether the environment runs several events at a time (8.2).

    Attributes:
        fault: the first failure that ends the init phase or the event; ``None`` while all is well.
        fatal_type: the first error type that was recorded. An error that an extension has
            reported takes effect when a process exits: its own, the runtime's or another's.
    """

    def __init__(self, changed: Callable[[], None], *, managed: bool = False) -> None:
        self._changed, self._managed = changed, managed
        self.fault: Fault | None = None
        self.fatal_type: str | None = None
        self._external: dict[str, Extension] = {}
        self._internal: dict[str, Extension] = {}
        self._by_identifier: dict[str, Extension] = {}
        self._registration_closed = self._ending = False

    def reset(self) -> None:
        """Forget everything: all processes are dead, and new ones will be started."""
        self.hang_up()
        self.fault = self.fatal_type = None
        for known in (self._external, self._internal, self._by_identifier):
            known.clear()
        self._registration_closed = self._ending = False

    def hang_up(self) -> None:
        """Who waits for an event is dead, or is to hear nothing more."""
        for extension in self.all:
            extension.hang_up()

    # --- what the processes do ------------------------------------------------------

    def launched(self, name: str) -> bool:
        """An external extension is about to be started; tell of all before the first speaks.

        Returns:
            Whether it may be: one that is too many is a fault.
        """
        extension = self._external[name] = Extension(name, external=True)
        if len(self._external) <= limits.extensions_max:
            return True
        self._not_launched(extension, "TooManyExtensions", extension_state.TOO_MANY)
        return False

    def failed_to_launch(self, name: str, errno: int) -> None:
        """Its file cannot be executed."""
        text = f"fork/exec /opt/extensions/{_shown(name)}: {os.strerror(errno).lower()}"
        self._not_launched(self._external[name], extension_state.launch_error_type(errno), text)
        self._changed()

    def _not_launched(self, extension: Extension, error_type: str, text: str) -> None:
        extension.state, extension.process_ended = ExtensionState.LAUNCH_ERROR, True
        extension.error_type = error_type
        self._fail("Extension.LaunchError", text)

    def exited(self, name: str, status: int) -> None:
        """Its process has ended; but for a shutdown that is a fault, whatever its status.

        Args:
            name: of its file.
            status: as wait(2) gives it.
        """
        extension = self._external[name]
        extension.process_ended = True
        extension.hang_up()
        if self._ending:
            well = status == 0
            extension.state = ExtensionState.EXITED if well else ExtensionState.SHUTDOWN_FAILED
        else:
            self._fail("Extension.Crash", extension_exit_text(status))
        self._changed()

    def _fail(self, error_type: str, text: str) -> None:
        """Record a fault; the first one stands, and has the first type that was recorded."""
        self.fatal_type = self.fatal_type or error_type
        self.fault = self.fault or Fault(self.fatal_type, text)

    # --- what the extensions say, through the Extensions API ------------------------

    def register(self, name: str, events: Sequence[str]) -> Extension:
        """``POST /extension/register``; a name that no file has is an internal extension's.

        Raises:
            Refused: not these events, or not any more.
        """
        extension = self._external.get(name)
        external = extension is not None
        subscribed = extension_state.subscriptions(events, external=external, managed=self._managed)
        if extension is None:
            extension = self._new_internal(name)
        extension.state = extension_state.after(extension.state, ExtensionCall.REGISTER, name)
        extension.events, extension.identifier = subscribed, ids.request_id()
        self._by_identifier[extension.identifier] = extension
        self._changed()
        return extension

    def _new_internal(self, name: str) -> Extension:
        if self._registration_closed:
            raise extension_state.closed()
        if name in self._internal:
            raise extension_state.name_taken()
        if len(self.all) >= limits.extensions_max:
            raise extension_state.too_many()
        extension = self._internal[name] = Extension(name, external=False)
        return extension

    def next_event(
        self, identifier: str, connected: Callable[[], bool]
    ) -> asyncio.Future[ExtensionEvent]:
        """``GET /extension/event/next``.

        Args:
            identifier: as the header has it.
            connected: whether the client of this call is still there.

        Raises:
            Refused: no such extension, or not in this state.
        """
        waiting = self.find(identifier).next_event(connected)
        self._changed()
        return waiting

    def init_error(self, identifier: str, error_type: str) -> None:
        """``POST /extension/init/error``; takes effect when the process exits.

        Raises:
            Refused: no such extension, no error type, or not in this state.
        """
        self._reported(identifier, ExtensionCall.INIT_ERROR, error_type)

    def exit_error(self, identifier: str, error_type: str) -> None:
        """``POST /extension/exit/error``; takes effect when the process exits.

        Raises:
            Refused: no such extension, no error type, or not in this state.
        """
        self._reported(identifier, ExtensionCall.EXIT_ERROR, error_type)

    def _reported(self, header: str, call: ExtensionCall, said: str) -> None:
        uuid = extension_state.identifier(header)
        extension = self._by_identifier.get(uuid)
        if extension is None:
            raise extension_state.unknown_failing()
        if not said:
            raise extension_state.no_error_type()
        extension.state = extension_state.after(extension.state, call, uuid)
        extension.error_type = extension.error_type or _shown(said)
        fatal_type = extension_state.fatal_type(call, said, managed=self._managed)
        self.fatal_type = self.fatal_type or fatal_type

    def find(self, identifier: str) -> Extension:
        """The extension that a Lambda-Extension-Identifier header names; ``""`` is no header.

        Raises:
            Refused: no header, no UUID, or not one that was given out.
        """
        uuid = extension_state.identifier(identifier)
        try:
            return self._by_identifier[uuid]
        except KeyError:
            raise extension_state.unknown(uuid) from None

    # --- what the environment says -----------------------------------------------------

    def close_registration(self) -> None:
        """The runtime has asked for its first event: no internal extension may come any more."""
        self._registration_closed = True

    def invoke(self, event: InvokeEvent) -> None:
        """Tell those that subscribed to INVOKE."""
        self._tell(event, EventType.INVOKE)

    def shutdown(self, event: ShutdownEvent) -> tuple[str, ...]:
        """Tell those that subscribed to SHUTDOWN; from now on an exit is no fault.

        Returns:
            The names of the others whose processes run: they are to be killed at once.
        """
        self._ending = True
        self._tell(event, EventType.SHUTDOWN)
        return tuple(
            extension.name
            for extension in self._external.values()
            if not extension.process_ended and EventType.SHUTDOWN not in extension.events
        )

    def _tell(self, event: ExtensionEvent, kind: EventType) -> None:
        for extension in self.all:
            if kind in extension.events:
                extension.tell(event)

    # --- what the environment asks -----------------------------------------------------

    @property
    def all(self) -> tuple[Extension, ...]:
        """Every one, as ``platform.extension`` lists them: external, then internal ones."""
        return (*self._external.values(), *self._internal.values())

    @property
    def all_registered(self) -> bool:
        """Whether the runtime may start: every external one has registered."""
        return self.fault is None and all(one.identifier for one in self._external.values())

    @property
    def all_ready(self) -> bool:
        """Whether the init phase is over for all: each waits for an event."""
        return self.fault is None and all(one.state is ExtensionState.READY for one in self.all)

    @property
    def back(self) -> bool:
        """Whether the event is over for all that were told of it: they wait for the next."""
        return self.fault is None and all(
            one.state is ExtensionState.READY for one in self.all if EventType.INVOKE in one.events
        )

    @property
    def any_external(self) -> bool:
        """Whether there is one that was started, registered or not."""
        return any(one.state is not ExtensionState.LAUNCH_ERROR for one in self._external.values())

    @property
    def any_internal(self) -> bool:
        return bool(self._internal)


def _shown(text: str) -> str:
    """What came as bytes, as text that can be written: of headers and of file names."""
    printable = text.encode(errors="surrogateescape").decode(errors="replace")
    return printable[: limits.extension_text_characters_max]
