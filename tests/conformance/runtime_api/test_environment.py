"""What processes find and what is kept of what they say: checks 90 to 97."""

from __future__ import annotations

import math
import re

import pytest
from botocore.exceptions import ClientError

# What runtimes have and extensions have not (runtime-protocol 5.2).
NOT_FOR_EXTENSIONS = {
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
    "_AWS_XRAY_DAEMON_ADDRESS",
    "_AWS_XRAY_DAEMON_PORT",
    "_HANDLER",
}
AN_INVOKE = re.compile(
    r"REPORT RequestId: (\S+)\tDuration: (\d+\.\d\d) ms\tBilled Duration: (\d+) ms\t"
    r"Memory Size: 256 MB\tMax Memory Used: \d+ MB\t(?:Init Duration: (\d+\.\d\d) ms\t)?\n"
)


def refusal(pending):
    with pytest.raises(ClientError) as caught:
        pending.result()
    return caught.value.response


def test_090_a_runtime_finds_its_variables_and_its_place(stage):
    show = stage(MemorySize=256)
    show.invoke()
    runtime = show.runtime()
    facts = runtime.ask("facts")
    assert (facts["cwd"], facts["stdin"]) == ("/var/task", "")
    environ = facts["environ"]
    stream = environ.pop("AWS_LAMBDA_LOG_STREAM_NAME")
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", stream)
    for name in ("AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_METADATA_API"):
        assert re.fullmatch(r"[\d.]+:\d+", environ.pop(name))
    assert environ.pop("AWS_LAMBDA_METADATA_TOKEN")
    for secret in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        assert environ.pop(secret)
    lang = "/var/lang/lib:/lib64:/usr/lib64:"
    assert environ == {
        "_HANDLER": "any.handler",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_NAME": show.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "256",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{show.name}",
        "LAMBDA_TASK_ROOT": "/var/task",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "LANG": "en_US.UTF-8",
        "TZ": ":UTC",
        "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
        "LD_LIBRARY_PATH": f"{lang}/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1:2000",
        "_AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1",
        "_AWS_XRAY_DAEMON_PORT": "2000",
    }


def test_091_an_extension_lacks_the_variables_of_the_runtime(stage):
    show = stage("watcher", Environment={"Variables": {"OWN": "kept"}})
    show.invoke()
    watcher = show.extension("watcher")
    found = watcher.puppet.ask("facts")["environ"]
    watcher.register()
    of_runtime = show.runtime().ask("facts")["environ"]
    assert found == {
        name: value for name, value in of_runtime.items() if name not in NOT_FOR_EXTENSIONS
    }
    assert found["OWN"] == "kept"
    assert "AWS_SECRET_ACCESS_KEY" in found
    assert not [name for name in found if name.startswith("_")]


def test_092_a_variable_may_hold_an_equals_sign_and_a_newline(stage):
    value = "a=b\n=c\n"
    show = stage("watcher", Environment={"Variables": {"ODD": value}})
    show.invoke()
    watcher = show.extension("watcher")
    watcher.register()
    for puppet in (watcher.puppet, show.runtime()):
        assert puppet.ask("facts")["environ"]["ODD"] == value


def test_093_a_record_is_one_event_and_a_line_of_output_is_one(daemon, deploy, messages):
    source = """
    import logging, sys

    def handler(event, context):
        logging.getLogger().warning("one\\ntwo\\nthree")
        print("four\\nfive\\nsix", flush=True)
    """
    name = deploy(source)
    daemon.invoke(name)
    said = [message.rstrip("\n") for message in messages(name, "REPORT RequestId")]
    assert [message.partition("\tone")[2] for message in said if "one" in message] == [
        "\ntwo\nthree"
    ]
    for line in ("four", "five", "six"):
        assert said.count(line) == 1


def test_094_a_report_has_two_decimals_and_bills_what_has_begun(stage):
    show = stage(MemorySize=256)
    invoked = show.invoke()
    runtime = show.runtime()
    event = runtime.next()
    for cold in (True, False):
        runtime.respond(event)
        waiting = runtime.poll()
        answer = invoked.result()
        report = AN_INVOKE.fullmatch(answer.log.splitlines(keepends=True)[-1])
        request_id, duration_ms, billed_ms, init_ms = report.groups()
        assert request_id == answer.request_id
        assert (init_ms is not None) == cold
        took_ms = float(duration_ms) + float(init_ms or 0)
        # Both are rounded for the line, what is billed is not made of what stands there.
        assert math.ceil(took_ms - 0.011) <= int(billed_ms) <= math.ceil(took_ms + 0.011)
        invoked = show.invoke()
        event = waiting.result()


def test_095_the_tail_is_the_last_four_kib(stage):
    show = stage()
    invoked = show.invoke()
    runtime = show.runtime()
    event = runtime.next()
    runtime.respond(event)
    waiting = runtime.poll()
    lines = invoked.result().lines
    begins = [f"{word} RequestId: {event.request_id}" for word in ("START", "END", "REPORT")]
    assert [line.startswith(word) for line, word in zip(lines, begins, strict=True)] == [True] * 3
    invoked = show.invoke()
    event = waiting.result()
    runtime.ask("print", text="".join(f"line {number}\n" for number in range(1_000)))
    runtime.respond(event)
    runtime.poll()
    log = invoked.result().log
    assert len(log) == 4_096
    assert "START" not in log
    assert log.splitlines()[-1].startswith(f"REPORT RequestId: {event.request_id}")


def test_096_an_event_is_accepted_at_once(stage):
    show = stage()
    answer = show.invoke(b'"later"', InvocationType="Event").result()
    assert (answer.status, answer.body) == (202, b"")
    runtime = show.runtime()
    event = runtime.next()
    assert event.body == b'"later"'
    runtime.respond(event)
    runtime.poll()


def test_096_a_dry_run_runs_nothing_and_nonsense_is_refused(stage, daemon):
    show = stage()
    answer = show.invoke(InvocationType="DryRun").result()
    assert (answer.status, answer.body) == (204, b"")
    said = refusal(show.invoke(b"{nonsense"))
    assert said["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert said["Error"]["Code"] == "InvalidRequestContentException"
    begins = "Could not parse request body into json: Could not parse payload into json: "
    assert said["Error"]["Message"].startswith(begins)
    assert show.began() == 0
    with pytest.raises(ClientError) as caught:
        daemon.invoke("nobodys")
    said = caught.value.response
    assert said["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert said["Error"]["Code"] == "ResourceNotFoundException"
    assert re.fullmatch(
        r"Function not found: arn:aws:lambda:us-east-1:\d{12}:function:nobodys:\$LATEST",
        said["Error"]["Message"],
    )


def test_097_a_function_without_concurrency_is_throttled(stage):
    show = stage()
    show.client.put_function_concurrency(FunctionName=show.name, ReservedConcurrentExecutions=0)
    said = refusal(show.invoke())
    assert said["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert said["Error"]["Code"] == "TooManyRequestsException"
    assert said["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert int(said["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) >= 0
    assert show.began() == 0
