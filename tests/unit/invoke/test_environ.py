import pytest

from lambdad.invoke import environ


@pytest.fixture
def environment_of(new_function):
    """The variables of a function with these values."""

    def make(**values):
        function = new_function(**{"runtime": "python3.12", **values})
        return environ.of_runtime(
            function,
            version="$LATEST",
            region="eu-west-1",
            log_stream="2026/11/21/[$LATEST]0",
            runtime_api="169.254.100.1:9001",
        )

    return make


PYTHON = {
    "_HANDLER": "app.handler",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_FUNCTION_NAME": "fn",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/fn",
    "AWS_LAMBDA_LOG_STREAM_NAME": "2026/11/21/[$LATEST]0",
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
}


def test_a_managed_runtime_sees_these_variables_and_no_others(environment_of):
    assert environment_of() == PYTHON


def test_an_os_only_runtime_sees_nothing_of_pythons(environment_of):
    python_only = {"AWS_EXECUTION_ENV", "LC_CTYPE", "PWD", "PYTHONPATH"}
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
