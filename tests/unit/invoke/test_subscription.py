import json

import pytest

from lambdad.invoke.subscription import Api, Destination, Invalid, Protocol, parse

URI = "http://sandbox.localdomain:4323"
TELEMETRY = {
    "schemaVersion": "2022-12-13",
    "types": ["platform", "function"],
    "destination": {"protocol": "HTTP", "URI": URI},
}
LOGS = {"types": ["platform"], "destination": {"protocol": "HTTP", "URI": URI}}


def telemetry(**changed):
    return parse(Api.TELEMETRY, json.dumps({**TELEMETRY, **changed}).encode())


def logs(**changed):
    return parse(Api.LOGS, json.dumps({**LOGS, **changed}).encode())


def http(uri, **members):
    return {"protocol": "HTTP", "URI": uri, **members}


def wrong(ask, **changed):
    with pytest.raises(Invalid) as refused:
        ask(**changed)
    return str(refused.value)


def test_what_is_not_said_is_as_documented():
    subscription = telemetry()
    assert subscription.types == {"platform", "function"}
    assert (subscription.max_items, subscription.max_bytes) == (10_000, 262_144)
    assert subscription.timeout_s == 1
    assert subscription.destination == Destination(
        Protocol.HTTP, 4323, host="sandbox.localdomain", path="/", method="POST"
    )


def test_what_is_said_counts():
    buffering = {"maxItems": 1000, "maxBytes": 1_048_576, "timeoutMs": 25, "other": "ignored"}
    subscription = telemetry(buffering=buffering)
    assert subscription.max_items == 1000
    assert subscription.max_bytes == 1_048_576
    assert subscription.timeout_s == 0.025


@pytest.mark.parametrize("schema", ["2022-07-01", "2022-12-13", "2025-01-29"])
def test_the_telemetry_api_has_three_schemas(schema):
    assert telemetry(schemaVersion=schema).schema == schema


def test_the_logs_api_has_a_schema_of_its_own_and_a_default():
    assert logs().schema == "2020-08-15"
    assert logs(schemaVersion="2021-03-18").schema == "2021-03-18"
    assert "schemaVersion" in wrong(logs, schemaVersion="2022-07-01")


@pytest.mark.parametrize("schema", [None, "", "2020-08-15", 20220701, ["2022-07-01"], {}])
def test_the_telemetry_api_wants_to_be_told_the_schema(schema):
    assert "schemaVersion" in wrong(telemetry, schemaVersion=schema)


def test_managed_instances_know_one_schema():
    body = json.dumps({**TELEMETRY, "schemaVersion": "2025-01-29"}).encode()
    assert parse(Api.TELEMETRY, body, managed=True).schema == "2025-01-29"
    with pytest.raises(Invalid, match="schemaVersion should be one of 2025-01-29"):
        parse(Api.TELEMETRY, json.dumps(TELEMETRY).encode(), managed=True)


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        (URI, "/"),
        (URI + "/", "/"),
        (URI + "/a/b%20c?d=e", "/a/b%20c?d=e"),
        (URI + "?d=e", "/?d=e"),
        ("HTTP://Sandbox:4323/x", "/x"),
    ],
)
def test_the_path_of_a_uri_is_kept_as_it_stands(uri, path):
    destination = telemetry(destination=http(uri)).destination
    assert (destination.port, destination.path) == (4323, path)


@pytest.mark.parametrize(
    "uri",
    [
        "http://127.0.0.1:4323",
        "http://169.254.169.254:80/latest/meta-data",
        "http://sandbox.localdomain.example.com:4323",
        "http://sandbox@example.com:4323",
        "http://sandbox:pass@sandbox:4323",
        "http://[::1]:4323",
        "https://sandbox:4323",
        "unix://sandbox:4323",
        "//sandbox:4323",
        "sandbox:4323",
        "http://sandbox:4323/ HTTP/1.1\r\nHost: other",
        "http://sandbox:4323/a b",
        "http://sandbox:4323/\u00fc",
        "http://sandbox:4323/\u017f\u212a",
        "http://sandbox:4323#fragment",
        "http://sandbox:\u0664\u0663",
        "http://sandbox:4323\\@example.com",
        "http://sandbox:4323/" + "a" * 9000,
        "",
        None,
        4323,
    ],
)
def test_a_uri_that_leads_elsewhere_or_nowhere_is_refused(uri):
    assert "URI" in wrong(telemetry, destination=http(uri))


@pytest.mark.parametrize("uri", ["http://sandbox", "http://sandbox/", "http://sandbox:/x"])
def test_a_uri_needs_a_port(uri):
    assert wrong(telemetry, destination=http(uri)) == "URI port is not provided"


@pytest.mark.parametrize("port", [0, 65_536, 10**40, 9001])
def test_a_port_is_a_port_and_not_the_runtime_apis(port):
    assert "port" in wrong(telemetry, destination=http(f"http://sandbox:{port}"))
    assert "port" in wrong(telemetry, destination={"protocol": "TCP", "port": port})


def test_tcp_needs_nothing_but_a_port():
    destination = telemetry(destination={"protocol": "TCP", "port": 4323}).destination
    assert (destination.protocol, destination.port) == (Protocol.TCP, 4323)


@pytest.mark.parametrize("port", [None, "4323", 4323.0, True, -1])
def test_a_tcp_port_is_an_integer(port):
    assert "port" in wrong(telemetry, destination={"protocol": "TCP", "port": port})


@pytest.mark.parametrize("destination", [None, [], "HTTP", {}, {"protocol": "UDP", "port": 4323}])
def test_a_destination_has_one_of_two_protocols(destination):
    assert "destination" in wrong(telemetry, destination=destination)


def test_the_logs_api_may_be_told_the_method():
    assert logs(destination=http(URI, method="PUT", encoding="JSON")).destination.method == "PUT"
    assert logs(destination=http(URI)).destination.method == "POST"
    assert "method" in wrong(logs, destination=http(URI, method="GET"))
    assert "encoding" in wrong(logs, destination=http(URI, encoding="XML"))


@pytest.mark.parametrize("types", [None, []])
def test_types_are_not_empty(types):
    assert wrong(telemetry, types=types) == "types should not be empty"


@pytest.mark.parametrize("types", ["platform", ["platform", "other"], [["platform"]], {"a": 1}])
def test_types_are_known(types):
    assert "types should be a list of" in wrong(telemetry, types=types)


@pytest.mark.parametrize(
    ("key", "least", "most"),
    [("maxBytes", 262_144, 1_048_576), ("maxItems", 1000, 10_000), ("timeoutMs", 25, 30_000)],
)
def test_buffering_has_bounds(key, least, most):
    for number in (least, most):
        telemetry(buffering={key: number})
    for number in (least - 1, most + 1, str(least), float(least), True, [], 10**400):
        assert f"buffering.{key}" in wrong(telemetry, buffering={key: number})


def test_buffering_is_an_object():
    assert wrong(telemetry, buffering=[1]) == "buffering should be an object"


def test_everything_that_is_wrong_is_said_at_once():
    text = wrong(telemetry, types=[], destination=http("http://sandbox"))
    assert text == "URI port is not provided; types should not be empty"


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"[]", b"null", b'"OK"'])
def test_a_body_is_a_json_object(body):
    with pytest.raises(Invalid, match="Request body"):
        parse(Api.TELEMETRY, body)
