import errno

import pytest

from lambdad.invoke import extension_state
from lambdad.invoke.extension_state import (
    EventType,
    ExtensionCall,
    ExtensionState,
    after,
    fatal_type,
    identifier,
    launch_error_type,
    subscriptions,
)
from lambdad.invoke.runtime_state import Refused

UUID = "6e4a3ae5-6a6f-4f7c-9f0d-5a9a0c0b1d2e"

# The columns of runtime-protocol 2.2; what is not here is refused.
ALLOWED = {
    ("Started", "Registered"): "Registered",
    ("Registered", "Ready"): "Ready",
    ("Registered", "InitError"): "InitError",
    ("Registered", "ExitError"): "ExitError",
    ("Ready", "ExitError"): "ExitError",
    ("Running", "Ready"): "Ready",
    ("Running", "ExitError"): "ExitError",
    ("InitError", "InitError"): "InitError",
    ("ExitError", "ExitError"): "ExitError",
}


def refusal(function, *arguments, **options):
    with pytest.raises(Refused) as caught:
        function(*arguments, **options)
    return caught.value.status, caught.value.error_type, caught.value.message


@pytest.mark.parametrize("call", ExtensionCall)
@pytest.mark.parametrize("state", ExtensionState)
def test_a_call_is_allowed_or_refused_by_the_names_of_both_states(state, call):
    target = ALLOWED.get((str(state), str(call)))
    if target is not None:
        assert after(state, call, UUID) == target
        return
    assert refusal(after, state, call, UUID) == (
        403,
        "Extension.InvalidExtensionState",
        (
            f"State transition from {state} to {call} failed for extension {UUID}. "
            "Error: State transition is not allowed"
        ),
    )


def test_every_state_stands_in_the_table():
    assert set(extension_state.TRANSITIONS) == set(ExtensionState)


# --- subscriptions ------------------------------------------------------------------------


def test_events_are_kept_in_the_order_of_the_extension_each_once():
    wanted = subscriptions(["SHUTDOWN", "INVOKE", "SHUTDOWN"], external=True)
    assert wanted == (EventType.SHUTDOWN, EventType.INVOKE)


@pytest.mark.parametrize("external", [True, False])
@pytest.mark.parametrize("managed", [True, False])
def test_no_event_is_always_allowed(external, managed):
    assert subscriptions([], external=external, managed=managed) == ()


@pytest.mark.parametrize("external", [True, False])
@pytest.mark.parametrize("name", ["FOO", "invoke", "", "INVOKE "])
def test_there_are_no_other_events_and_their_case_counts(name, external):
    assert refusal(subscriptions, ["INVOKE", name], external=external) == (
        403,
        "Extension.InvalidEventType",
        f"{name}: ErrorInvalidEventType",
    )


def test_shutdown_is_for_external_extensions_only():
    assert refusal(subscriptions, ["SHUTDOWN"], external=False) == (
        403,
        "Extension.InvalidEventType",
        "SHUTDOWN: ShutdownEventNotSupportedForInternalExtension",
    )


def test_where_events_run_side_by_side_extensions_hear_of_the_shutdown_only():
    assert subscriptions(["SHUTDOWN"], external=True, managed=True) == (EventType.SHUTDOWN,)
    assert refusal(subscriptions, ["INVOKE"], external=True, managed=True) == (
        403,
        "Extension.InvalidEventType",
        "INVOKE: ErrorInvalidEventType",
    )


@pytest.mark.parametrize("name", ["INVOKE", "SHUTDOWN", "FOO"])
def test_where_events_run_side_by_side_internal_extensions_hear_of_none(name):
    assert refusal(subscriptions, [name], external=False, managed=True) == (
        403,
        "Extension.InvalidEventType",
        "No events allowed for internal extensions",
    )


# --- identifiers and refusals -----------------------------------------------------------------


def test_an_identifier_is_a_uuid_in_either_case():
    assert identifier(UUID) == identifier(UUID.upper()) == UUID


def test_no_identifier_is_told_from_a_wrong_one():
    assert refusal(identifier, "") == (
        403,
        "Extension.MissingExtensionIdentifier",
        "Missing Lambda-Extension-Identifier header",
    )


@pytest.mark.parametrize(
    "header",
    ["none", UUID[:-1], UUID + "0", UUID.replace("-", "_"), "\udcff", UUID + "\n", "٣" * 36],
)
def test_what_is_no_uuid_is_invalid(header):
    assert refusal(identifier, header) == (
        403,
        "Extension.InvalidExtensionIdentifier",
        "Invalid Lambda-Extension-Identifier",
    )


@pytest.mark.parametrize(
    ("refused", "error_type", "message"),
    [
        (
            extension_state.unknown(UUID),
            "UnknownExtensionIdentifier",
            f"Unknown extension {UUID}",
        ),
        (
            extension_state.unknown_failing(),
            "UnknownExtensionIdentifier",
            "Unknown Lambda-Extension-Identifier",
        ),
        (extension_state.no_name(), "InvalidExtensionName", "Empty extension name"),
        (
            extension_state.no_error_type(),
            "MissingHeader",
            "Lambda-Extension-Function-Error-Type not found",
        ),
        (
            extension_state.name_taken(),
            "InvalidExtensionState",
            "Extension with this name already registered",
        ),
        (extension_state.closed(), "RegistrationClosed", "Extension registration closed already"),
        (extension_state.too_many(), "TooManyExtensions", "Extension limit (10) reached"),
    ],
)
def test_refusals_are_worded_as_the_service_words_them(refused, error_type, message):
    told = (refused.status, refused.error_type, refused.message)
    assert told == (403, f"Extension.{error_type}", message)


# --- error types ------------------------------------------------------------------------------


@pytest.mark.parametrize("call", [ExtensionCall.INIT_ERROR, ExtensionCall.EXIT_ERROR])
def test_the_error_type_of_a_failure_is_the_platforms(call):
    assert fatal_type(call, "Extension.OwnReason") == f"Extension.{call}"


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("Extension.OwnReason", "Extension.OwnReason"),
        ("Extension.ownReason", "Extension.InitError"),
        ("Extension.Own1", "Extension.InitError"),
        ("OwnReason", "Extension.InitError"),
    ],
)
def test_where_events_run_side_by_side_it_is_the_extensions_own_if_well_formed(said, kept):
    assert fatal_type(ExtensionCall.INIT_ERROR, said, managed=True) == kept


def test_a_file_that_may_not_be_executed_is_told_from_one_that_cannot():
    assert launch_error_type(errno.EACCES) == "PermissionDenied"
    assert launch_error_type(errno.ENOENT) == "UnknownError"
    assert launch_error_type(errno.ENOEXEC) == "UnknownError"
