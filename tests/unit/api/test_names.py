import pytest

from lambdad.api.operations import names
from lambdad.model.errors import ApiError

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:fn"


@pytest.mark.parametrize(
    ("spelling", "qualifier", "read"),
    [
        ("fn", None, ("fn", None)),
        ("fn", "live", ("fn", "live")),
        ("fn:live", None, ("fn", "live")),
        ("fn:live", "live", ("fn", "live")),
        (ARN, None, ("fn", None)),
        (f"{ARN}:7", None, ("fn", "7")),
        ("123456789012:function:fn", "$LATEST", ("fn", "$LATEST")),
    ],
)
def test_a_qualifier_may_stand_in_either_place(spelling, qualifier, read):
    assert names.read(spelling, qualifier, region="eu-west-1") == read


@pytest.mark.parametrize(
    ("spelling", "qualifier", "code", "message"),
    [
        (
            "fn:live", "7", "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.",
        ),
        (
            ARN.replace("eu-west-1", "us-east-1"), None, "ResourceNotFoundException",
            "Functions from 'us-east-1' are not reachable in this region ('eu-west-1')",
        ),
        ("not a name!", None, "ValidationException",
         "cannot read the function name 'not a name!'"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(spelling, qualifier, code, message):
    with pytest.raises(ApiError) as caught:
        names.read(spelling, qualifier, region="eu-west-1")
    assert (caught.value.code, caught.value.message) == (code, message)


def test_the_region_is_checked_before_the_qualifier():
    other = ARN.replace("eu-west-1", "us-east-1")
    with pytest.raises(ApiError, match="not reachable"):
        names.read(f"{other}:live", "7", region="eu-west-1")
