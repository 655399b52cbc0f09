"""``lambdad-sandbox``: show, step by step, what would be done to a process on this host."""

from __future__ import annotations

import argparse
import sys

from lambdad_sandbox import cgroup, features, plan
from lambdad_sandbox.errors import SandboxError
from lambdad_sandbox.spec import BlankSpec, GuestSpec, RootSpec, SandboxSpec


def main() -> None:
    """Print the plan of a root and of an environment in it; nothing is done."""
    parser = argparse.ArgumentParser(
        prog="lambdad-sandbox",
        description="Print the steps from a bare process to a confined one on this host. "
        "Nothing is done. Exit status 1 when this host cannot isolate.",
    )
    parser.add_argument("--tmp-mb", type=int, default=512, help="size of /tmp (default 512)")
    arguments = parser.parse_args()
    try:
        found = features.detect(cgroup.detect().version or "none", allow_shared_uid=True)
        root = plan.make_root(_root(), found)
        guest = GuestSpec(found.root, 1_879_048_192, 990)
        blank_spec = BlankSpec(("169.254.100.1", 9001), "own", 1_024, 1_024)
        blank = plan.make_blank(blank_spec, guest, found)
        own = plan.make_own(_own(arguments.tmp_mb, root=found.root))
        last = plan.confine(guest)
    except (SandboxError, ValueError) as error:
        sys.exit(f"lambdad-sandbox: {error}")
    for title, listed in (
        ("zygote, once for each interpreter", root),
        ("environment, while it is nobody's yet", blank),
        ("environment, to become a function's", own),
        ("environment, to be confined", last),
    ):
        print(f"{title}:")
        for number, step in enumerate(listed, 1):
            print(f"{number:4}  {step.describe()}")


def _root() -> RootSpec:
    return RootSpec(
        mount_point="ROOT",
        interpreter=sys.base_prefix,
        executable="/var/lang/bin/python3",
        preload="bootstrap",
        packages=(),
        guest="GUEST",
        machinery="MACHINERY",
        code="CODE",
        resolv_conf="",
        uids=(1_879_048_192, 4_096),
        gid=990,
    )


def _own(tmp_mb: int, *, root: bool) -> SandboxSpec:
    return SandboxSpec(root=root, code="TREE", tmp_mb=tmp_mb, disk=False, layers="")
