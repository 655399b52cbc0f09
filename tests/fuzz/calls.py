"""What guests may say and what may happen to them, as strategies: data that can be shrunk.

A history is a list of moves. A call names its request id and identifier by what they are, such
as the one that is out or one that was never given; only when it is played they become bytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from hypothesis import strategies as st

RUNTIME, EXTENSION = b"/2018-06-01/runtime", b"/2020-01-01/extension"
NEXT, POLL = RUNTIME + b"/invocation/next", EXTENSION + b"/event/next"
RESTORED = RUNTIME + b"/restore/next"
CREDENTIALS = b"/2021-04-23/credentials"
NO_TEXT = ((b"Authorization", b"\xff"),)
# What may stay without an answer as long as it likes.
PATIENT = {NEXT, POLL, RESTORED}

NAMES = [f"extension-{number}".encode() for number in range(12)]


@dataclass(frozen=True)
class Call:
    """A request.

    Attributes:
        path: ``{id}`` stands for a request id.
        request_id: ``out``, ``late`` or the id itself.
        extension: the index of who sends its identifier; None sends none.
        chunked: whether the body comes in chunks, and with which trailers.
    """

    method: bytes
    path: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    request_id: bytes = b"out"
    extension: int | None = None
    chunked: bool = False
    trailers: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def patient(self):
        return self.method == b"GET" and self.path in PATIENT

    def encoded(self, request_id, identifier):
        """As bytes."""
        path = self.path.replace(b"{id}", request_id)
        lines = [b"%b %b HTTP/1.1" % (self.method, path), b"Host: 127.0.0.1"]
        lines += [b"%b: %b" % header for header in self.headers]
        if identifier is not None:
            lines.append(b"Lambda-Extension-Identifier: " + identifier)
        if not self.chunked:
            lines.append(b"Content-Length: %d" % len(self.body))
            return b"\r\n".join([*lines, b"", self.body])
        lines.append(b"Transfer-Encoding: chunked")
        if self.trailers:
            lines.append(b"Trailer: " + b", ".join(name for name, _ in self.trailers))
        half = len(self.body) // 2
        pieces = [piece for piece in (self.body[:half], self.body[half:]) if piece]
        chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        section = b"".join(b"%b: %b\r\n" % trailer for trailer in self.trailers)
        return b"\r\n".join([*lines, b"", chunks]) + b"0\r\n" + section + b"\r\n"


@dataclass(frozen=True)
class Deed:
    """Something that is not said through the door: a method of who plays the history.

    Attributes:
        number: how much, or who.
    """

    name: str
    number: float = 0


# --- bodies and headers -----------------------------------------------------------------


def nested(depth, opened=b"[", closed=b"]"):
    return opened * depth + closed * depth


_ODD_JSON = [
    b"",
    b"null",
    b"{}",
    b"[]",
    b"0",
    b'"errorMessage"',
    b"NaN",
    b"-Infinity",
    b"9" * 5_000,
    b"1e999999",
    b'{"events":"INVOKE"}',
    b'{"events":[1,null,{}]}',
    b'{"events":["\\ud800","INVOKE"]}',
    b'{"events":["INVOKE","INVOKE","SHUTDOWN"]}',
    b'{"configurationKeys":[1]}',
    b'{"errorMessage":"\\udfff","errorType":1e400,"stackTrace":{}}',
    b'{"a":1,"a":2}',
    b"\xff\xfe\x00{",
    b"\xef\xbb\xbf{}",
    b"\x00",
    '{"größe":"\\u0000"}'.encode("utf-16"),
    nested(100_000),
    nested(100_000, b'{"a":', b"}"),
]
_JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["events", "errorMessage", "errorType", "stackTrace", "errorCause", "x"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
BODIES = st.one_of(
    st.sampled_from(_ODD_JSON),
    st.binary(max_size=64),
    _JSON_VALUES.map(lambda value: json.dumps(value).encode()),
    # About as deep as can be read, and about as deep as can be written again.
    st.integers(940, 1_010).map(nested),
    st.integers(940, 1_010).map(
        lambda depth: b'{"errorMessage":%b,"schemaVersion":%b}' % (nested(depth), nested(depth))
    ),
)
# No line end: that is another request, and the matter of raw bytes.
_VALUES = st.one_of(
    st.sampled_from(
        [
            b"",
            b" ",
            b"\xff\xfe",
            b"\t",
            b"a" * 9_000,
            b"Extension.Ownerror",
            b"Runtime.",
            b"\xc3\xbc",
        ]
    ),
    st.binary(max_size=24).map(lambda value: bytes(b for b in value if b > 31 and b != 127)),
)
_KINDS = st.one_of(
    st.sampled_from(
        [
            b"application/json",
            b"application/vnd.aws.lambda.error.cause+json",
            b"application/vnd.awslambda.http-integration-response",
            b"a/b;b*",
            b'a/b;x*0*="',
            b"a/b" + b"(" * 9_000,
            b"a/b" + b";" * 9_000,
        ]
    ),
    _VALUES,
)
_MODES = st.sampled_from([b"streaming", b"streaming", b"", b"Streaming", b"foo", b"\xff"])
_ERROR_TYPES = st.one_of(
    st.sampled_from([b"Runtime.Odd", b"Function.X1", b"x", b"Extension.Crash"]), _VALUES
)
_NAMES = st.one_of(st.sampled_from(NAMES), _VALUES)
_HEADERS = st.one_of(
    st.tuples(st.just(b"Content-Type"), _KINDS),
    st.tuples(st.just(b"Lambda-Runtime-Function-Response-Mode"), _MODES),
    st.tuples(st.just(b"Lambda-Runtime-Function-Error-Type"), _ERROR_TYPES),
    st.tuples(st.just(b"Lambda-Extension-Function-Error-Type"), _ERROR_TYPES),
    st.tuples(st.just(b"Lambda-Extension-Accept-Feature"), st.just(b"accountId, x") | _VALUES),
    st.tuples(st.just(b"Lambda-Extension-Identifier"), _VALUES),
    st.tuples(st.just(b"Authorization"), _VALUES),
    st.tuples(st.just(b"Connection"), st.sampled_from([b"close", b"keep-alive", b"x"])),
    st.tuples(st.just(b"Expect"), st.sampled_from([b"100-continue", b"x"])),
    st.tuples(st.just(b"Cookie"), _VALUES),
)
HEADERS = st.lists(_HEADERS, max_size=2).map(tuple)


def _with(*names_and_values):
    """Headers that matter to a call, now and then with others."""
    headers = [st.tuples(st.just(name), values) for name, values in names_and_values]
    mattering = st.lists(st.one_of(headers), max_size=2).map(tuple)
    return st.builds(lambda some, others: (*some, *others), mattering, st.just(()) | HEADERS)


# --- calls -----------------------------------------------------------------------------

_IDS = st.sampled_from(
    [b"out"] * 18 + [b"late", b"r-none", b"%00", b"%C3%28", b"r-1%2f", b"..", b"*"]
)
_WHO = st.none() | st.integers(0, 11)
_ITSELF = st.integers(0, 3)


def _of(method, path, **more):
    wanted = {"headers": HEADERS, "extension": st.none(), **more}
    return st.builds(Call, st.just(method), st.just(path), **wanted)


_TRAILERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                b"Lambda-Runtime-Function-Error-Type",
                b"Lambda-Runtime-Function-Error-Body",
                b"x",
            ]
        ),
        st.sampled_from([b"Function.Late", b"e30=", b"=", b"\xff"]),
    ),
    max_size=3,
).map(tuple)


def _answer(path, **more):
    return _of(
        b"POST",
        path,
        body=BODIES,
        chunked=st.booleans(),
        trailers=_TRAILERS,
        request_id=_IDS,
        **more,
    )


_MODE = b"Lambda-Runtime-Function-Response-Mode"
_ERROR_TYPE = b"Lambda-Runtime-Function-Error-Type"
_RESPONSE = _answer(
    RUNTIME + b"/invocation/{id}/response",
    headers=_with((_MODE, _MODES), (_ERROR_TYPE, _ERROR_TYPES), (b"Content-Type", _KINDS)),
)
_STREAMED = _answer(
    RUNTIME + b"/invocation/{id}/response",
    headers=st.tuples(st.tuples(st.just(_MODE), st.just(b"streaming"))),
)
_ERROR = _answer(
    RUNTIME + b"/invocation/{id}/error",
    headers=_with((_ERROR_TYPE, _ERROR_TYPES), (b"Content-Type", _KINDS)),
)


@st.composite
def _registrations(draw):
    who = draw(st.integers(0, 11))
    name = draw(st.just(NAMES[who]) | _NAMES) if draw(st.integers(0, 5)) else b""
    asked = draw(
        st.sampled_from([b'{"events":["INVOKE"]}', b'{"events":["INVOKE","SHUTDOWN"]}', b"{}"])
        | BODIES
    )
    headers = ((b"Lambda-Extension-Name", name), *draw(HEADERS))
    return Call(b"POST", EXTENSION + b"/register", headers, asked)


_DESTINATIONS = st.sampled_from(
    [
        {"protocol": "TCP", "port": 8_080},
        {"protocol": "HTTP", "URI": "http://sandbox.localdomain:8080/a?b"},
        {"protocol": "HTTP", "URI": "http://sandbox:" + "9" * 5_000},
        {"protocol": "HTTP", "URI": "http://[::1"},
        {"protocol": "HTTP", "URI": "http://sandbox:8080/\u0000"},
        {"protocol": ["TCP"], "port": 10**400},
        {"protocol": "TCP", "port": True},
        [],
    ]
)


@st.composite
def _subscriptions(draw):
    path = draw(
        st.sampled_from([b"/2022-07-01/telemetry", b"/2022-07-01/telemetry/", b"/2020-08-15/logs"])
    )
    wanted = {
        "schemaVersion": draw(
            st.sampled_from(["2022-12-13", "2025-01-29", "2021-03-18", 1, [[]], None])
        ),
        "types": draw(
            st.sampled_from([["platform", "function"], ["extension"], [], [[]], "platform"])
        ),
        "buffering": draw(
            st.sampled_from([None, {}, {"maxItems": 1_000.0}, [], {"timeoutMs": 25}])
        ),
        "destination": draw(_DESTINATIONS),
    }
    body = draw(st.just(json.dumps(wanted).encode()) | BODIES)
    return Call(b"PUT", path, draw(HEADERS), body, extension=draw(_WHO))


_PATHS = st.sampled_from(
    [
        b"/",
        b"*",
        b"//",
        b"/2018-06-01/ping",
        b"/2018-06-01/runtime/invocation//response",
        b"/2018-06-01/runtime/invocation/%ff/error",
        b"/2018-06-01/runtime/restore/error",
        b"/2018-06-01/runtime/restore/next",
        b"/2020-01-01/extension/event/next?x=%zz",
        b"http://[::1/x",
        b"http://elsewhere/2018-06-01/ping",
        b"/2018-06-01/ping;x?%",
        b"/%2e%2e/2018-06-01/ping",
        NEXT,
    ]
)
_METHODS = st.sampled_from(
    [b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"DELETE", b"PATCH", b"X"]
)

_REGISTER = _registrations()
_POLL = _of(b"GET", POLL, headers=st.just(()), extension=_ITSELF)
_NEXT = _of(b"GET", NEXT, headers=st.just(()))
_STARTS = st.one_of(
    _of(b"POST", RUNTIME + b"/init/error", body=BODIES),
    _of(b"GET", RESTORED),
    _of(
        b"POST",
        RUNTIME + b"/restore/error",
        headers=_with((_ERROR_TYPE, _ERROR_TYPES)),
        body=BODIES,
    ),
    _of(b"GET", CREDENTIALS, headers=_with((b"Authorization", _VALUES))),
)
_TYPE = b"Lambda-Extension-Function-Error-Type"
_REPORTS = st.builds(
    Call,
    st.just(b"POST"),
    st.sampled_from([EXTENSION + b"/init/error", EXTENSION + b"/exit/error"]),
    _with((_TYPE, _ERROR_TYPES)),
    BODIES,
    extension=_WHO,
)
_ANY = st.builds(Call, _METHODS, _PATHS, HEADERS, BODIES, extension=_WHO)


def _deed(name, *numbers):
    return st.builds(Deed, st.just(name), st.sampled_from(numbers or (0,)))


_FATAL = st.one_of(
    _deed("time_passes", 3.0, 10.0, 200.0),
    _deed("runtime_exits", 0, 9, 256),
    _deed("extension_exits", *range(4)),
    _deed("memory_ran_out"),
    _deed("sandbox_died"),
    _deed("retire"),
)
# What leads somewhere comes often, what ends everything seldom.
MOVES = st.one_of(
    *[_NEXT] * 6,
    *[_POLL] * 5,
    *[_REGISTER] * 3,
    _FATAL.map(lambda deed: deed),  # mapped, or each of them would come as often as the others
    _STARTS,
    *[_REPORTS] * 2,
    *[_subscriptions()] * 2,
    *[_ANY] * 3,
    *[_deed("invoke", 0, 1)] * 8,
    *[_deed("emptied")] * 4,
    *[_deed("hangs_up", *range(8))] * 5,
    *[_deed("time_passes", 0.002, 0.2, 1.0)] * 2,
    *[_RESPONSE] * 3,
    *[_STREAMED] * 2,
    *[_ERROR] * 5,
)

# --- a good life -------------------------------------------------------------------------


def _all_register(kind, extensions):
    asked = b'{"events":["SHUTDOWN"]}' if kind == "managed" else b'{"events":["INVOKE"]}'
    return [
        Call(b"POST", EXTENSION + b"/register", ((b"Lambda-Extension-Name", name),), asked)
        for name in NAMES[:extensions]
    ]


def _all_poll(_, extensions):
    return [Call(b"GET", POLL, extension=number) for number in range(extensions)]


def _runtime_asks(kind, _):
    return [Call(b"GET", RESTORED if kind == "snap start" else NEXT)]


def _invoked(kind, _):
    """A runtime that is restored asks for its event only now."""
    return [Deed("invoke"), *([Call(b"GET", NEXT)] if kind == "snap start" else [])]


def _answered(*_):
    return [Call(b"POST", RUNTIME + b"/invocation/{id}/response", body=b"null")]


def _runtime_back(*_):
    return [Call(b"GET", NEXT)]


GOOD_STEPS = (
    _all_register,
    _all_poll,
    _runtime_asks,
    _invoked,
    _answered,
    _runtime_back,
    _all_poll,
)
