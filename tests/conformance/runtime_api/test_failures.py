"""What goes wrong in the runtime: checks 77 to 83, 89 and 98."""

from __future__ import annotations

import signal

import pytest
from conformance.runtime_api.players import SHORT_S, wall
from scenario.program import PATIENCE


def told(answer, error_type, text):
    """What the invoker of a failure gets, always with 200."""
    assert (answer.status, answer.error) == (200, "Unhandled")
    said = f'{{"errorType":"{error_type}","errorMessage":"RequestId: {answer.request_id} '
    return answer.body == f'{said}Error: {text}"}}'.encode()


@pytest.fixture
def begun(stage):
    """A function, its runtime at an event, and what the invoker will get."""

    def started(**settings):
        show = stage(**settings)
        invoked = show.invoke()
        runtime = show.runtime()
        runtime.next()
        return show, runtime, invoked

    return started


def test_077_a_timeout_is_told_when_it_has_passed(stage):
    show = stage(Timeout=SHORT_S)
    invoked = show.invoke()
    event = show.runtime().next()
    answer = invoked.result()
    assert told(answer, "Sandbox.Timedout", f"Task timed out after {SHORT_S}.00 seconds")
    assert wall() >= int(event.headers["Lambda-Runtime-Deadline-Ms"]) / 1000 - 0.002


def test_078_after_a_timeout_all_begins_anew_but_for_tmp(stage):
    show = stage("watcher", Timeout=SHORT_S)
    invoked = show.invoke()
    watcher = show.extension("watcher")
    watcher.register("INVOKE", "SHUTDOWN")
    runtime = show.runtime()
    waiting = runtime.poll()
    watcher.next()
    heard = watcher.poll()
    waiting.result()
    runtime.ask("write", path="/tmp/kept", text="kept")
    event = heard.result().json
    assert (event["eventType"], event["shutdownReason"]) == ("SHUTDOWN", "timeout")
    watcher.puppet.let_go()
    assert invoked.result().error == "Unhandled"
    runtime.gone.result()
    invoked = show.invoke()
    again = show.extension("watcher")
    assert again.register("INVOKE").status == 200
    assert again.identifier != watcher.identifier
    after = show.runtime()
    assert after.pid != runtime.pid
    assert after.ask("read", path="/tmp/kept") == "kept"
    waiting = after.poll()
    again.next()
    after.respond(waiting.result(), b'"anew"')
    after.poll()
    again.poll()
    assert invoked.result().body == b'"anew"'


def test_079_an_exit_without_a_status_has_no_reason(begun):
    _, runtime, invoked = begun()
    runtime.tell("exit", status=0)
    text = "Runtime exited without providing a reason"
    assert told(invoked.result(), "Runtime.ExitError", text)


def test_080_a_status_and_a_signal_are_told(begun):
    _, runtime, invoked = begun()
    runtime.tell("exit", status=3)
    text = "Runtime exited with error: exit status 3"
    assert told(invoked.result(), "Runtime.ExitError", text)
    _, runtime, invoked = begun()
    runtime.tell("die", number=signal.SIGSEGV)
    text = "Runtime exited with error: signal: segmentation fault"
    assert told(invoked.result(), "Runtime.ExitError", text)


def test_081_out_of_memory_is_killed_for_the_invoker_and_named_in_the_report(begun):
    _, runtime, invoked = begun(MemorySize=128, Timeout=30 * PATIENCE)
    runtime.tell("hoard", mb=300)
    answer = invoked.result()
    assert told(answer, "Runtime.ExitError", "Runtime exited with error: signal: killed")
    assert answer.lines[-1].endswith("\tStatus: error\tError Type: Runtime.OutOfMemory")


@pytest.mark.slow
def test_082_an_init_that_takes_too_long_runs_again_within_the_invoke(stage, messages):
    show = stage(Timeout=30 * PATIENCE)
    invoked = show.invoke()
    slow = show.runtime()
    assert slow.gone.result() - slow.at >= 9
    runtime = show.runtime()
    assert runtime.respond(runtime.next(), b'"well"').status == 202
    runtime.poll()
    answer = invoked.result()
    assert (answer.error, answer.body) == (None, b'"well"')
    assert "Init Duration" not in answer.lines[-1]
    said = messages(show.name, "REPORT RequestId")
    (report,) = [line for line in said if line.startswith("INIT_REPORT ")]
    assert report.rstrip("\n").endswith(" ms\tPhase: init\tStatus: timeout")


def test_083_an_init_that_fails_runs_twice(stage):
    show = stage()
    invoked = show.invoke()
    for _ in ("init", "invoke"):
        show.runtime().tell("exit", status=1)
    text = "Runtime exited with error: exit status 1"
    assert told(invoked.result(), "Runtime.ExitError", text)
    assert show.began() == 2


def test_089_without_a_bootstrap_both_places_are_named(daemon, deploy):
    name = deploy({"app.sh": ""}, Runtime="provided.al2023", Handler="any.handler")
    text = "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"
    assert told(daemon.invoke(name), "Runtime.InvalidEntrypoint", text)


def test_098_who_has_answered_may_end(stage):
    show = stage()
    invoked = show.invoke()
    runtime = show.runtime()
    runtime.respond(runtime.next(), b'"kept"')
    runtime.tell("exit", status=1)
    answer = invoked.result()
    assert (answer.error, answer.body) == (None, b'"kept"')
    assert answer.lines[-1].endswith("\tStatus: error\tError Type: Runtime.ExitError")
    runtime.gone.result()
    invoked = show.invoke()
    runtime = show.runtime()
    runtime.respond(runtime.next(), b'"anew"')
    runtime.poll()
    assert invoked.result().body == b'"anew"'
