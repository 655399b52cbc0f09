from functools import partial

import pytest

from lambdad.invoke import environ

CREDENTIALS = environ.Credentials("ASIA1", "secret", "session", "token")


@pytest.fixture
def of(new_function):
    """The variables of a function with these values, as one of the two kinds of process has."""

    def make(kind, init_type="on-demand", **values):
        function = new_function(**{"runtime": "python3.12", **values})
        place = environ.Place(
            region="eu-west-1",
            log_stream="2026/11/21/[$LATEST]0",
            runtime_api="169.254.100.1:9001",
            init_type=init_type,
            credentials=CREDENTIALS,
        )
        return kind(function, place)

    return make


@pytest.fixture
def environment_of(of):
    return partial(of, environ.of_runtime)


PYTHON = {
    "_HANDLER": "app.handler",
    "AWS_ACCESS_KEY_ID": "ASIA1",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "session",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_FUNCTION_NAME": "fn",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/fn",
    "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/21/[$LATEST]0",
    "AWS_LAMBDA_METADATA_API": "169.254.100.1:9001",
    "AWS_LAMBDA_METADATA_TOKEN": "token",
    "AWS_LAMBDA_RUNTIME_API": "169.254.100.1:9001",
    "AWS_REGION": "eu-west-1",
    "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
    "AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1:2000",
    "LAMBDA_RUNTIME_DIR": "/var/runtime",
    "LAMBDA_TASK_ROOT": "/var/task",
    "LANG": "en_US.UTF-8",
    "LC_CTYPE": "C.UTF-8",
    "LD_LIBRARY_PATH": (
        "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:"
        "/opt/lib"
    ),
    "PATH": "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin",
    "PWD": "/var/task",
    "PYTHONPATH": "/var/runtime",
    "TZ": ":UTC",
    "_AWS_XRAY_DAEMON_ADDRESS": "169.254.100.1",
    "_AWS_XRAY_DAEMON_PORT": "2000",
    "_LAMBDA_TELEMETRY_LOG_FD": "62",
}


def test_a_managed_runtime_sees_these_variables_and_no_others(environment_of):
    assert environment_of() == PYTHON


def test_an_os_only_runtime_sees_nothing_of_pythons(environment_of):
    python_only = {
        "AWS_EXECUTION_ENV", "LC_CTYPE", "PWD", "PYTHONPATH", "_LAMBDA_TELEMETRY_LOG_FD",
    }  # fmt: skip
    wanted = {name: value for name, value in PYTHON.items() if name not in python_only}
    assert environment_of(runtime="provided.al2023") == wanted


def test_the_customer_replaces_what_is_not_reserved(environment_of):
    mine = {"TZ": "Asia/Tokyo", "PATH": "/opt/mine", "PYTHONPATH": "/var/task/lib", "A": "b"}
    seen = environment_of(environment=mine)
    assert {name: seen[name] for name in mine} == mine


@pytest.mark.parametrize("name", sorted(environ.RESERVED & PYTHON.keys()))
def test_nobody_replaces_what_is_reserved(environment_of, name):
    assert environment_of(environment={name: "mine"})[name] == PYTHON[name]


def test_what_the_platform_sets_for_a_managed_runtime_is_reserved_or_replaceable():
    replaceable = {
        "AWS_XRAY_CONTEXT_MISSING", "AWS_XRAY_DAEMON_ADDRESS", "LANG", "LC_CTYPE",
        "LD_LIBRARY_PATH", "PATH", "PWD", "PYTHONPATH", "TZ",
    }  # fmt: skip
    # No customer can give a variable whose name begins with an underscore.
    closed = {name for name in PYTHON if name.startswith("_")}
    assert PYTHON.keys() - replaceable - closed <= environ.RESERVED


def test_no_trace_is_set_before_there_is_an_event(environment_of):
    assert "_X_AMZN_TRACE_ID" not in environment_of()
    assert "_X_AMZN_TRACE_ID" in environ.RESERVED


def test_values_survive_as_they_are(environment_of):
    odd = {"A": "x=y", "B": "two\nlines", "C": "", "D": "ü"}
    seen = environment_of(environment=odd)
    assert {name: seen[name] for name in odd} == odd


def test_a_log_group_of_ones_own_is_named(environment_of):
    assert environment_of(log_group="/mine")["AWS_LAMBDA_LOG_GROUP_NAME"] == "/mine"


def test_a_json_log_has_a_format_and_a_level(environment_of):
    seen = environment_of(log_format="JSON", application_log_level="DEBUG")
    assert (seen["AWS_LAMBDA_LOG_FORMAT"], seen["AWS_LAMBDA_LOG_LEVEL"]) == ("JSON", "DEBUG")
    assert environment_of(log_format="JSON")["AWS_LAMBDA_LOG_LEVEL"] == "INFO"


def test_a_function_without_a_handler_has_an_empty_one(environment_of):
    assert environment_of(runtime="provided.al2023", handler=None)["_HANDLER"] == ""


def test_what_is_in_a_snapshot_asks_for_its_credentials(environment_of):
    seen = environment_of("snap-start", version="1")
    absent = {
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
    }  # fmt: skip
    assert not absent & seen.keys()
    assert seen["AWS_LAMBDA_INITIALIZATION_TYPE"] == "snap-start"
    assert seen["AWS_CONTAINER_CREDENTIALS_FULL_URI"] == (
        "http://169.254.100.1:9001/2021-04-23/credentials"
    )
    assert seen["AWS_CONTAINER_AUTHORIZATION_TOKEN"] == "token"


def test_libraries_of_a_snapshot_start_no_threads_unless_the_customer_wants_them(environment_of):
    libraries = {
        f"{name}_NUM_THREADS": "1" for name in ("OPENBLAS", "OMP", "MKL", "NUMEXPR")
    }  # fmt: skip
    assert libraries.items() <= environment_of("snap-start", version="1").items()
    wanted = environment_of("snap-start", environment={"OMP_NUM_THREADS": "4"})
    assert wanted["OMP_NUM_THREADS"] == "4"
    assert not libraries.keys() & environment_of().keys()
    assert not libraries.keys() & environment_of("snap-start", runtime="provided.al2023").keys()


def test_who_runs_several_events_at_a_time_knows_how_many(environment_of):
    assert environment_of(max_concurrency=8)["AWS_LAMBDA_MAX_CONCURRENCY"] == "8"


def test_an_extension_lacks_what_is_the_runtimes(of):
    lacking = {
        "AWS_EXECUTION_ENV", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_XRAY_CONTEXT_MISSING", "AWS_XRAY_DAEMON_ADDRESS", "LAMBDA_RUNTIME_DIR",
        "LAMBDA_TASK_ROOT", "_AWS_XRAY_DAEMON_ADDRESS", "_AWS_XRAY_DAEMON_PORT", "_HANDLER",
        "_LAMBDA_TELEMETRY_LOG_FD",
    }  # fmt: skip
    seen = of(environ.of_extension, environment={"A": "b"})
    assert seen == {**{n: v for n, v in PYTHON.items() if n not in lacking}, "A": "b"}


def test_no_two_environments_have_the_same_credentials():
    one, other = environ.Credentials.make(), environ.Credentials.make()
    assert not set(one.variables().values()) & set(other.variables().values())
    assert one.token != other.token
    assert [len(value) for value in one.variables().values()] == [20, 40, 64]
    assert one.record(0) == {
        "AccessKeyId": one.access_key_id,
        "SecretAccessKey": one.secret_access_key,
        "Token": one.session_token,
        "Expiration": "1970-01-01T06:00:00.000Z",
    }
