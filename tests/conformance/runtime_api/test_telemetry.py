"""What is told, and when: checks 69 to 73, 75 and 76 of Telemetry and Logs.

What is said of an invoke at its end is delivered during the next one: nothing is while the
environment is frozen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from conformance.runtime_api.players import (
    QUICK,
    SHORT_S,
    Extension,
    Pending,
    Reply,
    Runtime,
    Sink,
)
from conformance.runtime_api.stage import Stage


@pytest.fixture
def subscribed(stage):
    """A function with an extension that is told what the platform says; both at the first event."""

    def begun(api="telemetry", protocol="HTTP", buffering=QUICK, **settings):
        show = stage("watcher", **settings)
        invoked = show.invoke()
        watcher = show.extension("watcher")
        watcher.register("INVOKE", "SHUTDOWN")
        sink = watcher.puppet.sink(4243, protocol)
        reply = watcher.subscribe(sink, "platform", api=api, buffering=buffering)
        assert reply.status == 200
        runtime = show.runtime()
        waiting = runtime.poll()
        watcher.next()
        return Play(show, runtime, watcher, sink, waiting.result(), invoked)

    return begun


@dataclass
class Play:
    """A function, its runtime and the extension that watches it, from event to event."""

    show: Stage
    runtime: Runtime
    watcher: Extension
    sink: Sink
    event: Reply
    invoked: Pending

    def end(self):
        """Both are back; what the extension will hear next."""
        self.waiting, self.heard = self.runtime.poll(), self.watcher.poll()
        self.invoked.result()
        return self.heard

    def again(self):
        """The next event."""
        self.invoked = self.show.invoke()
        self.event = self.waiting.result()
        self.heard.result()

    def respond(self):
        self.runtime.respond(self.event)
        self.end()


def test_069_who_subscribes_late_in_init_hears_of_its_beginning(stage):
    show = stage("watcher")
    show.invoke()
    watcher = show.extension("watcher")
    watcher.register("INVOKE")
    sink = watcher.puppet.sink(4243)
    runtime = show.runtime()
    runtime.poll_and_be_heard()
    assert watcher.subscribe(sink, "platform").status == 200
    watcher.poll()
    (record,) = sink.wait("platform.initStart")
    assert sink.types[0] == "platform.initStart"
    assert record["initializationType"] == "on-demand"
    assert record["phase"] == "init"
    assert (record["functionName"], record["functionVersion"]) == (show.name, "$LATEST")


def test_070_events_come_as_an_array_by_http_and_as_lines_by_tcp(subscribed):
    time = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
    for protocol, begins in (("HTTP", "["), ("TCP", "{")):
        sink = subscribed(protocol=protocol).sink
        sink.wait("platform.start")
        for request in sink.requests:
            assert request["body"].startswith(begins)
        if protocol == "HTTP":
            assert {request["first"] for request in sink.requests} == {"POST /told HTTP/1.1"}
            assert ["Content-Type", "application/json"] in sink.requests[0]["headers"]
        else:
            assert all(request["body"].endswith("}\n") for request in sink.requests)
        for event in sink.events:
            assert list(event) == ["time", "type", "record"]
            assert time.fullmatch(event["time"])


def test_071_a_cold_start_is_told_in_order(subscribed):
    play = subscribed()
    request_id = play.event.request_id
    play.respond()
    play.again()
    play.sink.wait("platform.report")
    types = [kind.removeprefix("platform.") for kind in play.sink.types]
    assert types.index("initStart") < types.index("telemetrySubscription")
    types.remove("telemetrySubscription")
    assert types[: types.index("report") + 1] == [
        "initStart",
        "initRuntimeDone",
        "extension",
        "initReport",
        "start",
        "runtimeDone",
        "report",
    ]
    for kind in ("start", "runtimeDone", "report"):
        assert play.sink.records(f"platform.{kind}")[0]["requestId"] == request_id
    (extension,) = play.sink.records("platform.extension")
    events = extension.pop("events")
    assert sorted(events) == ["INVOKE", "SHUTDOWN"]
    assert extension == {"name": "watcher", "state": "Ready"}


def test_072_a_handled_error_is_a_success_and_a_crash_is_not(subscribed):
    play = subscribed()
    play.runtime.fail(play.event, b'{"errorType": "E"}')
    play.end()
    play.again()
    (done,) = play.sink.wait("platform.runtimeDone")
    assert done["status"] == "success"
    assert "errorType" not in done
    play.runtime.tell("exit", status=1)
    done = play.sink.wait("platform.runtimeDone", 2)[1]
    assert (done["status"], done["errorType"]) == ("error", "Runtime.ExitError")


def test_072_a_timeout_is_a_status_of_its_own(subscribed):
    play = subscribed(Timeout=SHORT_S)
    (done,) = play.sink.wait("platform.runtimeDone")
    assert done["requestId"] == play.event.request_id
    assert done["status"] == "timeout"
    assert "errorType" not in done


def test_073_init_is_reported_with_the_first_invoke_only(subscribed):
    play = subscribed()
    for _ in range(2):
        play.respond()
        play.again()
    first, second = (each["metrics"] for each in play.sink.wait("platform.report", 2))
    assert first["initDurationMs"] > 0
    assert "initDurationMs" not in second
    for metrics in (first, second):
        assert metrics["durationMs"] > 0
        assert type(metrics["billedDurationMs"]) is int
        assert metrics["memorySizeMB"] == 1769
        assert metrics["maxMemoryUsedMB"] > 0


def test_075_the_end_is_told_by_logs_and_not_by_telemetry(subscribed):
    for api, ends in (("logs", 1), ("telemetry", 0)):
        play = subscribed(api=api)
        play.respond()
        play.again()
        play.sink.wait("platform.report")
        assert play.sink.types.count("platform.end") == ends


def test_076_the_last_report_is_delivered_before_all_is_over(subscribed):
    play = subscribed(buffering={"timeoutMs": 30_000})  # It is not the time that brings it.
    play.runtime.respond(play.event)
    heard = play.end()
    play.show.spin_down()
    assert heard.result().json["eventType"] == "SHUTDOWN"
    (report,) = play.sink.wait("platform.report")
    assert report["requestId"] == play.event.request_id
    play.watcher.puppet.let_go()
