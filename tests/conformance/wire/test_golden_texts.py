"""Messages recorded from the service, word for word, from the request to the text."""

import json

import pytest

from lambdad.api.wire import model as wire_model
from lambdad.api.wire import parse, route, validate

ROLE = r"arn:(aws[a-zA-Z-]*)?:iam::\d{12}:role/?[a-zA-Z_0-9+=,.@\-_/]+"
PREFIX = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?"
    r"(\d{12}:)?(function:)?"
)
CREATED_NAME = PREFIX + r"([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
NAME = PREFIX + r"([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
QUALIFIER = r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"
URL_QUALIFIER = r"((?!^\d+$)^[0-9a-zA-Z-_]+$)"
PATTERN = "Member must satisfy regular expression pattern: "
NAMES_NOTHING = [
    "*",
    "my-function!",
    "arn:aws:lambda:eu-west-1:12345:function:fn",
    "arn:aws:lambda:mars:123456789012:function:fn",
    "arn:aws:s3:eu-west-1:123456789012:function:fn",
    "fn:1:2",
    "function:fn:$LATEST:extra",
    "arn:aws:lambda:eu-west-1::function:fn",
]


@pytest.fixture(scope="session")
def answer():
    """Send a request through router, parser and validator; the text of its complaint."""
    router = route.Router(wire_model.load())

    def send(method, path, document=None, query=()):
        operation, labels = router.match(method, path, query)
        body = b"" if document is None else json.dumps(document).encode()
        found = validate.violations(operation, parse.parse(operation, labels, query, {}, body))
        return validate.message(found) if found else None

    return send


@pytest.fixture(scope="session")
def create(answer):
    """The complaint about CreateFunction with one thing wrong."""

    def send(**members):
        good = {"FunctionName": "fn", "Role": "arn:aws:iam::123456789012:role/r", "Code": {}}
        return answer("POST", "/2015-03-31/functions", good | members)

    return send


def one(value, path, constraint):
    return (
        f"1 validation error detected: Value '{value}' at '{path}' "
        f"failed to satisfy constraint: {constraint}"
    )


def test_a_malformed_role(create):
    assert create(Role="r1") == one("r1", "role", PATTERN + ROLE)


def test_two_architectures(create):
    assert create(Architectures=["x86_64", "arm64"]) == one(
        "[x86_64, arm64]", "architectures", "Member must have length less than or equal to 1"
    )


def test_an_unknown_architecture(create):
    assert create(Architectures=["X86_64"]) == one(
        "[X86_64]",
        "architectures",
        "Member must satisfy constraint: "
        "[Member must satisfy enum value set: [x86_64, arm64], Member must not be null]",
    )


def test_an_unknown_snap_start_value(create):
    assert create(SnapStart={"ApplyOn": "x"}) == one(
        "x", "snapStart.applyOn", "Member must satisfy enum value set: [PublishedVersions, None]"
    )


@pytest.mark.parametrize("name", NAMES_NOTHING)
def test_a_bad_name_is_created(create, name):
    assert create(FunctionName=name) == one(name, "functionName", PATTERN + CREATED_NAME)


@pytest.mark.parametrize("name", NAMES_NOTHING)
@pytest.mark.parametrize(
    ("method", "tail"), [("GET", ""), ("DELETE", ""), ("POST", "/invocations")]
)
def test_a_bad_name_is_asked_for(answer, method, tail, name):
    assert answer(method, f"/2015-03-31/functions/{name}{tail}") == one(
        name, "functionName", PATTERN + NAME
    )


@pytest.mark.parametrize(
    "name",
    [
        "fn",
        "fn:live",
        "function:fn",
        "123456789012:function:fn:$LATEST",
        "arn:aws:lambda:eu-west-1:123456789012:function:fn:1",
        "arn:aws:lambda:eu-west-1:123456789012:function",
        "n" * 65,
    ],
)
def test_every_spelling_of_a_function_is_accepted(create, answer, name):
    assert create(FunctionName=name) is None
    assert answer("GET", f"/2015-03-31/functions/{name}") is None


def test_a_long_name_is_bounded_only_on_create(create, answer):
    name = "n" * 141
    assert create(FunctionName=name) == one(
        name, "functionName", "Member must have length less than or equal to 140"
    )
    assert answer("GET", f"/2015-03-31/functions/{'n' * 233}") is None


def test_a_long_name_of_the_wrong_letters_breaks_two_constraints(create):
    text = create(FunctionName="!" * 141)
    assert text == (
        f"2 validation errors detected: Value '{'!' * 141}' at 'functionName' failed to satisfy "
        f"constraint: Member must have length less than or equal to 140; Value '{'!' * 141}' at "
        f"'functionName' failed to satisfy constraint: {PATTERN}{CREATED_NAME}"
    )


def test_a_qualifier_of_the_wrong_letters(answer):
    query = [("Qualifier", "a!")]
    assert answer("GET", "/2015-03-31/functions/fn", query=query) == one(
        "a!", "qualifier", PATTERN + QUALIFIER
    )


def test_a_qualifier_of_129_characters(answer):
    query = [("Qualifier", "q" * 129)]
    assert answer("GET", "/2015-03-31/functions/fn", query=query) == one(
        "q" * 129, "qualifier", "Member must have length less than or equal to 128"
    )


@pytest.mark.parametrize("qualifier", ["1", "$LATEST"])
def test_a_function_url_has_no_version(answer, qualifier):
    query = [("Qualifier", qualifier)]
    assert answer("GET", "/2021-10-31/functions/fn/url", query=query) == one(
        qualifier, "qualifier", PATTERN + URL_QUALIFIER
    )


@pytest.mark.parametrize(("name", "fine"), [("2024", False), ("2024-01-02", True)])
def test_an_alias_is_no_number(answer, name, fine):
    document = {"Name": name, "FunctionVersion": "1"}
    text = answer("POST", "/2015-03-31/functions/fn/aliases", document)
    assert text == (None if fine else one(name, "name", PATTERN + r"(?!^[0-9]+$)([a-zA-Z0-9-_]+)"))


def test_an_unknown_kind_of_destination(answer):
    document = {"DestinationConfig": {"OnFailure": {"Destination": "nowhere"}}}
    text = answer("PUT", "/2019-09-25/functions/fn/event-invoke-config", document)
    assert text.startswith(
        "1 validation error detected: Value 'nowhere' at 'destinationConfig.onFailure.destination' "
        f"failed to satisfy constraint: {PATTERN}$|kafka://"
    )


@pytest.mark.parametrize(
    "resource",
    [
        "fn",
        "arn:aws:lambda:eu-west-1:123456789012:event-source-mapping:1",
        "arn:aws:lambda:eu-west-1:123456789012:network-connector:n",
    ],
)
def test_a_resource_that_cannot_be_tagged(answer, resource):
    text = answer("GET", f"/2017-03-31/tags/{resource}")
    assert text.startswith(f"1 validation error detected: Value '{resource}' at 'resource' failed")
    assert r"|layer:([a-zA-Z0-9-_]+)|code-signing-config:csc-[a-z0-9]{17}|" in text


def test_no_provisioned_concurrency(answer):
    query = [("Qualifier", "1")]
    path = "/2019-09-30/functions/fn/provisioned-concurrency"
    assert answer("PUT", path, {"ProvisionedConcurrentExecutions": 0}, query) == one(
        "0", "provisionedConcurrentExecutions", "Member must have value greater than or equal to 1"
    )


def test_another_action_on_a_layer(answer):
    document = {"StatementId": "s", "Principal": "*", "Action": "*"}
    assert answer("POST", "/2018-10-31/layers/l/versions/1/policy", document) == one(
        "*", "action", PATTERN + "lambda:GetLayerVersion"
    )
