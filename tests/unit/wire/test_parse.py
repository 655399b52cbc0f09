import base64
import datetime as dt
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdad.api.wire import model as wire_model
from lambdad.api.wire import parse as wire_parse
from lambdad.api.wire import validate

BOUNDED = settings(max_examples=150, derandomize=True, deadline=None, database=None)
MODEL = wire_model.load()


def parse(operation, body=b"", *, labels=None, query=(), headers=None):
    shape = MODEL.operations[operation]
    labels = labels or {member.wire_name: "x" for member in shape.input.labels}
    return wire_parse.parse(shape, labels, query, headers or {}, body)


def refusal(*args, **kwargs):
    with pytest.raises(wire_parse.Unparsable) as caught:
        parse(*args, **kwargs)
    return caught.value


def test_members_come_from_label_query_header_and_payload():
    found = parse(
        "Invoke",
        b"\x00\xff",
        labels={"FunctionName": "fn"},
        query=[("Qualifier", "live"), ("Unknown", "1")],
        headers={"x-amz-log-type": "Tail", "x-other": "1"},
    )
    assert found == {
        "FunctionName": "fn",
        "Qualifier": "live",
        "LogType": "Tail",
        "Payload": b"\x00\xff",
    }


def test_members_of_a_json_body_are_typed():
    body = b"""{"FunctionName":"fn","Timeout":5,"Publish":true,"Code":{"ZipFile":"UEs="},
               "Tags":{"a":"b"},"Layers":["l"],"Environment":{"Variables":{"AB":"\xc3\xbc"}}}"""
    assert parse("CreateFunction", body) == {
        "FunctionName": "fn",
        "Timeout": 5,
        "Publish": True,
        "Code": {"ZipFile": b"PK"},
        "Tags": {"a": "b"},
        "Layers": ["l"],
        "Environment": {"Variables": {"AB": "ü"}},
    }


def test_unknown_members_are_passed_over():
    assert parse("CreateFunction", b'{"Nonsense":[[1]],"FunctionName":"fn"}') == {
        "FunctionName": "fn"
    }


def test_null_is_absent_but_in_lists_and_maps():
    assert parse("CreateFunction", b'{"Role":null,"Layers":[null],"Tags":{"a":null}}') == {
        "Layers": [None],
        "Tags": {"a": None},
    }


@pytest.mark.parametrize("body", [b"", b"null", b"{}", b" {} "])
def test_an_empty_body_gives_no_members(body):
    assert parse("CreateFunction", body) == {}


@pytest.mark.parametrize("body", [b"", b"null"])
def test_an_empty_structure_payload_is_absent(body):
    assert parse("StopDurableExecution", body) == {"DurableExecutionArn": "x"}


def test_no_payload_is_absent():
    assert "Payload" not in parse("Invoke", b"")


def test_an_operation_without_a_body_ignores_one():
    assert parse("GetFunction", b"\xff not json") == {"FunctionName": "x"}


def test_a_list_in_the_query_collects_its_values():
    query = [("tagKeys", "a"), ("other", "x"), ("tagKeys", "b")]
    assert parse("UntagResource", query=query)["TagKeys"] == ["a", "b"]


def test_of_two_values_in_the_query_the_first_counts():
    assert parse("ListFunctions", query=[("MaxItems", "1"), ("MaxItems", "2")]) == {"MaxItems": 1}


def test_timestamps_are_read_by_location():
    moment = dt.datetime(2026, 11, 21, 9, 30, tzinfo=dt.UTC)
    query = [("StartedAfter", "2026-11-21T09:30:00Z"), ("ReverseOrder", "true")]
    found = parse("ListDurableExecutionsByFunction", query=query)
    assert (found["StartedAfter"], found["ReverseOrder"]) == (moment, True)
    body = b'{"StartingPositionTimestamp":1795253400}'
    assert parse("CreateEventSourceMapping", body) == {"StartingPositionTimestamp": moment}


def test_a_double_is_a_float_even_when_whole():
    body = b'{"RoutingConfig":{"AdditionalVersionWeights":{"2":1}}}'
    weight = parse("CreateAlias", body)["RoutingConfig"]["AdditionalVersionWeights"]["2"]
    assert isinstance(weight, float)


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"{]",
        b"nonsense",
        b"{'a':1}",
        b"\xff\xfe{\x00}\x00",
        b'{"Timeout":NaN}',
        b'{"Timeout":-Infinity}',
        b'{"FunctionName":"\xff"}',
        b'\xef\xbb\xbf{"FunctionName":"fn"}',
        pytest.param(b"[" * 200_000, id="deep list"),
        pytest.param(b'{"a":' * 200_000, id="deep object"),
        pytest.param(b'{"Timeout":' + b"9" * 5_000 + b"}", id="long number"),
    ],
)
def test_malformed_json_is_refused_with_the_words_of_the_service(body):
    refused = refusal("CreateFunction", body)
    assert refused.code == "InvalidRequestContentException"
    assert refused.message.startswith("Could not parse request body into json: ")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"[]", "Start of list found where not expected"),
        (b'"text"', "Expected map or null"),
        (b'{"Tags":[]}', "Start of list found where not expected"),
        (b'{"Tags":1}', "Expected map or null"),
        (b'{"Tags":{"a":1}}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"Layers":"l"}', "Expected list or null"),
        (b'{"Layers":{}}', "Start of structure or map found where not expected"),
        (b'{"Layers":[["l"]]}', "Start of list found where not expected"),
        (b'{"Role":{}}', "Start of structure or map found where not expected"),
        (b'{"Role":5}', "NUMBER_VALUE can not be converted to a String"),
        (b'{"Role":false}', "FALSE_VALUE can not be converted to a String"),
        (b'{"Role":"\\ud800"}', "STRING_VALUE holds half of a surrogate pair"),
        (b'{"Tags":{"\\ud800":"a"}}', "STRING_VALUE holds half of a surrogate pair"),
        (b'{"Timeout":"5"}', "STRING_VALUE can not be converted to an Integer"),
        (b'{"Timeout":5.5}', "NUMBER_VALUE can not be converted to an Integer"),
        (b'{"Timeout":true}', "TRUE_VALUE can not be converted to an Integer"),
        (b'{"Timeout":2147483648}', "NUMBER_VALUE can not be converted to an Integer"),
        (b'{"Timeout":1e999}', "NUMBER_VALUE can not be converted to an Integer"),
        (b'{"Publish":"true"}', "STRING_VALUE can not be converted to a Boolean"),
        (b'{"Publish":0}', "NUMBER_VALUE can not be converted to a Boolean"),
        (b'{"Code":{"ZipFile":"?"}}', "STRING_VALUE can not be converted to a Blob"),
        (b'{"Code":{"ZipFile":"UE"}}', "STRING_VALUE can not be converted to a Blob"),
        (b'{"Code":{"ZipFile":"\xc3\xbc"}}', "STRING_VALUE can not be converted to a Blob"),
        (b'{"Code":{"ZipFile":5}}', "NUMBER_VALUE can not be converted to a Blob"),
    ],
)
def test_a_value_of_another_type_is_a_serialization_exception(body, message):
    refused = refusal("CreateFunction", body)
    assert (refused.code, refused.message) == ("SerializationException", message)


@pytest.mark.parametrize("weight", [b"true", b'"1"', b"1e999", b"9" * 400])
def test_a_double_is_a_finite_number(weight):
    body = b'{"RoutingConfig":{"AdditionalVersionWeights":{"2":' + weight + b"}}}"
    assert refusal("CreateAlias", body).code == "SerializationException"


@pytest.mark.parametrize("moment", [b'"2026-11-21T09:30:00Z"', b"1e15", b"true"])
def test_a_timestamp_in_a_body_is_a_number_within_the_calendar(moment):
    body = b'{"StartingPositionTimestamp":' + moment + b"}"
    assert refusal("CreateEventSourceMapping", body).code == "SerializationException"


@pytest.mark.parametrize("text", ["", "many", " 1", "1_0", "1.0", "٣", "99999999999", "9" * 5_000])
def test_a_bad_number_in_the_query_is_refused(text):
    assert refusal("ListFunctions", query=[("MaxItems", text)]).code == "SerializationException"


@pytest.mark.parametrize("text", ["zero", "1e3", str(2**63)])
def test_a_bad_number_in_a_label_is_refused(text):
    labels = {"LayerName": "l", "VersionNumber": text}
    assert refusal("GetLayerVersion", labels=labels).code == "SerializationException"


@pytest.mark.parametrize(("name", "text"), [("ReverseOrder", "True"), ("StartedAfter", "soon")])
def test_a_bad_flag_or_date_in_the_query_is_refused(name, text):
    refused = refusal("ListDurableExecutionsByFunction", query=[(name, text)])
    assert refused.code == "SerializationException"


def test_a_header_that_utf_8_cannot_hold_is_refused():
    refused = refusal(
        "Invoke", headers={"x-amz-tenant-id": b"\xff".decode("utf-8", "surrogateescape")}
    )
    assert refused.code == "SerializationException"


def fed(operation, body, query=()):
    """Parse and, where that succeeds, validate: neither may raise anything of its own."""
    try:
        found = parse(operation, body, query=query)
    except wire_parse.Unparsable:
        return
    validate.violations(MODEL.operations[operation], found)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@BOUNDED
@given(st.binary(max_size=200))
def test_random_bytes_are_parsed_or_refused(body):
    fed("CreateFunction", body)


@BOUNDED
@given(st.sampled_from(sorted(MODEL.operations)), st.data())
def test_random_documents_of_known_members_are_parsed_or_refused(operation, data):
    members = sorted(MODEL.operations[operation].input.structure.members)
    keys = st.sampled_from(members) if members else st.text()
    document = data.draw(st.dictionaries(keys, JSON))
    query = data.draw(st.lists(st.tuples(keys, st.text())))
    fed(operation, json.dumps(document).encode(), query)


@BOUNDED
@given(st.binary())
def test_a_blob_comes_back_from_its_base64(blob):
    body = b'{"Code":{"ZipFile":"' + base64.b64encode(blob) + b'"}}'
    assert parse("CreateFunction", body) == {"Code": {"ZipFile": blob}}
