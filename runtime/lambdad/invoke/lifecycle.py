"""The life of an execution environment, as a table. Pure: no clock, no process, no I/O.

The figure in docs/lifecycle.md is printed from ``TRANSITIONS``; a test compares the two.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Where an environment stands."""

    STARTING = "starting"  # the sandbox is being built; nothing of the function's runs
    INIT = "init"  # the runtime loads the handler
    IDLE = "idle"  # the runtime waits for an event
    SNAPSHOT = "snapshot"  # init is done, and the runtime waits to be restored
    RESTORE = "restore"  # the runtime runs its hooks, and asks for its first event
    INVOKE = "invoke"  # an event is out; init may run first when it had failed before
    RESET = "reset"  # every process is asked to end, then killed; /tmp stays
    NEEDS_INIT = "needs-init"  # no process left; init will run within the next invoke
    SHUTDOWN = "shutdown"  # on its way out: processes are asked to end, then all is removed
    GONE = "gone"  # nothing of it is left


class Event(StrEnum):
    """What can happen to an environment."""

    ENTERED = "entered"  # the sandbox stands, confined
    READY = "ready"  # the runtime asked for its first event, and so did every extension
    SUSPENDED = "suspended"  # the runtime asked to be restored, and every extension is ready
    RESTORED = "restored"  # the runtime has been restored, and asked for its first event
    LEASED = "leased"  # the pool gave it an invocation
    ANSWERED = "answered"  # the runtime answered, and it and its extensions ask for the next
    FAILED = "failed"  # init error, timeout, crash of the runtime or an extension, out of memory
    EMPTIED = "emptied"  # no process but init is left
    RETIRED = "retired"  # idle too long, function changed, daemon stops, or the sandbox died
    REMOVED = "removed"  # processes, mounts and cgroup are gone


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.STARTING: {Event.ENTERED: State.INIT, Event.RETIRED: State.SHUTDOWN},
    State.INIT: {
        Event.READY: State.IDLE,
        Event.SUSPENDED: State.SNAPSHOT,
        Event.FAILED: State.RESET,
        Event.RETIRED: State.SHUTDOWN,
    },
    State.IDLE: {
        Event.LEASED: State.INVOKE,
        Event.FAILED: State.RESET,
        Event.RETIRED: State.SHUTDOWN,
    },
    State.SNAPSHOT: {
        Event.LEASED: State.RESTORE,
        Event.FAILED: State.RESET,
        Event.RETIRED: State.SHUTDOWN,
    },
    State.RESTORE: {Event.RESTORED: State.INVOKE, Event.RETIRED: State.SHUTDOWN},
    State.INVOKE: {
        Event.ANSWERED: State.IDLE,
        Event.FAILED: State.RESET,
        Event.RETIRED: State.SHUTDOWN,
    },
    State.RESET: {Event.EMPTIED: State.NEEDS_INIT, Event.RETIRED: State.SHUTDOWN},
    State.NEEDS_INIT: {Event.LEASED: State.INVOKE, Event.RETIRED: State.SHUTDOWN},
    State.SHUTDOWN: {Event.REMOVED: State.GONE},
    State.GONE: {},
}


class IllegalTransition(Exception):
    """Our own mistake: the table has no such edge."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"cannot take {event} while {state}")
        self.state, self.event = state, event


def next_state(state: State, event: Event) -> State:
    """The state after ``event``.

    Raises:
        IllegalTransition: there is no such edge.
    """
    try:
        return TRANSITIONS[state][event]
    except KeyError:
        raise IllegalTransition(state, event) from None


def mermaid() -> str:
    """The table as a Mermaid state diagram."""
    edges = [
        f"    {state} --> {target}: {event}"
        for state, events in TRANSITIONS.items()
        for event, target in events.items()
    ]
    lines = [
        "stateDiagram-v2",
        f"    [*] --> {State.STARTING}",
        *edges,
        f"    {State.GONE} --> [*]",
    ]
    return "\n".join(lines).replace("needs-init", "needs_init")
