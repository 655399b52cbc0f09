import datetime as dt
import json

import pytest

from lambdad.api.wire import render


def rendered(model, operation, **result):
    return render.render(model.operations[operation], result)


def test_absent_members_and_none_are_left_out(model):
    answer = rendered(model, "CreateFunction", FunctionName="fn", Runtime=None, Timeout=0)
    assert answer.status == 201
    assert answer.headers == {"Content-Type": "application/json"}
    assert answer.body == b'{"FunctionName":"fn","Timeout":0}'


def test_empty_lists_and_maps_are_sent(model):
    answer = rendered(
        model, "GetFunction", Tags={}, Configuration={"Layers": [], "Description": ""}
    )
    assert json.loads(answer.body) == {
        "Configuration": {"Description": "", "Layers": []},
        "Tags": {},
    }


def test_an_empty_result_is_an_empty_object(model):
    assert rendered(model, "GetFunctionConcurrency").body == b"{}"


def test_204_has_no_body(model):
    assert rendered(model, "DeleteFunction", StatusCode=204) == (204, {}, b"")
    assert rendered(model, "TagResource") == (204, {}, b"")
    assert rendered(model, "Invoke", StatusCode=204, Payload=b"ignored") == (204, {}, b"")


def test_a_payload_is_the_body_byte_for_byte(model):
    answer = rendered(
        model,
        "Invoke",
        StatusCode=200,
        ExecutedVersion="$LATEST",
        FunctionError="Unhandled",
        Payload=b'{"a": "\xff"}',
    )
    assert answer.status == 200
    assert answer.headers == {
        "X-Amz-Executed-Version": "$LATEST",
        "X-Amz-Function-Error": "Unhandled",
        "Content-Type": "application/json",
    }
    assert answer.body == b'{"a": "\xff"}'


def test_no_payload_is_an_empty_body(model):
    assert rendered(model, "Invoke", StatusCode=202) == (202, {}, b"")


def test_without_a_status_member_the_status_is_the_models(model):
    assert rendered(model, "InvokeAsync").status == 202


def test_dates_in_bodies_are_seconds(model):
    moment = dt.datetime(2026, 11, 21, 9, 30, 0, 250_000, dt.UTC)
    answer = rendered(model, "GetEventSourceMapping", LastModified=moment)
    assert answer.body == b'{"LastModified":1795253400.25}'


def test_text_that_utf_8_cannot_hold_is_rendered(model):
    answer = rendered(model, "GetPolicy", Policy="\ud800ü")
    assert answer.body == b'{"Policy":"\\ud800\\u00fc"}'


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ("GetFunction", {"Function": {}}),
        ("GetFunction", {"Configuration": {"Memory": 128}}),
        ("Invoke", {"Status": 200}),
    ],
)
def test_a_member_that_the_model_lacks_is_our_mistake(model, operation, result):
    with pytest.raises(ValueError, match="cannot render"):
        rendered(model, operation, **result)


@pytest.mark.parametrize(
    ("code", "status", "body"),
    [
        ("ResourceNotFoundException", 404, b'{"Type":"User","Message":"why"}'),
        ("CodeSigningConfigNotFoundException", 404, b'{"Type":"User","Message":"why"}'),
        ("ProvisionedConcurrencyConfigNotFoundException", 404, b'{"Type":"User","message":"why"}'),
        ("InvalidParameterValueException", 400, b'{"Type":"User","message":"why"}'),
        ("ResourceConflictException", 409, b'{"Type":"User","message":"why"}'),
        ("PreconditionFailedException", 412, b'{"Type":"User","message":"why"}'),
        ("InvalidRequestContentException", 400, b'{"Type":"User","message":"why"}'),
        ("ServiceException", 500, b'{"Type":"User","Message":"why"}'),
    ],
)
def test_a_modelled_error_has_its_status_and_its_capital(model, code, status, body):
    answer = render.render_error(model, code, "why", {"Type": "User"})
    assert (answer.status, answer.body) == (status, body)
    assert answer.headers == {"x-amzn-ErrorType": code, "Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("code", "status", "body"),
    [
        ("ValidationException", 400, b'{"message":"why"}'),
        ("RequestEntityTooLargeException", 413, b'{"message":"why"}'),
        ("SerializationException", 400, b'{"message":"why"}'),
        ("UnknownOperationException", 404, b'{"Message":"why"}'),
    ],
)
def test_an_error_that_the_model_lacks_is_rendered_all_the_same(model, code, status, body):
    answer = render.render_error(model, code, "why", {})
    assert (answer.status, answer.body) == (status, body)
    assert answer.headers["x-amzn-ErrorType"] == code


def test_access_denied_has_a_null_message(model):
    answer = render.render_error(model, "AccessDeniedException", None, {})
    assert (answer.status, answer.body) == (403, b'{"Message":null}')


def test_a_throttle_has_its_reason_in_the_body_and_its_delay_in_a_header(model):
    members = {"retryAfterSeconds": "1", "Type": "User", "Reason": "CallerRateLimitExceeded"}
    answer = render.render_error(model, "TooManyRequestsException", "Rate Exceeded.", members)
    assert answer.status == 429
    assert answer.headers["Retry-After"] == "1"
    assert json.loads(answer.body) == {
        "Reason": "CallerRateLimitExceeded",
        "Type": "User",
        "message": "Rate Exceeded.",
    }
