"""botocore writes requests and reads answers; we read the requests and write the answers."""

import io
from urllib.parse import parse_qsl, unquote, urlencode

import pytest
from botocore.awsrequest import HeadersDict
from botocore.loaders import Loader
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from lambdad.api.wire import model as wire_model
from lambdad.api.wire import parse, render, route

MODEL = wire_model.load()
# The answers that are event streams.
STREAMED = ["InvokeWithResponseStream"]


@pytest.fixture(scope="module")
def router(model):
    return route.Router(model)


@pytest.fixture(scope="module")
def written():
    """What botocore sends: method, raw path, query, headers in lower case and body."""
    serializer = create_serializer("rest-json", include_validation=False)

    def write(operation, params):
        request = serializer.serialize_to_request(params, operation)
        path, _, constants = request["url_path"].partition("?")
        encoded = urlencode(request["query_string"], doseq=True)
        query = parse_qsl(f"{constants}&{encoded}", keep_blank_values=True)
        headers = {name.lower(): value for name, value in request["headers"].items()}
        body = request["body"] if isinstance(request["body"], bytes) else request["body"].encode()
        return request["method"], path, query, headers, body

    return write


@pytest.fixture(scope="module")
def read_by_botocore():
    return create_parser("rest-json").parse


def as_response(answer):
    """An answer as botocore gets it from its HTTP client."""
    headers = HeadersDict(answer.headers)
    return {"status_code": answer.status, "headers": headers, "body": answer.body}


def test_the_operations_are_those_of_botocore(model, botocore_model):
    assert list(model.operations) == botocore_model.operation_names


def test_the_form_of_a_date_depends_on_its_place_alone():
    assert "timestampFormat" not in repr(Loader().load_service_model("lambda", "service-2"))


@pytest.mark.parametrize("name", sorted(MODEL.operations))
def test_a_request_of_botocore_is_read_as_it_was_meant(
    name, router, written, sample, botocore_model
):
    operation = botocore_model.operation_model(name)
    params = sample(operation.input_shape) if operation.input_shape else {}
    method, path, query, headers, body = written(operation, params)
    found = router.match(method, path, query)
    assert found.operation.name == name
    assert parse.parse(found.operation, found.labels, query, headers, body) == params


@pytest.mark.parametrize("name", sorted(set(MODEL.operations) - set(STREAMED)))
def test_an_answer_is_read_by_botocore_as_it_was_meant(
    name, model, sample, botocore_model, read_by_botocore
):
    operation = botocore_model.operation_model(name)
    shape = operation.output_shape
    result = sample(shape) if shape else {}
    for member, part in (shape.members if shape else {}).items():
        match part.serialization.get("location"):
            case "statusCode":
                result[member] = 200
            case "header":
                result[member] = "v"
    response = as_response(render.render(model.operations[name], result))
    if operation.has_streaming_output:
        response["body"] = io.BytesIO(response["body"])
    parsed = read_by_botocore(response, shape) if shape else {}
    parsed.pop("ResponseMetadata", None)
    if operation.has_streaming_output:
        parsed["Payload"] = parsed["Payload"].read()
    assert parsed == result


@pytest.mark.parametrize("code", sorted(MODEL.errors))
def test_every_error_is_recognised_by_botocore(code, model, botocore_model, read_by_botocore):
    shape = botocore_model.shape_for(code)
    members = {"Type": "User", "Reason": "why not", "retryAfterSeconds": "7"}
    given = {name: value for name, value in members.items() if name in shape.members}
    answer = as_response(render.render_error(model, code, "why", given))
    error = read_by_botocore(answer, None)["Error"]
    assert (error["Code"], error["Message"]) == (code, "why")
    assert given.items() <= read_by_botocore(answer, shape).items()
    assert answer["status_code"] == shape.metadata["error"]["httpStatusCode"]


@pytest.mark.parametrize("code", ["ValidationException", "SerializationException"])
def test_an_error_that_the_model_lacks_is_recognised_too(code, model, read_by_botocore):
    parsed = read_by_botocore(as_response(render.render_error(model, code, "why", {})), None)
    assert (parsed["Error"]["Code"], parsed["Error"]["Message"]) == (code, "why")


def test_labels_arrive_percent_encoded(written, botocore_model):
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:fn"
    operation = botocore_model.operation_model("GetFunction")
    _, path, *_ = written(operation, {"FunctionName": arn})
    assert "%3A" in path
    assert unquote(path).endswith(arn)
