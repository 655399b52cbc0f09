"""The binary messages that a stream of events is made of; single ones, and only to be sent.

What is in them and when they come is others' matter. Source:
https://smithy.io/2.0/aws/amazon-eventstream.html, and runtime-protocol 4.9.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

CONTENT_TYPE = "application/vnd.amazon.eventstream"

_STRING = 7  # the type of a header's value
_PRELUDE = struct.Struct("!II")
_CHECKSUM = struct.Struct("!I")


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Two lengths and their checksum, headers, payload, and a checksum of everything before."""
    head = b"".join(_header(name, value) for name, value in headers.items())
    length = _PRELUDE.size + 2 * _CHECKSUM.size + len(head) + len(payload)
    prelude = _PRELUDE.pack(length, len(head))
    start = prelude + _CHECKSUM.pack(zlib.crc32(prelude)) + head
    return b"".join((start, payload, _CHECKSUM.pack(zlib.crc32(payload, zlib.crc32(start)))))


def _header(name: str, value: str) -> bytes:
    key, text = name.encode(), value.encode()
    return struct.pack("!B", len(key)) + key + struct.pack("!BH", _STRING, len(text)) + text
