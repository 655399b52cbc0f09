import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lambdad.observe.filter_pattern import BadPattern, compile_pattern

LINE = "[ERROR 400] BAD REQUEST from user_1"
DOCUMENT = {
    "level": "ERROR",
    "n": 5,
    "ok": True,
    "gone": None,
    "user": {"id": "u-1", "tags": ["a", {"b": 7}]},
    "a.b": "dotted",
    "ip": "123.123.4.5",
}


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("", True),
        ("  ", True),
        ("ERROR", True),
        ("error", False),
        ("ERROR REQUEST", True),
        ("ERROR missing", False),
        ('"BAD REQUEST"', True),
        ('"REQUEST BAD"', False),
        ('"[ERROR 400]"', True),
        ("-WARN", True),
        ("-ERROR", False),
        ("ERROR -user_1", False),
        ('-"not there"', True),
        ('ERROR -"50%"', True),
        ("?WARN ?ERROR", True),
        ("?WARN ?INFO", False),
        ('?"BAD REQUEST" ?INFO', True),
        ("?INFO ERROR", True),
        ("?ERROR INFO", False),
    ],
)
def test_terms(pattern, matches):
    assert compile_pattern(pattern)(LINE) is matches


def test_a_quote_in_a_phrase_is_escaped():
    matches = compile_pattern(r'"say \"hi\" \\"')
    assert matches(r'they say "hi" \ now')
    assert not matches("say hi")


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ('$.level = "ERROR"', True),
        ("$.level = ERROR", True),
        ('$.level != "ERROR"', False),
        ('$.level = "ERR*"', True),
        ('$.level = "*RR*"', True),
        ('$.level = "*RR"', False),
        ("$.level = *", True),
        ("$.n = 5", True),
        ("$.n = 5.0", True),
        ("$.n != 5", False),
        ('$.n = "5"', False),
        ("$.n > 4", True),
        ("$.n >= 5 && $.n <= 5", True),
        ("$.n < 5e0", False),
        ("$.level > 4", False),
        ("$.ok IS TRUE", True),
        ("$.ok IS FALSE", False),
        ("$.ok = 1", False),
        ("$.gone IS NULL", True),
        ("$.level IS NULL", False),
        ("$.missing IS NULL", False),
        ("$.missing NOT EXISTS", True),
        ("$.gone NOT EXISTS", False),
        ('$.missing != "x"', False),
        ('$.user.id = "u-1"', True),
        ('$.user.tags[0] = "a"', True),
        ("$.user.tags[1].b = 7", True),
        ("$.user.tags[9] NOT EXISTS", True),
        ("$['a.b'] = dotted", True),
        ("$.['a.b'] = dotted", True),
        ("$.ip = 123.123.*", True),
        ("$.ip != 123.123.*", False),
        ('$.level = "INFO" || $.n = 5', True),
        ('$.level = "ERROR" && $.n = 6 || $.ok IS TRUE', True),
        ('$.level = "INFO" && ($.n = 6 || $.ok IS TRUE)', False),
    ],
)
def test_fields_of_json(expression, matches):
    assert compile_pattern(f"{{ {expression} }}")(json.dumps(DOCUMENT)) is matches


@pytest.mark.parametrize("message", ["", "level = ERROR", "1", '"level"', "[" * 100_000])
def test_what_is_no_document_matches_no_fields(message):
    assert not compile_pattern("{ $.level NOT EXISTS }")(message)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("a:b", "Invalid character"),
        ('"open', "unclosed quote"),
        ("[ip, user]", "not offered"),
        ("%ERR.*%", "not offered"),
        ("{ $.a = 1", "'}' is missing"),
        ("{}", "its end is not expected"),
        ("{ $.a }", "its end is not expected"),
        ("{ $.a = }", "its end is not expected"),
        ("{ $.a = 1 && }", "its end is not expected"),
        ("{ ($.a = 1 }", "its end is not expected"),
        ("{ $.a = 1) }", r"'\)' is not expected"),
        ("{ $.a = 1 $.b = 2 }", "is not expected"),
        ("{ a = 1 }", "'a' is not expected"),
        ("{ $.a < x }", "'x' is not a number"),
        ("{ $.a IS MAYBE }", "is not expected"),
        ("50%", "Invalid character"),
        ("{ $.a = %x% }", "cannot read '%x%'"),
        ("{ $.a ~ 1 }", "cannot read '~ 1'"),
        ("{ " + "(" * 21 + "$.a = 1" + ")" * 21 + " }", "nested too deep"),
    ],
)
def test_what_is_no_pattern_is_told(pattern, why):
    with pytest.raises(BadPattern, match=why):
        compile_pattern(pattern)


@given(st.text(alphabet='ab*"\\?-{}[]()$.=!<>&| %NOTEXISTSnull015', max_size=40), st.text())
def test_any_pattern_is_understood_or_refused(pattern, message):
    try:
        matches = compile_pattern(pattern)
    except BadPattern:
        return
    assert matches(message) in {True, False}


def test_many_stars_take_no_long_time():
    matches = compile_pattern(f'{{ $.a = "{"*a" * 400}b" }}')
    assert not matches(json.dumps({"a": "a" * 200_000}))
