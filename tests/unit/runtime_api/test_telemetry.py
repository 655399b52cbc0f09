import json
from types import SimpleNamespace

import pytest
import pytest_asyncio

from lambdad.invoke.extensions import Extensions
from lambdad.invoke.runtime_state import Refused
from lambdad.invoke.subscription import Api
from lambdad.model import limits

pytestmark = pytest.mark.asyncio

TELEMETRY, LOGS = "/2022-07-01/telemetry", "/2020-08-15/logs"
NOBODY = "6e4a3ae5-6a6f-4f7c-9f0d-5a9a0c0b1d2e"
WANTED = {
    "schemaVersion": "2022-12-13",
    "types": ["platform"],
    "destination": {"protocol": "HTTP", "URI": "http://sandbox.localdomain:4323/x"},
}
VALID = {
    TELEMETRY: json.dumps(WANTED).encode(),
    LOGS: json.dumps({**WANTED, "schemaVersion": "2021-03-18"}).encode(),
}


class FakeEnvironment:
    """What the handlers ask of an environment; its extensions are real."""

    def __init__(self):
        self.extensions = Extensions(lambda: None)
        self.function = SimpleNamespace(max_concurrency=None)
        self.snap_start = False
        self.subscribed, self.refusal = [], None

    def subscribe(self, extension, subscription):
        if self.refusal is not None:
            raise self.refusal
        self.subscribed.append((extension.name, subscription))


@pytest_asyncio.fixture
async def environment():
    return FakeEnvironment()


@pytest.fixture
def subscribe(ask, environment):
    """Ask as an extension that has registered; or as another one."""
    registered = environment.extensions.register("inner", []).identifier

    async def asked(path=TELEMETRY, body=None, identifier=registered):
        headers = {} if identifier is None else {"Lambda_Extension_Identifier": identifier}
        return await ask("PUT", path, VALID[path] if body is None else body, **headers)

    return asked


def told(answer):
    assert answer.headers["Content-Type"] == "application/json"
    return answer.status, json.loads(answer.body)


@pytest.mark.parametrize(("path", "asked"), [(TELEMETRY, Api.TELEMETRY), (LOGS, Api.LOGS)])
async def test_a_subscription_is_passed_on_and_answered_ok(subscribe, environment, path, asked):
    answer = await subscribe(path)
    assert (answer.status, answer.body) == (200, b'"OK"')
    assert answer.headers["Content-Type"] == "application/json"
    ((name, subscription),) = environment.subscribed
    assert (name, subscription.api, subscription.types) == ("inner", asked, {"platform"})
    assert (subscription.destination.port, subscription.destination.path) == (4323, "/x")


async def test_the_slash_that_examples_have_does_no_harm(ask, environment):
    headers = {"Lambda_Extension_Identifier": environment.extensions.register("x", []).identifier}
    assert (await ask("PUT", TELEMETRY + "/", VALID[TELEMETRY], **headers)).status == 200


@pytest.mark.parametrize("path", [TELEMETRY, LOGS])
@pytest.mark.parametrize(
    ("identifier", "error_type", "message"),
    [
        (
            None,
            "Extension.MissingExtensionIdentifier",
            "Missing Lambda-Extension-Identifier header",
        ),
        ("me", "Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier"),
        (NOBODY, "Extension.UnknownExtensionIdentifier", f"Unknown extension {NOBODY}"),
    ],
)
async def test_only_extensions_subscribe(subscribe, path, identifier, error_type, message):
    answer = await subscribe(path, identifier=identifier)
    assert told(answer) == (403, {"errorMessage": message, "errorType": error_type})


@pytest.mark.parametrize(
    ("path", "error_type"), [(TELEMETRY, "ValidationError"), (LOGS, "Logs.ValidationError")]
)
async def test_all_that_is_wrong_is_said_in_one_text(subscribe, environment, path, error_type):
    destination = {"protocol": "HTTP", "URI": "http://sandbox.localdomain"}
    wrong = {**json.loads(VALID[path]), "types": [], "destination": destination}
    answer = await subscribe(path, json.dumps(wrong).encode())
    assert answer.status == 400
    assert answer.body == (
        b'{"errorType":"' + error_type.encode() + b'",'
        b'"errorMessage":"URI port is not provided; types should not be empty"}'
    )
    assert environment.subscribed == []


@pytest.mark.parametrize("body", [b"{", b"null", b"[" * 100_000])
async def test_a_body_that_is_no_object_is_wrong(subscribe, body):
    status, said = told(await subscribe(body=body))
    assert (status, said["errorType"]) == (400, "ValidationError")


async def test_a_body_has_a_bound(subscribe, environment):
    body = b" " * limits.extension_json_bytes_max + VALID[TELEMETRY]
    status, said = told(await subscribe(body=body))
    assert (status, said["errorType"]) == (400, "ValidationError")
    assert environment.subscribed == []


async def test_what_the_environment_refuses_is_refused(subscribe, environment):
    text = "Telemetry API subscription is closed already"
    environment.refusal = Refused(403, "Telemetry.SubscriptionClosed", text)
    answer = await subscribe()
    assert answer.status == 403
    assert answer.body == (
        b'{"errorMessage":"Telemetry API subscription is closed already",'
        b'"errorType":"Telemetry.SubscriptionClosed"}\n'
    )


@pytest.mark.parametrize("path", [TELEMETRY, TELEMETRY + "/", LOGS])
async def test_where_extensions_are_disabled_there_is_no_such_path(ask, environment, path):
    environment.extensions = None
    answer = await ask("PUT", path, b"{}")
    assert (answer.status, answer.body) == (404, b"404 page not found\n")


async def test_managed_instances_have_one_schema_and_no_logs_api(subscribe, environment):
    environment.function.max_concurrency = 16
    assert (await subscribe(LOGS)).status == 404
    assert (await subscribe()).status == 400
    body = json.dumps({**WANTED, "schemaVersion": "2025-01-29"}).encode()
    assert (await subscribe(body=body)).status == 200


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("path", [TELEMETRY, LOGS])
async def test_there_is_one_method(ask, path, method):
    assert (await ask(method, path, b"")).status == 405
