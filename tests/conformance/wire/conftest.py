"""botocore's own view of the model, and a value for every member of any shape."""

import datetime as dt

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel

from lambdad.api.wire import model as wire_model

SAMPLES = {
    "integer": 3,
    "long": 2**40,
    "double": 1.5,
    "boolean": True,
    "blob": b"\x00\xffbytes",
    "timestamp": dt.datetime(2026, 11, 21, 9, 30, 0, 250_000, dt.UTC),
}


@pytest.fixture(scope="session")
def model():
    return wire_model.load()


@pytest.fixture(scope="session")
def botocore_model():
    return ServiceModel(Loader().load_service_model("lambda", "service-2"), "lambda")


@pytest.fixture(scope="session")
def sample():
    """A maker of values with every member of a shape of botocore's."""
    return _sample


def _sample(shape, name=""):
    match shape.type_name:
        case "structure":
            return {part: _sample(member, part) for part, member in shape.members.items()}
        case "list":
            return [_sample(shape.member, name)]
        case "map":
            return {"kéy": _sample(shape.value, name)}
        case "string":
            return shape.enum[0] if shape.enum else _text(name)
        case kind:
            return SAMPLES[kind]


def _text(name):
    arn = "arn:aws:lambda:eu-west-1:123456789012:function:a/b c"
    return arn if "arn" in name.lower() else "v%41+& ü/"
