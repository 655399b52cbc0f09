"""How environments end: checks 84 to 88."""

from __future__ import annotations

import signal

import pytest
from conformance.runtime_api.players import SHORT_S, WAIT_S_MAX, Extension
from scenario.program import EMULATED, PATIENCE


@pytest.fixture
def idle(stage):
    """A function, its runtime, its extensions, and what they will hear next: all have been at
    their first event and are back.
    """

    def played(events, ends=True):
        show = stage(*events)
        invoked = show.invoke()
        extensions = [show.extension(name) for name in events]
        for extension in extensions:
            extension.register(*events[extension.name])
        runtime = show.runtime()
        runtime.catch(signal.SIGTERM, ends=ends)
        waiting = runtime.poll()
        heard = [extension.poll() for extension in extensions]
        for number, extension in enumerate(extensions):
            if "INVOKE" in events[extension.name]:
                heard[number].result()
                heard[number] = extension.poll()
        runtime.respond(waiting.result())
        runtime.poll()
        invoked.result()
        return show, runtime, extensions, heard

    return played


def caught(runtime):
    return runtime.caught.get(timeout=WAIT_S_MAX)


def test_084_without_extensions_there_is_no_warning(idle):
    show, runtime, _, _ = idle({})
    show.spin_down()
    runtime.gone.result()
    assert runtime.caught.empty()


def test_084_an_internal_extension_has_the_runtime_warned(stage):
    show = stage()
    invoked = show.invoke()
    runtime = show.runtime()
    inner = Extension(runtime, "inner")
    inner.register("INVOKE")
    runtime.catch(signal.SIGTERM, ends=False)
    waiting = runtime.poll()
    inner.next()
    runtime.respond(waiting.result())
    runtime.poll()
    inner.poll()
    invoked.result()
    show.spin_down()
    warned_at = caught(runtime)["at"]
    assert runtime.gone.result() - warned_at >= 0.4


@pytest.mark.parametrize("ends", [True, False], ids=["ends", "stays"])
def test_085_the_runtime_ends_before_its_extensions_hear_of_it(idle, ends):
    show, runtime, (watcher,), (heard,) = idle({"watcher": ["INVOKE", "SHUTDOWN"]}, ends=ends)
    show.spin_down()
    warned_at = caught(runtime)["at"]
    event = heard.result()
    assert event.json["eventType"] == "SHUTDOWN"
    assert event.at - warned_at >= (0 if ends else 0.25)
    runtime.gone.result()
    watcher.puppet.let_go()


def test_086_an_extension_that_stays_is_killed_when_two_seconds_are_over(idle):
    show, runtime, (watcher,), (heard,) = idle({"watcher": ["SHUTDOWN"]})
    show.spin_down()
    warned_at = caught(runtime)["at"]
    event = heard.result()
    left_s = event.json["deadlineMs"] / 1000 - event.wall
    assert left_s <= 2 - (event.at - warned_at) + 0.1
    assert watcher.puppet.gone.result() - warned_at >= 1.9


@pytest.mark.skipif(EMULATED, reason="two seconds are too short for an emulated machine")
def test_086_one_that_ignores_its_shutdown_costs_the_others_nothing_and_two_seconds_in_all(idle):
    """The whole end as a trace: who hears what, in the order of the documentation, in time."""
    events = {"deaf": ["INVOKE", "SHUTDOWN"], "tidy": ["INVOKE", "SHUTDOWN"]}
    show, runtime, (deaf, tidy), (unheeded, heard) = idle(events, ends=True)
    show.spin_down()
    trace = [
        (caught(runtime)["at"], "runtime", "SIGTERM"),
        (runtime.gone.result(), "runtime", "ended"),
        (heard.result().at, "tidy", heard.result().json["eventType"]),
        (unheeded.result().at, "deaf", unheeded.result().json["eventType"]),
    ]
    tidy.puppet.tell("exit", status=0)
    trace += [
        (tidy.puppet.gone.result(), "tidy", "ended"),
        (deaf.puppet.gone.result(), "deaf", "killed"),
    ]
    begun_at = trace[0][0]
    shown = [f"{at - begun_at:6.3f} s  {who:8}{what}" for at, who, what in sorted(trace)]
    print("\n".join(shown))  # noqa: T201  the trace is what is to be seen
    order = [(who, what) for _, who, what in sorted(trace)]
    assert order[:2] == [("runtime", "SIGTERM"), ("runtime", "ended")], shown
    assert set(order[2:4]) == {("tidy", "SHUTDOWN"), ("deaf", "SHUTDOWN")}, shown
    assert order[4:] == [("tidy", "ended"), ("deaf", "killed")], shown
    assert trace[-1][0] - begun_at < 2.5, shown


@pytest.mark.skipif(EMULATED, reason="two seconds are too short for an emulated machine")
def test_087_an_extension_that_wants_no_word_of_it_is_killed_at_once(idle):
    events = {"deaf": ["INVOKE"], "watcher": ["INVOKE", "SHUTDOWN"]}
    show, _, (deaf, watcher), (unheard, heard) = idle(events)
    show.spin_down()
    assert heard.result().json["eventType"] == "SHUTDOWN"
    deaf.puppet.gone.result()
    watcher.puppet.ask("facts")  # It is still there.
    with pytest.raises(ConnectionError):
        unheard.result()
    watcher.puppet.let_go()


@pytest.mark.parametrize("reason", ["spindown", "timeout", "failure"])
def test_088_the_reason_is_told(stage, reason):
    show = stage("watcher", Timeout=SHORT_S if reason == "timeout" else 30 * PATIENCE)
    show.invoke()
    watcher = show.extension("watcher")
    watcher.register("SHUTDOWN")
    runtime = show.runtime()
    waiting, heard = runtime.poll(), watcher.poll()
    delivered = waiting.result()
    if reason == "failure":
        runtime.tell("exit", status=1)
    elif reason == "spindown":
        runtime.respond(delivered)
        runtime.poll()
        show.spin_down()
    told = heard.result()
    deadline_ms = told.json["deadlineMs"]
    assert len(str(deadline_ms)) == 13
    event = {"eventType": "SHUTDOWN", "deadlineMs": deadline_ms, "shutdownReason": reason}
    assert told.json == event
    assert told.headers["Content-Type"] == "application/json"
    watcher.puppet.let_go()
