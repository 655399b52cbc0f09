"""Limits on memory, processes and processors, on cgroup v1 or v2: one protocol, two keepers.

Not a way to run without limits: a host that cannot limit gets ``CannotLimit``.
"""

from lambdad_sandbox.cgroup.detection import Detected, detect, keeper
from lambdad_sandbox.cgroup.protocol import CannotLimit, Cgroup, CgroupBusy, Keeper, Limits

__all__ = [
    "CannotLimit",
    "Cgroup",
    "CgroupBusy",
    "Detected",
    "Keeper",
    "Limits",
    "detect",
    "keeper",
]
