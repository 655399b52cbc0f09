import pytest

from lambdad.invoke import runtime_state
from lambdad.invoke.runtime_state import Call, Refused, RuntimeState, after

# The columns of runtime-protocol 1.1, then the end of a body; what is not here is refused.
ALLOWED = {
    ("Started", "Ready"): "Ready",
    ("Started", "InitError"): "InitError",
    ("Ready", "Ready"): "Ready",
    ("Running", "Ready"): "Running",
    ("Running", "InvocationResponse"): "InvocationResponse",
    ("Running", "InvocationErrorResponse"): "InvocationErrorResponse",
    ("InvocationResponse", "RuntimeResponseSentState"): "RuntimeResponseSentState",
    ("InvocationErrorResponse", "RuntimeResponseSentState"): "RuntimeResponseSentState",
    ("RuntimeResponseSentState", "Ready"): "Ready",
    ("Started", "RestoreReady"): "RestoreReady",
    ("RestoreReady", "Restoring"): "Restoring",
    ("Restoring", "Ready"): "Ready",
    ("Restoring", "InitError"): "RuntimeRestoreErrorState",
    ("Restoring", "RuntimeRestoreErrorState"): "RuntimeRestoreErrorState",
}


@pytest.mark.parametrize("call", Call)
@pytest.mark.parametrize("state", RuntimeState)
def test_a_call_is_allowed_or_refused_by_the_names_of_both_states(state, call):
    target = ALLOWED.get((str(state), str(call)))
    if target is not None:
        assert after(state, call) == target
        return
    with pytest.raises(Refused) as caught:
        after(state, call)
    assert (caught.value.status, caught.value.error_type) == (403, "InvalidStateTransition")
    assert caught.value.message == (
        f"State transition from {state} to {call} failed for runtime. "
        "Error: State transition is not allowed"
    )


def test_the_text_of_a_refusal_is_the_services():
    with pytest.raises(Refused) as caught:
        after(RuntimeState.RESPONSE_SENT, Call.ERROR)
    assert caught.value.message == (
        "State transition from RuntimeResponseSentState to InvocationErrorResponse failed for "
        "runtime. Error: State transition is not allowed"
    )


def test_every_state_stands_in_the_table():
    assert set(runtime_state.TRANSITIONS) == set(RuntimeState)


@pytest.mark.parametrize("state", [RuntimeState.INIT_ERROR, RuntimeState.RESTORE_ERROR])
def test_after_a_failed_start_nothing_is_allowed(state):
    assert runtime_state.TRANSITIONS[state] == {}


def test_a_wrong_id_is_a_bad_request():
    refused = runtime_state.wrong_request_id()
    assert (refused.status, refused.error_type) == (400, "InvalidRequestID")
    assert refused.message == "Invalid request ID"
