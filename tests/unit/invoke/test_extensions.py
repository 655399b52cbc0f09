import asyncio
import errno
import signal

import pytest

from lambdad.invoke.extensions import Extensions, Fault, InvokeEvent, ShutdownEvent
from lambdad.invoke.runtime_state import Refused
from lambdad.invoke.shutdown import ShutdownReason

pytestmark = pytest.mark.asyncio

EVENT = InvokeEvent(1_795_253_403_123, "r-1", "arn:fn", "Root=1-0-0;Parent=0;Sampled=0")
END = ShutdownEvent(1_795_253_405_123, ShutdownReason.SPINDOWN)
BOTH = ("INVOKE", "SHUTDOWN")
NOBODY = "6e4a3ae5-6a6f-4f7c-9f0d-5a9a0c0b1d2e"


def exit_status(code):
    return code << 8


class Played(Extensions):
    """With shorter ways to say what these tests say often."""

    def __init__(self, **options):
        self.changes = 0
        super().__init__(self._count, **options)

    def _count(self):
        self.changes += 1

    def poll(self, extension, connected=lambda: True):
        return self.next_event(extension.identifier, connected)

    def ready(self, name="ext", events=BOTH, *, external=True):
        """One that waits for an event, and the poll it waits with."""
        if external:
            self.launched(name)
        extension = self.register(name, events)
        return extension, self.poll(extension)


@pytest.fixture
def extensions():
    return Played()


def refusal(function, *arguments):
    with pytest.raises(Refused) as caught:
        function(*arguments)
    assert caught.value.status == 403
    return caught.value.error_type.removeprefix("Extension."), caught.value.message


def state_refusal(before, target, who):
    return "InvalidExtensionState", (
        f"State transition from {before} to {target} failed for extension {who}. "
        "Error: State transition is not allowed"
    )


# --- registration -----------------------------------------------------------------------------


async def test_a_name_that_was_launched_is_external_and_any_other_internal(extensions):
    extensions.launched("a.sh")
    assert extensions.register("a.sh", BOTH).external
    assert not extensions.register("a", ["INVOKE"]).external
    assert extensions.any_external
    assert extensions.any_internal


async def test_all_are_registered_when_each_external_one_is(extensions):
    assert extensions.all_registered
    extensions.launched("a")
    extensions.launched("b")
    extensions.register("a", [])
    extensions.register("own", [])
    assert not extensions.all_registered
    extensions.register("b", [])
    assert extensions.all_registered
    assert extensions.changes == 3


async def test_identifiers_are_uuids_and_differ(extensions):
    first, second = extensions.register("a", []), extensions.register("b", [])
    assert first.identifier != second.identifier
    assert extensions.find(first.identifier.upper()) is first


async def test_who_registers_twice_is_refused_by_kind(extensions):
    extensions.launched("a")
    for name in ("a", "own"):
        extensions.register(name, [])
    assert refusal(extensions.register, "a", []) == state_refusal("Registered", "Registered", "a")
    told = "InvalidExtensionState", "Extension with this name already registered"
    assert refusal(extensions.register, "own", []) == told


async def test_a_registration_with_a_wrong_event_is_none(extensions):
    extensions.launched("a")
    assert refusal(extensions.register, "a", ["FOO"])[1] == "FOO: ErrorInvalidEventType"
    assert not extensions.all_registered
    assert refusal(extensions.register, "own", ["SHUTDOWN"])[0] == "InvalidEventType"
    assert not extensions.any_internal


async def test_after_the_runtimes_first_next_no_internal_one_may_come(extensions):
    extensions.close_registration()
    told = "RegistrationClosed", "Extension registration closed already"
    assert refusal(extensions.register, "own", []) == told


async def test_ten_extensions_are_the_limit_whichever_kind_they_are(extensions):
    for number in range(4):
        assert extensions.launched(f"external {number}")
    for number in range(6):
        extensions.register(f"internal {number}", [])
    told = "TooManyExtensions", "Extension limit (10) reached"
    assert refusal(extensions.register, "one more", []) == told
    assert len(extensions.all) == 10


async def test_an_eleventh_file_is_a_fault(extensions):
    assert all(extensions.launched(str(number)) for number in range(10))
    assert not extensions.launched("10")
    assert extensions.fault == Fault("Extension.LaunchError", "Extension limit (10) reached")
    assert extensions.all[-1].error_type == "TooManyExtensions"


# --- events -----------------------------------------------------------------------------------


async def test_each_has_to_be_ready_before_init_is_over_even_without_events(extensions):
    first, _ = extensions.ready("a", [])
    second = extensions.register("own", [])
    assert first.state == "Ready"
    assert not extensions.all_ready
    extensions.poll(second)
    assert extensions.all_ready


async def test_an_event_goes_to_its_subscribers_only(extensions):
    _, hears = extensions.ready("a", ["INVOKE"])
    deaf, waits = extensions.ready("b", ["SHUTDOWN"])
    _, inside = extensions.ready("own", ["INVOKE"], external=False)
    extensions.invoke(EVENT)
    assert await hears == await inside == EVENT
    assert not waits.done()
    assert deaf.state == "Ready"


async def test_an_event_is_over_when_all_that_heard_of_it_ask_for_the_next(extensions):
    first, _ = extensions.ready("a", ["INVOKE"])
    second, _ = extensions.ready("own", ["INVOKE"], external=False)
    extensions.ready("b", [])
    assert extensions.back
    extensions.invoke(EVENT)
    extensions.poll(first)
    assert not extensions.back
    before = extensions.changes
    extensions.poll(second)
    assert extensions.back
    assert extensions.changes == before + 1


async def test_a_second_poll_beside_the_first_is_refused(extensions):
    extension, waits = extensions.ready()
    uuid = extension.identifier
    assert refusal(extensions.poll, extension) == state_refusal("Ready", "Ready", uuid)
    extensions.invoke(EVENT)
    assert await waits == EVENT


async def test_a_poll_whose_client_is_gone_locks_nobody_out(extensions):
    extensions.launched("ext")
    extension = extensions.register("ext", BOTH)
    lost = extensions.poll(extension, connected=lambda: False)
    waits = extensions.poll(extension)
    assert lost.cancelled()
    extensions.invoke(EVENT)
    assert await waits == EVENT


async def test_a_poll_that_was_given_up_locks_nobody_out(extensions):
    extension, waits = extensions.ready()
    waits.cancel()
    extensions.invoke(EVENT)
    assert await extensions.poll(extension) == EVENT


async def test_an_event_that_found_no_client_is_there_for_the_next_poll(extensions):
    extensions.launched("ext")
    extension = extensions.register("ext", BOTH)
    lost = extensions.poll(extension, connected=lambda: False)
    extensions.invoke(EVENT)
    assert lost.cancelled()
    assert not extensions.back
    assert await extensions.poll(extension) == EVENT
    assert not extensions.back
    assert not extensions.poll(extension).done()
    assert extensions.back


async def test_the_shutdown_reaches_who_waits_at_once_and_others_with_their_next_poll(extensions):
    extensions.launched("late")
    late = extensions.register("late", ["SHUTDOWN"])
    _, waits = extensions.ready("a", ["SHUTDOWN"])
    busy, _ = extensions.ready("b", BOTH)
    extensions.invoke(EVENT)
    assert extensions.shutdown(END) == ()
    assert await waits == await extensions.poll(busy) == await extensions.poll(late) == END


async def test_who_did_not_subscribe_to_the_shutdown_is_to_be_killed(extensions):
    extensions.ready("a", BOTH)
    extensions.ready("b", ["INVOKE"])
    extensions.launched("never registered")
    extensions.launched("cannot run")
    extensions.failed_to_launch("cannot run", errno.EACCES)
    extensions.ready("c", [])
    extensions.exited("c", 0)
    extensions.ready("own", ["INVOKE"], external=False)
    assert extensions.shutdown(END) == ("b", "never registered")


async def test_who_hangs_up_cancels_every_poll(extensions):
    polls = [extensions.ready(name)[1] for name in "abc"]
    extensions.hang_up()
    assert all(poll.cancelled() for poll in polls)


# --- failures -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (0, "exit code 0"),
        (exit_status(3), "exit status 3"),
        (signal.SIGKILL, "signal: killed"),
        (signal.SIGSEGV | 0x80, "signal: segmentation fault (core dumped)"),
    ],
)
async def test_an_exit_is_a_fault_whatever_its_status(extensions, status, text):
    extensions.ready("ext")
    before = extensions.changes
    extensions.exited("ext", status)
    assert extensions.fault == Fault("Extension.Crash", text)
    assert extensions.changes == before + 1
    gates = (extensions.all_registered, extensions.all_ready, extensions.back)
    assert gates == (False, False, False)


async def test_an_init_error_takes_effect_with_the_exit(extensions):
    extensions.launched("ext")
    extension = extensions.register("ext", [])
    extensions.init_error(extension.identifier, "Extension.NoKey")
    assert extensions.fault is None
    assert extensions.fatal_type == "Extension.InitError"
    extensions.exited("ext", 0)
    assert extensions.fault == Fault("Extension.InitError", "exit code 0")
    assert (extension.state, extension.error_type) == ("InitError", "Extension.NoKey")


async def test_an_exit_error_takes_effect_with_the_exit(extensions):
    extension, _ = extensions.ready("ext")
    extensions.exit_error(extension.identifier, "Extension.Tired")
    assert not extensions.all_ready
    extensions.exited("ext", exit_status(1))
    assert extensions.fault == Fault("Extension.ExitError", "exit status 1")


async def test_the_first_word_stands(extensions):
    extension, _ = extensions.ready("a")
    extensions.ready("b")
    extensions.exit_error(extension.identifier, "First")
    extensions.exit_error(extension.identifier, "Second")
    extensions.exited("b", exit_status(2))
    extensions.exited("a", exit_status(1))
    assert extension.error_type == "First"
    assert extensions.fault == Fault("Extension.ExitError", "exit status 2")


async def test_after_an_error_the_extension_is_refused_everything_else(extensions):
    extension, waits = extensions.ready()
    uuid = extension.identifier
    extensions.exit_error(uuid, "X")
    told = state_refusal("ExitError", "Ready", uuid)
    assert refusal(extensions.poll, extension) == told
    told = state_refusal("ExitError", "InitError", uuid)
    assert refusal(extensions.init_error, uuid, "X") == told
    extensions.invoke(EVENT)
    assert not waits.done()


async def test_an_init_error_after_the_first_poll_is_refused(extensions):
    extension, _ = extensions.ready()
    uuid = extension.identifier
    assert refusal(extensions.init_error, uuid, "X") == state_refusal("Ready", "InitError", uuid)
    assert extensions.fatal_type is None


@pytest.mark.parametrize("call", ["init_error", "exit_error"])
async def test_an_error_without_a_type_is_refused_after_the_identifier_was_checked(
    extensions, call
):
    extension = extensions.register("own", [])
    report = getattr(extensions, call)
    assert refusal(report, "", "")[0] == "MissingExtensionIdentifier"
    assert refusal(report, "x", "")[0] == "InvalidExtensionIdentifier"
    told = "UnknownExtensionIdentifier", "Unknown Lambda-Extension-Identifier"
    assert refusal(report, NOBODY, "") == told
    told = "MissingHeader", "Lambda-Extension-Function-Error-Type not found"
    assert refusal(report, extension.identifier, "") == told
    assert extension.state == "Registered"


@pytest.mark.parametrize(
    ("number", "error_type", "text"),
    [
        (errno.EACCES, "PermissionDenied", "permission denied"),
        (errno.ENOENT, "UnknownError", "no such file or directory"),
    ],
)
async def test_a_file_that_cannot_be_executed_is_a_fault(extensions, number, error_type, text):
    extensions.launched("x")
    extensions.failed_to_launch("x", number)
    text = f"fork/exec /opt/extensions/x: {text}"
    assert extensions.fault == Fault("Extension.LaunchError", text)
    assert (extensions.all[0].state, extensions.all[0].error_type) == ("LaunchError", error_type)
    assert extensions.changes == 1
    assert not extensions.any_external


@pytest.mark.parametrize(("status", "state"), [(0, "Exited"), (9, "ShutdownFailed")])
async def test_an_exit_in_the_shutdown_is_no_fault(extensions, status, state):
    extension, _ = extensions.ready()
    extensions.shutdown(END)
    extensions.exited("ext", status)
    assert extension.state == state
    assert extensions.fault is None


async def test_a_reset_forgets_everything(extensions):
    extension, waits = extensions.ready()
    extensions.register("own", [])
    extensions.close_registration()
    extensions.exited("ext", 0)
    extensions.reset()
    assert waits.cancelled()
    assert (extensions.all, extensions.fault, extensions.fatal_type) == ((), None, None)
    told = "UnknownExtensionIdentifier", f"Unknown extension {extension.identifier}"
    assert refusal(extensions.find, extension.identifier) == told
    extensions.register("own", [])
    extensions.launched("ext")
    extensions.exited("ext", 0)
    assert extensions.fault is not None


# --- names, and environments with several events at a time --------------------------------------


async def test_names_of_any_bytes_become_text_for_logs(extensions):
    name = b"caf\xc3\xa9 \xff".decode(errors="surrogateescape")
    extensions.launched(name)
    extension = extensions.register(name, [])
    assert extension.external
    assert extension.shown_name == "café \N{REPLACEMENT CHARACTER}"
    assert len(extensions.register("x" * 5_000, []).shown_name) == 255


async def test_external_extensions_are_listed_before_internal_ones(extensions):
    extensions.register("own", [])
    for name in "ba":
        extensions.launched(name)
    assert [extension.name for extension in extensions.all] == ["b", "a", "own"]


async def test_where_events_run_side_by_side_the_error_type_is_the_extensions_own():
    extensions = Played(managed=True)
    extensions.launched("ext")
    extension = extensions.register("ext", ["SHUTDOWN"])
    assert refusal(extensions.register, "own", ["INVOKE"])[0] == "InvalidEventType"
    extensions.init_error(extension.identifier, "Extension.NoKey")
    extensions.exited("ext", 0)
    assert extensions.fault == Fault("Extension.NoKey", "exit code 0")


async def test_a_gate_may_open_into_the_next_event_at_once():
    """Whoever is told of the change may answer the very poll that made it."""
    released = []

    def changed():
        if extensions.all_ready and not released:
            released.append(True)
            extensions.invoke(EVENT)

    extensions = Extensions(changed)
    extension = extensions.register("own", ["INVOKE"])
    waiting = extensions.next_event(extension.identifier, lambda: True)
    assert await asyncio.wait_for(waiting, 5) == EVENT
