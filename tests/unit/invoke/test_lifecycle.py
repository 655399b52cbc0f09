from pathlib import Path

import pytest

from lambdad.invoke import lifecycle
from lambdad.invoke.lifecycle import TRANSITIONS, Event, IllegalTransition, State, next_state

DOCUMENT = Path(__file__).parents[3] / "docs/lifecycle.md"

# Written down a second time, so that an edge is never added or lost by accident.
ALLOWED = {
    ("starting", "entered"): "init",
    ("starting", "retired"): "shutdown",
    ("init", "ready"): "idle",
    ("init", "suspended"): "snapshot",
    ("init", "failed"): "reset",
    ("init", "retired"): "shutdown",
    ("idle", "leased"): "invoke",
    ("idle", "failed"): "reset",
    ("idle", "retired"): "shutdown",
    ("snapshot", "leased"): "restore",
    ("snapshot", "failed"): "reset",
    ("snapshot", "retired"): "shutdown",
    ("restore", "restored"): "invoke",
    ("restore", "retired"): "shutdown",
    ("invoke", "answered"): "idle",
    ("invoke", "failed"): "reset",
    ("invoke", "retired"): "shutdown",
    ("reset", "emptied"): "needs-init",
    ("reset", "retired"): "shutdown",
    ("needs-init", "leased"): "invoke",
    ("needs-init", "retired"): "shutdown",
    ("shutdown", "removed"): "gone",
}


@pytest.mark.parametrize("event", Event)
@pytest.mark.parametrize("state", State)
def test_a_pair_is_an_edge_or_is_refused(state, event):
    target = ALLOWED.get((str(state), str(event)))
    if target is None:
        with pytest.raises(IllegalTransition, match=f"cannot take {event} while {state}"):
            next_state(state, event)
    else:
        assert next_state(state, event) == target


def reachable(start):
    found, unseen = {start}, [start]
    while unseen:
        for target in TRANSITIONS[unseen.pop()].values():
            if target not in found:
                found.add(target)
                unseen.append(target)
    return found


def test_every_state_is_reachable():
    assert reachable(State.STARTING) == set(State)


@pytest.mark.parametrize("state", State)
def test_every_life_can_end(state):
    assert State.GONE in reachable(state)


def test_the_end_is_final():
    assert TRANSITIONS[State.GONE] == {}


def test_every_event_happens_somewhere():
    assert {event for edges in TRANSITIONS.values() for event in edges} == set(Event)


def test_whatever_lives_can_be_retired():
    ending = {State.SHUTDOWN, State.GONE}
    assert all(Event.RETIRED in TRANSITIONS[state] for state in set(State) - ending)


def test_the_figure_shows_every_edge_and_no_other():
    lines = lifecycle.mermaid().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> starting"]
    assert lines[-1] == "    gone --> [*]"
    shown = {line.strip().replace("needs_init", "needs-init") for line in lines[2:-1]}
    assert shown == {f"{was} --> {then}: {event}" for (was, event), then in ALLOWED.items()}


def test_the_figure_in_the_document_is_the_table():
    figure = DOCUMENT.read_text(encoding="utf-8").split("```mermaid\n")[1].split("\n```")[0]
    assert figure == lifecycle.mermaid(), "print lambdad.invoke.lifecycle.mermaid() into it"
