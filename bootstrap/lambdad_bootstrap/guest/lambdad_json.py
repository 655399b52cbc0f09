"""JSON as AWS's Python client reads and writes it.

AWS's client uses simplejson, which differs from the standard library in what it accepts: named
tuples are objects, bytes are text, Decimals keep their digits, NaN is written but not read.
Most results need none of this and take the way through the standard library's C encoder.
Where a text is not JSON, the error says the same as simplejson in most cases, not in all.
"""

from __future__ import annotations

import json
import marshal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Runtimes from this one on write Unicode as it is; earlier ones and images escape it.
_UNICODE_RUNTIMES = frozenset(f"AWS_Lambda_python3.{minor}" for minor in range(12, 16))
# Version 2 of marshal's format spends no time on finding equal objects.
_MARSHAL_VERSION = 2


class Encoder:
    """Writes results and errors.

    Args:
        execution_env: AWS_EXECUTION_ENV; says whether Unicode is escaped.
    """

    def __init__(self, execution_env: str) -> None:
        self._standard = json.JSONEncoder(ensure_ascii=execution_env not in _UNICODE_RUNTIMES)

    def encode(self, value: Any) -> str:
        """Render any value that AWS's client renders.

        Raises:
            TypeError, ValueError, RecursionError: the value has no JSON form.
        """
        try:
            # The standard library would silently write named tuples as arrays. marshal refuses
            # whatever is not exactly of a built-in type, looks everywhere, and does so in C.
            marshal.dumps(value, _MARSHAL_VERSION)
            return self._standard.encode(value)
        except (TypeError, ValueError):
            return self._encode_slowly(value)

    def _encode_slowly(self, value: Any) -> str:
        try:
            return self._any(value, set())
        except RecursionError:
            msg = "maximum recursion depth exceeded while encoding a JSON object"
            raise RecursionError(msg) from None

    def _any(self, value: Any, above: set[int]) -> str:
        if isinstance(value, bytes):
            value = value.decode()
        if value is None or isinstance(value, (str, int, float)):
            return self._standard.encode(value)
        if id(value) in above:
            msg = "Circular reference detected"
            raise ValueError(msg)
        above.add(id(value))
        text = self._container(value, above)
        above.discard(id(value))
        return text

    def _container(self, value: Any, above: set[int]) -> str:
        content = _as_dict(value)
        if isinstance(content, dict):
            items = [f"{self._key(key)}: {self._any(content[key], above)}" for key in content]
            return "{" + ", ".join(items) + "}"
        if isinstance(content, (list, tuple)):
            return "[" + ", ".join([self._any(item, above) for item in content]) + "]"
        return _number(value)

    def _key(self, key: Any) -> str:
        if isinstance(key, bytes):
            key = key.decode()
        if isinstance(key, str):
            return self._standard.encode(key)
        if key is None or isinstance(key, (int, float)):
            return f'"{self._standard.encode(key)}"'
        name = type(key).__name__
        msg = f"keys must be str, int, float, bool or None, not {name}"
        raise TypeError(msg)


def decode(text: bytes) -> Any:
    """Read an event.

    Raises:
        ValueError: it is not JSON, with the place where it ceases to be.
        UnicodeDecodeError: it is not UTF-8.
    """
    decoded = text.decode("utf-8")
    try:
        return _DECODER.decode(decoded)
    except _Constant as constant:
        place = decoded.find(constant.name)
        raise json.JSONDecodeError("Expecting value", decoded, place) from None


class _Constant(Exception):
    """NaN or Infinity in an event, which JSON does not have."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _refuse_constant(name: str) -> None:
    raise _Constant(name)


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def _as_dict(value: Any) -> Any:
    """Turn named tuples, and what else says how, into dicts; anything else stays as it is."""
    method = getattr(value, "_asdict", None)
    if not callable(method):
        return value
    try:
        content = method()
    except TypeError:
        # The class itself, whose method wants an instance.
        return value
    if not isinstance(content, dict):
        msg = f"_asdict() must return a dict, not {type(content).__name__}"
        raise TypeError(msg)
    return content


def _number(value: Any) -> str:
    # Whoever returns a Decimal has loaded it already; other results shall not pay for it.
    from decimal import Decimal  # noqa: PLC0415 - see above

    if isinstance(value, Decimal):
        return "NaN" if value.is_nan() else str(value)
    msg = f"Object of type {type(value).__name__} is not JSON serializable"
    raise TypeError(msg)
