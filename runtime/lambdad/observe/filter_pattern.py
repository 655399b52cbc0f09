"""CloudWatch Logs' filter patterns: which log events somebody wants to see. Pure.

Terms: ``ERROR timeout`` asks for both, ``"two words"`` for a phrase, ``?a ?b`` for one of them,
``-DEBUG`` for its absence. Terms are looked for anywhere in a message, in their own case; other
signs than letters, digits and ``_`` stand in quotes. Beside other terms, those with ``?`` do not
count, as on AWS.

JSON: ``{ $.level = "ERROR" && ($.n > 3 || $.user.id IS NULL) }``, with ``=``, ``!=``, ``<``,
``<=``, ``>``, ``>=``, ``IS NULL``, ``IS TRUE``, ``IS FALSE``, ``NOT EXISTS`` and ``*`` for any
text. What a message does not have compares with nothing, not even with ``!=``.

Patterns in brackets, for lines of columns, and ``%regular expressions%`` are not offered: they
are refused, not ignored.
Source: https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Matches = Callable[[str], bool]
_Test = Callable[[Any], bool]

_NESTING_MAX = 20
_TERM = re.compile(r'([?-]?)(?:"((?:[^"\\]|\\.)*)"|([^\s"]+))(?=\s|$)\s*')
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_WORD = re.compile(r"\w+")

_SELECTOR = r"""\$(?:\.?\['[^']+'\]|\.?\["[^"]+"\]|\.[\w-]+|\[\d+\])+"""
_STEP = re.compile(r"""\['([^']+)'\]|\["([^"]+)"\]|\.([\w-]+)|\[(\d+)\]""")
_TOKEN = re.compile(
    rf"""\s*(?:(?P<selector>{_SELECTOR})|(?P<sign>&&|\|\||!=|<=|>=|[()=<>])"""
    r"""|"(?P<text>(?:[^"\\]|\\.)*)"|(?P<word>[\w.*:/@#+-]+))\s*"""
)
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NOTHING = object()
_CONSTANTS = {"NULL": None, "TRUE": True, "FALSE": False}


class BadPattern(Exception):
    """A pattern that cannot be understood; the message says where."""


def compile_pattern(pattern: str) -> Matches:
    """Make a test of messages.

    Raises:
        BadPattern: there is no such pattern, or it is of a kind that is not offered.
    """
    pattern = pattern.strip()
    if pattern.startswith("{"):
        return _json_pattern(pattern)
    if pattern.startswith("["):
        raise BadPattern("Space-delimited filter patterns ([...]) are not offered by lambdad.")
    if pattern.startswith("%"):
        raise BadPattern("Regular expressions (%...%) in filter patterns are not offered.")
    return _terms(pattern)


def _terms(pattern: str) -> Matches:
    found: dict[str, list[str]] = {"": [], "?": [], "-": []}
    position = 0
    while position < len(pattern):
        term = _TERM.match(pattern, position)
        if term is None:
            raise BadPattern(f"Invalid filter pattern: unclosed quote in '{pattern[position:]}'")
        sign, quoted, word = term.groups()
        if word is not None and not _WORD.fullmatch(word):
            raise BadPattern(f"Invalid character(s) in term '{word}'")
        found[sign].append(word if quoted is None else _unescaped(quoted))
        position = term.end()
    wanted, unwanted = found[""], found["-"]
    any_of = [] if wanted or unwanted else found["?"]

    def matches(message: str) -> bool:
        return (
            all(term in message for term in wanted)
            and not any(term in message for term in unwanted)
            and (not any_of or any(term in message for term in any_of))
        )

    return matches


def _unescaped(quoted: str) -> str:
    return _ESCAPED.sub(r"\1", quoted)


# --- JSON -----------------------------------------------------------------------------


def _json_pattern(pattern: str) -> Matches:
    if not pattern.endswith("}"):
        raise BadPattern("Invalid filter pattern: '}' is missing at its end")
    test = _Parser(pattern[1:-1]).parsed()

    def matches(message: str) -> bool:
        try:
            document = json.loads(message)
        except (ValueError, RecursionError):
            return False
        return isinstance(document, dict | list) and test(document)

    return matches


class _Token(NamedTuple):
    kind: str
    text: str


_END = _Token("end", "")


class _Parser:
    """Makes one test of an expression, by recursive descent: ``||`` binds least."""

    def __init__(self, text: str) -> None:
        self._tokens = _tokens(text)
        self._nesting = 0

    def parsed(self) -> _Test:
        test = self._any_of()
        if self._tokens[0] is not _END:
            raise _unexpected(self._tokens[0])
        return test

    def _any_of(self) -> _Test:
        tests = [self._all_of()]
        while self._is_next("||"):
            tests.append(self._all_of())
        return tests[0] if len(tests) == 1 else lambda value: any(test(value) for test in tests)

    def _all_of(self) -> _Test:
        tests = [self._one()]
        while self._is_next("&&"):
            tests.append(self._one())
        return tests[0] if len(tests) == 1 else lambda value: all(test(value) for test in tests)

    def _one(self) -> _Test:
        if not self._is_next("("):
            return self._comparison()
        self._nesting += 1
        if self._nesting > _NESTING_MAX:
            raise BadPattern("Invalid filter pattern: it is nested too deep")
        test = self._any_of()
        if not self._is_next(")"):
            raise _unexpected(self._tokens[0])
        self._nesting -= 1
        return test

    def _comparison(self) -> _Test:
        selector = self._take()
        if selector.kind != "selector":
            raise _unexpected(selector)
        steps = _steps(selector.text)
        condition = self._condition()
        return lambda value: condition(_found(value, steps))

    def _condition(self) -> _Test:
        sign = self._take()
        if sign == _Token("word", "NOT") and self._take() == _Token("word", "EXISTS"):
            return lambda value: value is _NOTHING
        if sign == _Token("word", "IS") and (constant := self._take()).text in _CONSTANTS:
            wanted = _CONSTANTS[constant.text]
            return lambda value: value is wanted
        if sign.kind != "sign":
            raise _unexpected(sign)
        operand = self._take()
        if sign.text in _ORDERS:
            return _in_order(_ORDERS[sign.text], operand)
        if sign.text not in ("=", "!="):
            raise _unexpected(sign)
        equal = _equal_to(operand)
        if sign.text == "=":
            return lambda value: value is not _NOTHING and equal(value)
        return lambda value: value is not _NOTHING and not equal(value)

    def _take(self) -> _Token:
        token = self._tokens[0]
        if token is not _END:
            del self._tokens[0]
        return token

    def _is_next(self, sign: str) -> bool:
        if self._tokens[0] != _Token("sign", sign):
            return False
        del self._tokens[0]
        return True


def _tokens(text: str) -> list[_Token]:
    found, position = [], 0
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None or token.lastgroup is None:
            raise BadPattern(f"Invalid filter pattern: cannot read '{text[position:].strip()}'")
        found.append(_Token(token.lastgroup, token[token.lastgroup]))
        position = token.end()
    return [*found, _END]


def _unexpected(token: _Token) -> BadPattern:
    what = "its end" if token is _END else f"'{token.text}'"
    return BadPattern(f"Invalid filter pattern: {what} is not expected there")


def _steps(selector: str) -> list[str | int]:
    return [
        int(number) if number else single or double or plain
        for single, double, plain, number in _STEP.findall(selector)
    ]


def _found(value: Any, steps: list[str | int]) -> Any:
    for step in steps:
        match step, value:
            case str(), dict():
                value = value.get(step, _NOTHING)
            case int(), list() if step < len(value):
                value = value[step]
            case _:
                return _NOTHING
    return value


def _in_order(compare: Callable[[Any, Any], bool], operand: _Token) -> _Test:
    if operand.kind != "word" or not _NUMBER.fullmatch(operand.text):
        raise BadPattern(f"Invalid filter pattern: '{operand.text}' is not a number")
    number = float(operand.text)
    return lambda value: _is_number(value) and compare(value, number)


def _equal_to(operand: _Token) -> _Test:
    if operand.kind == "word" and _NUMBER.fullmatch(operand.text):
        number = float(operand.text)
        return lambda value: _is_number(value) and value == number
    if operand.kind == "word":
        like = _like(operand.text)
        return lambda value: like(_shown(value))
    if operand.kind == "text":
        like = _like(_unescaped(operand.text))
        return lambda value: isinstance(value, str) and like(value)
    raise _unexpected(operand)


def _like(text: str) -> Callable[[str], bool]:
    """Equality, in which a star is any text. Takes linear time, whatever is compared."""
    first, *others = text.split("*")
    if not others:
        return first.__eq__
    *middle, last = others

    def matches(value: str) -> bool:
        position, end = len(first), len(value) - len(last)
        if position > end or not value.startswith(first) or not value.endswith(last):
            return False
        for part in middle:
            position = value.find(part, position, end) + len(part)
            if position < len(part):
                return False
        return True

    return matches


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
