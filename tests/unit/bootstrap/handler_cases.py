"""Handlers, and what their callers get: the table that our client and AWS's both keep to.

Every expectation was taken from awslambdaric 4.2.2. `{root}` stands for the folder of the code.
"""

from typing import NamedTuple

JSON, BYTES = "application/json", "application/unknown"


class Answers(NamedTuple):
    code: str
    body: bytes
    content_type: str = JSON


class Fails(NamedTuple):
    code: str
    error_type: str
    message: str
    frames: tuple = ()


def returns(expression, body, before=""):
    return Answers(f"{before}\ndef handler(event, context):\n    return {expression}\n", body)


def unmarshallable(expression, message, before=""):
    code = f"{before}\ndef handler(event, context):\n    return {expression}\n"
    return Fails(code, "Runtime.MarshalError", f"Unable to marshal response: {message}")


def raises(statement, error_type, message):
    frame = f'  File "{{root}}/{{name}}.py", line 2, in handler\n    {statement}\n'
    code = f"def handler(event, context):\n    {statement}\n"
    return Fails(code, error_type, message, (frame,))


POINT = "import collections\nPoint = collections.namedtuple('Point', 'x y')"
ENUMS = """
import enum
class Number(enum.IntEnum):
    ONE = 1
class Word(str, enum.Enum):
    A = "a"
class Thing(enum.Enum):
    A = "a"
"""

CASES = {
    "a_dict": returns("{'a': 1, 'b': [True, False, None]}", b'{"a": 1, "b": [true, false, null]}'),
    "none": returns("None", b"null"),
    "text": returns("'x'", b'"x"'),
    "a_number": returns("1.5e300", b"1.5e+300"),
    "a_large_number": returns("10 ** 30", b"1000000000000000000000000000000"),
    "true": returns("True", b"true"),
    "a_tuple": returns("(1, (2,))", b"[1, [2]]"),
    "empty_things": returns("[{}, [], (), '']", b'[{}, [], [], ""]'),
    "unicode": returns(
        r"'\u00e9\u2028\U0001f600\x7f\x00\"\\/'",
        '"\u00e9\u2028\U0001f600\x7f\\u0000\\"\\\\/"'.encode(),
    ),
    "bytes": Answers("handler = lambda event, context: b'\\xff\\x00'", b"\xff\x00", BYTES),
    "bytes_inside": returns("{b'k': b'v'}", b'{"k": "v"}'),
    "a_named_tuple": returns(
        "Point(1, Point(2, b'z'))", b'{"x": 1, "y": {"x": 2, "y": "z"}}', POINT
    ),
    "a_named_tuple_deep_down": returns(
        "{'a': [[Point(1, 2)]]}", b'{"a": [[{"x": 1, "y": 2}]]}', POINT
    ),
    "asdict": returns(
        "Thing()", b'{"a": 1}', "class Thing:\n    def _asdict(self):\n        return {'a': 1}"
    ),
    "decimals": returns(
        "[Decimal('1.10'), Decimal('1E+5'), Decimal('NaN'), Decimal('-Infinity')]",
        b"[1.10, 1E+5, NaN, -Infinity]",
        "from decimal import Decimal",
    ),
    "nan": returns("[float('nan'), float('inf'), -float('inf')]", b"[NaN, Infinity, -Infinity]"),
    "odd_keys": returns("{1: 1, None: 2, True: 3, 1.5: 4}", b'{"1": 3, "null": 2, "1.5": 4}'),
    "enums": returns("{'n': Number.ONE, 'w': Word.A}", b'{"n": 1, "w": "a"}', ENUMS),
    "enum_keys": returns("{Number.ONE: 1, Word.A: 2}", b'{"1": 1, "a": 2}', ENUMS),
    "an_ordered_dict": returns("collections.OrderedDict(b=1)", b'{"b": 1}', "import collections"),
    "a_set": unmarshallable("{1}", "Object of type set is not JSON serializable"),
    "a_date": unmarshallable(
        "{'d': datetime.date(2020, 1, 1)}",
        "Object of type date is not JSON serializable",
        "import datetime",
    ),
    "an_enum": unmarshallable("Thing.A", "Object of type Thing is not JSON serializable", ENUMS),
    "a_generator": unmarshallable(
        "(i for i in ())", "Object of type generator is not JSON serializable"
    ),
    "a_class": unmarshallable("Point", "Object of type type is not JSON serializable", POINT),
    "a_bytearray": unmarshallable(
        "bytearray(b'a')", "Object of type bytearray is not JSON serializable"
    ),
    "bytes_that_are_not_text": unmarshallable(
        "[b'\\xff']", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"
    ),
    "a_tuple_as_key": unmarshallable(
        "{(1, 2): 3}", "keys must be str, int, float, bool or None, not tuple"
    ),
    "a_circle": unmarshallable("a", "Circular reference detected", "a = []\na.append({'a': a})"),
    "a_coroutine": Fails(
        "async def handler(event, context):\n    return 1\n",
        "Runtime.MarshalError",
        "Unable to marshal response: Object of type coroutine is not JSON serializable",
    ),
    "a_callable_object": Answers(
        "class Handler:\n    def __call__(self, event, context):\n        return 1\n"
        "handler = Handler()\n",
        b"1",
    ),
    "a_partial": Answers(
        "import functools\nhandler = functools.partial(lambda a, event, context: a, 7)\n", b"7"
    ),
    "an_error": raises("raise ValueError('boom')", "ValueError", "boom"),
    "an_error_without_words": raises("raise ValueError", "ValueError", ""),
    "an_error_in_unicode": raises("raise ValueError('b\u00f6om')", "ValueError", "b\u00f6om"),
    "an_error_of_two_lines": raises(r"raise ValueError('a\n  b')", "ValueError", "a\n  b"),
    "a_missing_key": raises("event['none']", "KeyError", "'none'"),
    "an_end_of_iteration": raises("next(iter(()))", "StopIteration", ""),
    "an_error_from_another": raises(
        "raise OSError(2, 'no') from KeyError()", "FileNotFoundError", "[Errno 2] no"
    ),
    "an_error_of_ones_own": Fails(
        "class Mine(Exception):\n    pass\ndef deep():\n    raise Mine(1, 2)\n"
        "def handler(event, context):\n    deep()\n",
        "Mine",
        "(1, 2)",
        (
            '  File "{root}/{name}.py", line 6, in handler\n    deep()\n',
            '  File "{root}/{name}.py", line 4, in deep\n    raise Mine(1, 2)\n',
        ),
    ),
    "the_context": returns(
        "repr(context)",
        b'"LambdaContext([aws_request_id=r-1,log_group_name=/aws/lambda/f,'
        b"log_stream_name=2026/01/01/[$LATEST]0,function_name=f,memory_limit_in_mb=128,"
        b"function_version=$LATEST,invoked_function_arn=arn:aws:lambda:eu-west-1:0:function:f,"
        b"client_context=None,identity=CognitoIdentity([cognito_identity_id=None,"
        b'cognito_identity_pool_id=None]),tenant_id=None])"',
    ),
    "the_time_left": returns(
        "[type(context.get_remaining_time_in_millis()).__name__,"
        " context.get_remaining_time_in_millis() > 10 ** 9]",
        b'["int", true]',
    ),
}

# A module named `app` that finds the others; its own frame is in every stack trace.
DISPATCHER = """import importlib
def handler(event, context):
    return importlib.import_module(event["case"]).handler(event, context)
"""
DISPATCHER_FRAME = (
    '  File "{root}/app.py", line 3, in handler\n'
    '    return importlib.import_module(event["case"]).handler(event, context)\n'
)
