"""The service model, read once, and the text that some parameters are answered with."""

import pytest

from lambdad.api.wire import model as wire_model
from lambdad.api.wire import validate


@pytest.fixture(scope="session")
def model():
    return wire_model.load()


@pytest.fixture(scope="session")
def complaint(model):
    """The text of the ValidationException that some parameters give."""

    def make(operation, **params):
        return validate.message(validate.violations(model.operations[operation], params))

    return make
