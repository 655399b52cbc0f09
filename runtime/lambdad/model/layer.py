"""Layers: what was published as a version of one, and what a function says of those it uses.

Immutable values, as functions are. Which versions there are is for ``lambdad.code.layers`` to know.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LayerVersion:
    """One version of a layer, fixed from its publishing on.

    Attributes:
        version: from 1 on, and never given to another.
        code_sha256, code_bytes: of the zip, as ``CodeSha256`` and ``CodeSize`` show them.
        tree: the name under which the unpacked files are kept (see ``lambdad.code.blobs``).
        unzipped_bytes: what these take.
        created: seconds since the epoch.
        compatible_runtimes, compatible_architectures: ``None`` when never given, which differs
            from given and empty.
    """

    name: str
    version: int
    code_sha256: str
    code_bytes: int
    tree: str
    unzipped_bytes: int
    created: float
    description: str = ""
    license_info: str | None = None
    compatible_runtimes: tuple[str, ...] | None = None
    compatible_architectures: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class LayerRef:
    """A layer version as a function has it, which outlives the version itself.

    Attributes:
        arn: of the version.
        code_bytes: the size of its zip, as ``CodeSize`` shows it.
        unzipped_bytes: what its files take.
    """

    arn: str
    code_bytes: int
    unzipped_bytes: int
