"""A function, as the control plane records it: an immutable value.

A change makes a new value with a new ``revision_id``; nothing is ever altered in place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """``FunctionConfiguration.State``."""

    PENDING = "Pending"
    ACTIVE = "Active"
    FAILED = "Failed"


class UpdateStatus(StrEnum):
    """``FunctionConfiguration.LastUpdateStatus``."""

    IN_PROGRESS = "InProgress"
    SUCCESSFUL = "Successful"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Function:
    """The ``$LATEST`` of one function.

    Attributes:
        code_sha256: base64 of the SHA-256 of the uploaded zip, as ``CodeSha256`` shows it.
        tree: the name under which the unpacked code is kept (see ``lambdad.code.blobs``).
        environment: ``None`` when never given, which differs from given and empty.
        last_modified: seconds since the epoch.
        reason: why the state or the update failed, in words for the user.
    """

    name: str
    runtime: str
    handler: str | None
    role: str
    code_sha256: str
    code_bytes: int
    tree: str
    timeout_s: int
    memory_mb: int
    tmp_mb: int
    architecture: str
    revision_id: str
    last_modified: float
    description: str = ""
    environment: Mapping[str, str] | None = None
    tracing_mode: str = "PassThrough"
    log_format: str = "Text"
    log_group: str | None = None
    application_log_level: str | None = None
    system_log_level: str | None = None
    snap_start: str = "None"
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    state: State = State.PENDING
    update_status: UpdateStatus | None = None
    reason: str | None = None

    def changed(self, **changes: object) -> Function:
        """The same function with other values."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]
