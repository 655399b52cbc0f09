"""A host that can do everything, as the plan sees it."""

import pytest

from lambdad_sandbox.features import Feature, HostFeatures
from lambdad_sandbox.spec import BlankSpec, GuestSpec, RootSpec, SandboxSpec


@pytest.fixture
def features():
    """Makes answers of a host; ``missing`` are names of what it lacks."""

    def made(cgroup_version="v2", missing=(), *, root=True):
        names = ("root with CAP_SYS_ADMIN", "seccomp", "mount_setattr(2)")
        return HostFeatures(
            critical=tuple(
                Feature(name, name not in missing, f"cannot isolate: no {name}", f"get {name}")
                for name in names
            ),
            root=root,
            cgroup_version=cgroup_version,
            system_directories=(("usr", ""), ("bin", "usr/bin"), ("lib64", "usr/lib64")),
            etc_entries={"ld.so.cache": "file", "ssl/certs": "directory"},
            proc_entries=("self", "sys", "kcore", "keys", "meminfo"),
        )

    return made


@pytest.fixture
def root_spec():
    return RootSpec(
        mount_point="/srv/roots/python3.12",
        interpreter="/usr/local",
        executable="/var/lang/bin/python3.12",
        preload="bootstrap",
        packages=(),
        guest="/srv/guest",
        machinery="/srv/machinery",
        code="/srv/code",
        resolv_conf="nameserver 192.0.2.53\n",
        uids=(1_879_048_192, 4_096),
        gid=990,
    )


@pytest.fixture
def blank_spec():
    return BlankSpec(("169.254.100.1", 9001), "own", open_files=1_024, processes=1_024)


@pytest.fixture
def guest_spec():
    return GuestSpec(root=True, uid=1_879_048_192, gid=990)


@pytest.fixture
def sandbox_spec():
    return SandboxSpec(root=True, code="tree", tmp_mb=512, disk=False, layers="")
