"""What the unpacker says to the daemon through its pipe: that it is confined, then how it went.

The unpacker may have been taken over by the zip that it reads, so what comes is believed only as
far as it is well-formed. Who waits for it and how long is known to ``lambdad.code.unpacking``.
"""

from __future__ import annotations

import os
from typing import Final

from lambdad.code.archive import ArchiveTooLarge, BadArchive
from lambdad.model.errors import PlatformFault
from lambdad_sandbox.errors import StepFailed

CONFINED: Final = b"confined\n"
UNPACKED: Final = b"unpacked\n"
BYTES_MAX: Final = 4_096  # fits into any pipe, so that nobody waits for the other

_REASON_CHARACTERS_MAX = 500  # of at most four bytes each in UTF-8


class NoVerdict(Exception):
    """What came is no verdict: nothing, half of one, or nonsense."""


def refusal(error: BadArchive | ArchiveTooLarge | OSError | StepFailed) -> bytes:
    """An error as the unpacker says it."""
    match error:
        case BadArchive():
            said = f"malformed {error.reason[:_REASON_CHARACTERS_MAX]}"
        case ArchiveTooLarge():
            said = f"too-large {error.unzipped_bytes} {error.unzipped_bytes_max}"
        case OSError():
            said = f"failed {error.errno or 0}"
        case StepFailed():
            said = f"unconfined {error}"
    return f"{said}\n".encode()


def read(said: bytes) -> Exception | None:
    """What to raise on a verdict; ``None`` when all was well.

    Raises:
        NoVerdict: it is none. What follows depends on how the unpacker ended.
    """
    try:
        text = said.decode()
    except UnicodeDecodeError:
        raise NoVerdict from None
    # The reason may be logged: what a terminal would obey does not get that far.
    if not text.endswith("\n") or not text[:-1].isprintable():
        raise NoVerdict
    if said == UNPACKED:
        return None
    kind, _, rest = text[:-1].partition(" ")
    match kind, rest.split():
        case "malformed", _:
            return BadArchive(rest)
        case "too-large", [size, most] if size.isdecimal() and most.isdecimal():
            return ArchiveTooLarge(int(size), int(most))
        case "failed", [number] if number.isdecimal():
            return OSError(int(number), os.strerror(int(number)))
        case "unconfined", _:
            return PlatformFault(f"cannot unzip anything here: {rest}")
    raise NoVerdict
