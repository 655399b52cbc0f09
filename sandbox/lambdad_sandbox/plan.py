"""From what is asked and what the host can do to the steps, or to a refusal. Pure.

Order is security: see the launch recipe in docs/decisions/0002. Nothing is done while a later
step could still be found impossible.
"""

from __future__ import annotations

from lambdad_sandbox.errors import CannotIsolate
from lambdad_sandbox.features import HostFeatures
from lambdad_sandbox.spec import BlankSpec, GuestSpec, RootSpec, SandboxSpec
from lambdad_sandbox.steps import (
    Attach,
    Bind,
    BindDevice,
    CloseDescriptors,
    Device,
    DieWithParent,
    DropBoundingSet,
    DropCapabilities,
    Exec,
    Hostname,
    Identity,
    JoinCgroups,
    JoinNetwork,
    Listen,
    LoopbackUp,
    Mkdir,
    NewCgroupNamespace,
    NewKeyring,
    NewMountNamespace,
    NewSession,
    NewUserNamespace,
    NoNewPrivileges,
    PivotRoot,
    Proc,
    ReadOnly,
    Rlimits,
    Seccomp,
    Step,
    Symlink,
    Tmpfs,
    Unmount,
    Users,
    WriteFile,
)

MACHINERY = "/run/lambdad"

# Where a zygote that is not root's finds the code of all functions; its clones let go of it.
_CODE = "/run/code"

# The dynamic loader reads it once, when the zygote starts, so it must be AWS's from then on.
LD_LIBRARY_PATH = (
    "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib"
)

# Knobs that could be written, were a file mode wrong, and what tells of the kernel's memory.
_PROC_READ_ONLY = ("sys", "sysrq-trigger", "irq", "bus", "fs", "pressure")
_PROC_MASKED = ("kcore", "keys", "timer_list", "kmsg", "kallsyms", "sched_debug", "key-users",
                "kpagecount", "kpageflags", "kpagecgroup", "vmallocinfo", "slabinfo")  # fmt: skip

# Objects of System V IPC are nobody's, so a reset would leave them, and their memory: shared
# memory is to go with the last process that has it attached, and queues are to be few.
_KNOBS = (("kernel/shm_rmid_forced", "1"), ("kernel/msgmni", "32"))

_DEVICES = (("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9))

_NSSWITCH = "passwd: files\ngroup: files\nhosts: files dns\nservices: files\nprotocols: files\n"


def refuse_if_missing(features: HostFeatures) -> None:
    """Refuse what cannot be isolated.

    Raises:
        CannotIsolate: with the one thing that is missing and the cure.
    """
    for feature in features.missing():
        raise CannotIsolate(feature.consequence, feature.cure)


def make_root(spec: RootSpec, features: HostFeatures) -> tuple[Step, ...]:
    """The steps from a bare process to a zygote in the root of its runtime."""
    refuse_if_missing(features)
    root = spec.mount_point
    begin: tuple[Step, ...] = () if features.root else (NewUserNamespace(0, 0),)
    lang = (Bind(spec.interpreter, f"{root}/var/lang"),) if spec.interpreter else ()
    return (
        *begin,
        NewMountNamespace(),
        Tmpfs(root, "755", 8192, 4096),
        *(Mkdir(f"{root}/{name}") for name in _directories()),
        Mkdir(f"{root}/tmp", 0o1777),
        *_system(root, features),
        *_etc(root, spec, features),
        *_devices(root, features),
        *lang,
        Bind(spec.guest, f"{root}/var/runtime"),
        Bind(spec.machinery, root + MACHINERY),
        *_for_a_user(root, spec, features),
        PivotRoot(root),
        ReadOnly("/dev"),
        ReadOnly("/"),
        Exec(
            (spec.executable, "-I", "-S", "-B", MACHINERY, "serve", spec.preload, *spec.packages),
            {"LC_CTYPE": "C.UTF-8", "LD_LIBRARY_PATH": LD_LIBRARY_PATH},
        ),
    )


def make_blank(spec: BlankSpec, guest: GuestSpec, features: HostFeatures) -> tuple[Step, ...]:
    """The steps from a fresh clone of a zygote to a sandbox that is nobody's yet.

    It keeps its capabilities, with which ``make_own`` attaches what is the function's. A user
    has them in one user namespace only, and so cannot go on to another before that.
    """
    refuse_if_missing(features)
    join = () if features.cgroup_version == "v2" else (JoinCgroups(),)
    present = set(features.proc_entries)
    return (
        *join,
        NewCgroupNamespace(),
        *_network(spec),
        Proc(
            tuple(name for name in _PROC_READ_ONLY if name in present),
            tuple(name for name in _PROC_MASKED if name in present),
            _KNOBS,
            instead=not features.root,
        ),
        Hostname("localhost"),
        NewSession(),
        Rlimits(rlimits(spec, features)),
        CloseDescriptors(("control",) if spec.network == "host" else ("control", "listener")),
        *(_be(guest) if guest.root else ()),
    )


def make_own(spec: SandboxSpec) -> tuple[Step, ...]:
    """The steps that make a blank sandbox one function's; those of ``confine`` follow."""
    size = spec.tmp_mb
    disk = Attach("tmp", "/tmp") if spec.disk else Tmpfs("/tmp", "1777", size * 1024, size * 128)
    if spec.root:
        layers: tuple[Step, ...] = (Attach("layers", "/opt"),) if spec.layers else ()
        code: tuple[Step, ...] = (Attach("code", "/var/task"), *layers)
    else:
        layers = (Bind(f"{_CODE}/{spec.layers}", "/opt"),) if spec.layers else ()
        code = (Bind(f"{_CODE}/{spec.code}", "/var/task"), *layers, Unmount(_CODE))
    return (disk, *code)


def confine(guest: GuestSpec) -> tuple[Step, ...]:
    """The steps that take every right from a process, be it ``init`` or a runtime ahead of it."""
    return (*(() if guest.root else _be(guest)), DropCapabilities(), Seccomp())


def _be(guest: GuestSpec) -> tuple[Step, ...]:
    """Become the guest, whose capabilities have still to go: they survive the change of ids."""
    uid, gid = guest.uid, guest.gid
    # The zygote has emptied the bounding set before; a user namespace fills it again.
    identity: tuple[Step, ...] = (
        (Identity(uid, gid),) if guest.root else (NewUserNamespace(uid, gid), DropBoundingSet())
    )
    return (*identity, NewKeyring(), DieWithParent(), NoNewPrivileges())


def rlimits(spec: BlankSpec, features: HostFeatures) -> tuple[tuple[str, int, int], ...]:
    """The limits of every process in a sandbox, as ``steps.Rlimits`` has them."""
    return (
        ("NOFILE", spec.open_files, spec.open_files),
        *_processes(spec, features),
        ("CORE", 0, 0),
        ("MEMLOCK", 65_536, 65_536),
        ("MSGQUEUE", 0, 0),
        ("RTPRIO", 0, 0),
        ("NICE", 0, 0),
        ("SIGPENDING", 1_024, 1_024),
        ("STACK", 8 * 1024 * 1024, -1),
    )


def _processes(spec: BlankSpec, features: HostFeatures) -> tuple[tuple[str, int, int], ...]:
    """The limit of a user, where that is one environment, or all there is to limit with."""
    if features.root or features.cgroup_version == "none":
        return (("NPROC", spec.processes, spec.processes),)
    return ()


def _network(spec: BlankSpec) -> tuple[Step, ...]:
    return {
        "joined": (JoinNetwork(), Listen(*spec.listen)),
        "own": (LoopbackUp(spec.listen[0]), Listen(*spec.listen)),
        "host": (),
    }[spec.network]


def _for_a_user(root: str, spec: RootSpec, features: HostFeatures) -> tuple[Step, ...]:
    """What a zygote of an ordinary user needs to see, and its clones let go of.

    The kernel gives such a clone a procfs of its own only if it sees a whole one, and only the
    zygote may bind what lies outside its root.
    """
    if features.root:
        return ()
    return (
        Bind("/proc", f"{root}/proc"),
        Mkdir(root + _CODE, 0o700),
        Bind(spec.code, root + _CODE),
    )


def _directories() -> tuple[str, ...]:
    """Mount points. The loader remembers which of its directories exist: hence the two lib."""
    return (
        "dev", "etc/ssl", "mnt", "opt/lib", "proc", "run/lambdad", "var/lang", "var/runtime",
        "var/task/lib",
    )  # fmt: skip


def _system(root: str, features: HostFeatures) -> tuple[Step, ...]:
    """The host's programs and libraries: ``/usr`` and what stands beside it or links into it."""
    steps: list[Step] = []
    for name, link in features.system_directories:
        if link:
            steps.append(Symlink(f"{root}/{name}", link))
        else:
            steps += [Mkdir(f"{root}/{name}"), Bind(f"/{name}", f"{root}/{name}")]
    return tuple(steps)


def _etc(root: str, spec: RootSpec, features: HostFeatures) -> tuple[Step, ...]:
    files = {
        "group": f"root:x:0:\nsbx_user1051:x:{spec.gid}:\n",
        "hosts": "127.0.0.1 localhost\n127.0.0.1 sandbox.localdomain sandbox\n",
        "hostname": "localhost\n",
        "nsswitch.conf": _NSSWITCH,
        "resolv.conf": spec.resolv_conf,
    }
    steps: list[Step] = [WriteFile(f"{root}/etc/{name}", text) for name, text in files.items()]
    steps.append(Users(f"{root}/etc/passwd", *spec.uids, spec.gid))
    steps.append(Symlink(f"{root}/etc/localtime", "/usr/share/zoneinfo/UTC"))
    steps.append(Symlink(f"{root}/etc/os-release", "/usr/lib/os-release"))
    for name, kind in features.etc_entries.items():
        inside = f"{root}/etc/{name}"
        steps.append(Mkdir(inside) if kind == "directory" else WriteFile(inside, ""))
        steps.append(Bind(f"/etc/{name}", inside))
    return tuple(steps)


def _devices(root: str, features: HostFeatures) -> tuple[Step, ...]:
    devices: tuple[Step, ...] = tuple(
        Device(f"{root}/dev/{name}", major, minor)
        if features.root
        else BindDevice(f"/dev/{name}", f"{root}/dev/{name}")
        for name, major, minor in _DEVICES
    )
    return (
        Tmpfs(f"{root}/dev", "755", 64, 32, devices=True),
        *devices,
        Symlink(f"{root}/dev/fd", "/proc/self/fd"),
        Symlink(f"{root}/dev/stdin", "/proc/self/fd/0"),
        Symlink(f"{root}/dev/stdout", "/proc/self/fd/1"),
        Symlink(f"{root}/dev/stderr", "/proc/self/fd/2"),
    )
