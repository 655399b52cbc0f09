"""The encoder's two ways lead to the same text, and both to what the standard library reads."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lambdad_bootstrap.guest import lambdad_json

FINITE = st.floats(allow_nan=False, allow_infinity=False)
LEAVES = st.none() | st.booleans() | st.integers() | FINITE | st.text()
KEYS = st.text() | st.integers() | st.floats() | st.booleans() | st.none()
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(KEYS, inner)
)


@settings(database=None, max_examples=50, deadline=None)
@given(VALUES, st.sampled_from(["AWS_Lambda_python3.11", "AWS_Lambda_python3.12"]))
def test_both_ways_write_the_same(value, execution_env):
    encoder = lambdad_json.Encoder(execution_env)
    assert encoder.encode(value) == encoder._encode_slowly(value)
    assert encoder.encode(value) == json.dumps(value, ensure_ascii=execution_env.endswith("11"))


@settings(database=None, max_examples=50, deadline=None)
@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_what_is_written_can_be_read(value):
    text = lambdad_json.Encoder("").encode(value)
    assert lambdad_json.decode(text.encode()) == value


def test_what_is_too_deep_is_refused_by_name():
    deep = {object()}
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(RecursionError, match="while encoding a JSON object"):
        lambdad_json.Encoder("").encode(deep)
