"""A function, as the control plane records it: an immutable value.

A change makes a new value with a new ``revision_id``; nothing is ever altered in place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from lambdad.model.layer import LayerRef

LATEST = "$LATEST"


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
    """One version of a function: its ``$LATEST``, or one that was published and stays as it is.

    Attributes:
        code_sha256: base64 of the SHA-256 of the uploaded zip, as ``CodeSha256`` shows it.
        tree: the name under which the unpacked code is kept (see ``lambdad.code.blobs``).
        environment: ``None`` when never given, which differs from given and empty.
        last_modified: seconds since the epoch.
        reason: why the state or the update failed, in words for the user.
        version: ``$LATEST`` or a number.
        layers: in the order in which they were asked for; a later one hides an earlier one.
        layers_tree: the name under which all of them together are kept, as ``/opt`` shows them;
            ``None`` without layers.
        max_concurrency: events at a time in one environment, where there may be several.
        capacity_provider: the ARN of what gives it such environments; ``None`` for lambdad alone.
        memory_gib_per_vcpu: what was asked of that; nothing follows from it here.
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
    version: str = LATEST
    layers: tuple[LayerRef, ...] = ()
    layers_tree: str | None = None
    max_concurrency: int | None = None
    capacity_provider: str | None = None
    memory_gib_per_vcpu: float | None = None

    @property
    def restores(self) -> bool:
        """Whether its environments come of a snapshot: only versions do, which never change."""
        return self.snap_start == "PublishedVersions" and self.version != LATEST

    @property
    def trees(self) -> tuple[str, ...]:
        """The names of all that is kept for it."""
        return (self.tree,) if self.layers_tree is None else (self.tree, self.layers_tree)

    def publishes_as(self, version: Function) -> bool:
        """Whether nothing has changed since ``version`` was published, in code or configuration.

        A version's description may be its own, so that does not count.
        """
        return self._as(version) == version

    def _as(self, version: Function) -> Function:
        """This, but for what says when and as what it is recorded."""
        same = (
            "version", "revision_id", "last_modified", "description", "tags", "state",
            "update_status", "reason",
        )  # fmt: skip
        return self.changed(**{name: getattr(version, name) for name in same})

    def changed(self, **changes: object) -> Function:
        """The same function with other values."""
        return dataclasses.replace(self, **changes)  # type: ignore[arg-type]
