import pytest

from lambdad.model import arn
from lambdad.model.arn import FunctionName, function_arn, parse

ACCOUNT = "123456789012"
REGION = "eu-west-1"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"


@pytest.mark.parametrize(
    ("spelling", "said"),
    [
        ("fn", FunctionName("fn")),
        ("fn:live", FunctionName("fn", "live")),
        ("fn:7", FunctionName("fn", "7")),
        ("fn:$LATEST", FunctionName("fn", "$LATEST")),
        ("fn:$LATEST.PUBLISHED", FunctionName("fn", "$LATEST.PUBLISHED")),
        ("function:fn", FunctionName("fn")),
        ("function:fn:live", FunctionName("fn", "live")),
        (f"{ACCOUNT}:function:fn", FunctionName("fn", None, ACCOUNT)),
        (f"{ACCOUNT}:function:fn:live", FunctionName("fn", "live", ACCOUNT)),
        (f"{ARN}:fn", FunctionName("fn", None, ACCOUNT, REGION)),
        (f"{ARN}:fn:$LATEST", FunctionName("fn", "$LATEST", ACCOUNT, REGION)),
        (ARN, FunctionName("function", None, ACCOUNT, REGION)),
        ("function", FunctionName("function")),
        ("a.b_c-D9", FunctionName("a.b_c-D9")),
        (
            f"arn:aws-us-gov:lambda:us-gov-west-1:{ACCOUNT}:function:fn",
            FunctionName("fn", None, ACCOUNT, "us-gov-west-1"),
        ),
        (
            f"arn:aws-cn:lambda:cn-north-1:{ACCOUNT}:function:fn:2",
            FunctionName("fn", "2", ACCOUNT, "cn-north-1"),
        ),
    ],
)
def test_every_spelling_of_a_function_is_read(spelling, said):
    assert parse(spelling) == said


@pytest.mark.parametrize(
    "spelling",
    [
        "",
        "*",
        "my-function!",
        "fn:",
        ":fn",
        "fn:1:2",
        "fn:qualifier!",
        "fn:$latest",
        "fn\n",
        "f n",
        "ünicode",
        "function:fn:$LATEST:extra",
        "12345:function:fn",
        f"arn:aws:lambda:{REGION}::function:fn",
        f"arn:aws:lambda::{ACCOUNT}:function:fn",
        f"arn:aws:lambda:nowhere:{ACCOUNT}:function:fn",
        f"arn:aws:s3:{REGION}:{ACCOUNT}:function:fn",
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:fn",
        f"arn:aws:lambda:{REGION}:{ACCOUNT}:fn",
        f"{ARN}:",
    ],
)
def test_what_is_no_spelling_is_refused(spelling):
    assert parse(spelling) is None


@pytest.mark.parametrize("qualifier", [None, "7", "live", "$LATEST"])
@pytest.mark.parametrize("name", ["fn", "function", "a_b-c"])
def test_an_arn_that_was_written_is_read_back(name, qualifier):
    written = function_arn(REGION, ACCOUNT, name, qualifier)
    assert parse(written) == arn.FunctionName(name, qualifier, ACCOUNT, REGION)


def test_an_arn_is_qualified_only_when_asked():
    assert function_arn(REGION, ACCOUNT, "fn") == f"{ARN}:fn"
    assert function_arn(REGION, ACCOUNT, "fn", "$LATEST") == f"{ARN}:fn:$LATEST"
