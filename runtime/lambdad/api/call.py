"""What an operation knows of the request beside its parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the API.

    Attributes:
        request_id: what the answer's ``x-amzn-RequestId`` says.
        trace: the incoming ``X-Amzn-Trace-Id``; empty if there was none.
        endpoint: scheme, host and port by which the client came.
        content_type: of the body, as the client names it; empty if it does not.
        code_path: by the digest of a zip, the path at which it may be had for a while.
        headers: of the answer, if it is no error, beside those that the model knows.
    """

    request_id: str
    trace: str = ""
    endpoint: str = ""
    content_type: str = ""
    code_path: Callable[[str], str] = str
    headers: dict[str, str] = field(default_factory=dict)
