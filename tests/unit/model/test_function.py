import dataclasses

import pytest

from lambdad.model.function import Function, State


@pytest.fixture
def function():
    return Function(
        name="fn",
        runtime="python3.12",
        handler="app.handler",
        role="arn:aws:iam::123456789012:role/r",
        code_sha256="Zm9v",
        code_bytes=3,
        tree="0" * 64,
        timeout_s=3,
        memory_mb=128,
        tmp_mb=512,
        architecture="x86_64",
        revision_id="one",
        last_modified=1.5,
    )


def test_a_change_makes_a_new_value(function):
    changed = function.changed(state=State.ACTIVE, revision_id="two")
    assert (function.state, function.revision_id) == (State.PENDING, "one")
    assert (changed.state, changed.revision_id) == (State.ACTIVE, "two")
    assert changed.changed(state=State.PENDING, revision_id="one") == function


def test_nothing_is_altered_in_place(function):
    with pytest.raises(dataclasses.FrozenInstanceError):
        function.state = State.ACTIVE
    with pytest.raises(TypeError):
        function.tags["a"] = "b"


def test_an_environment_never_given_differs_from_an_empty_one(function):
    assert function.environment is None
    assert function.changed(environment={}) != function
