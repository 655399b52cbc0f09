import json

import pytest

from lambdad.model import errors


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (errors.not_found, "ResourceNotFoundException"),
        (errors.invalid_parameter, "InvalidParameterValueException"),
        (errors.conflict, "ResourceConflictException"),
    ],
)
def test_a_callers_error_is_named_by_its_shape(make, code):
    error = make("what it is")
    assert (error.code, error.message, error.members) == (code, "what it is", {"Type": "User"})
    assert str(error) == f"{code}: what it is"


def test_the_platforms_error_has_its_type_first_and_no_newline():
    error = errors.platform_error("Runtime.ExitError", "r-1", "Runtime exited")
    assert error.payload == (
        b'{"errorType":"Runtime.ExitError","errorMessage":"RequestId: r-1 Error: Runtime exited"}'
    )
    assert error.status == "error"


def test_what_is_quoted_in_the_platforms_error_stays_json():
    error = errors.platform_error("Runtime.InvalidEntrypoint", "r-1", 'a "b"\n')
    assert json.loads(error.payload)["errorMessage"] == 'RequestId: r-1 Error: a "b"\n'


def test_the_three_families_do_not_mix():
    families = [errors.ApiError, errors.FunctionError, errors.PlatformFault]
    assert not any(
        issubclass(one, other) for one in families for other in families if one is not other
    )
