"""Limits on memory, processes and processors, on cgroup v1 or v2: one protocol, a keeper each.

Not a way to run without limits: a host that cannot limit gets ``CannotLimit``, unless it is said
in so many words that watching will do. That is a third keeper.
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
