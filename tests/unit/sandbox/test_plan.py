from dataclasses import replace
from pathlib import Path

import pytest

from lambdad_sandbox import plan, steps
from lambdad_sandbox.errors import CannotIsolate

HERE = Path(__file__).parent
BECOMES = (steps.Identity, steps.NewUserNamespace)
BRINGS = (steps.Attach, steps.Bind, steps.Tmpfs)


def described(planned):
    return "".join(f"{step.describe()}\n" for step in planned)


def kinds(planned):
    return [type(step) for step in planned]


@pytest.fixture
def whole(blank_spec, guest_spec, sandbox_spec):
    """Makes the list of all that is done to a clone of a zygote."""

    def made(found):
        root = {"root": found.root}
        guest, own = replace(guest_spec, **root), replace(sandbox_spec, **root)
        blank = plan.make_blank(blank_spec, guest, found)
        return (*blank, *plan.make_own(own), *plan.confine(guest))

    return made


@pytest.fixture(params=[("v1", True), ("v2", True), ("none", False)])
def environment(request, features, whole):
    """The same, on a host of each cgroup version, and a user's."""
    version, root = request.param
    return whole(features(version, root=root))


def test_the_plan_of_an_environment_is_this(features, whole):
    """128 MB buy the same plan as any other size: memory is the cgroup's to limit."""
    planned = whole(features("v1"))
    assert described(planned) == (HERE / "golden_environment.txt").read_text(encoding="utf-8")


def test_the_plan_of_a_root_is_this(features, root_spec):
    planned = plan.make_root(root_spec, features())
    assert described(planned) == (HERE / "golden_root.txt").read_text(encoding="utf-8")


# --- order is security --------------------------------------------------------------------


def test_seccomp_comes_last(environment):
    assert kinds(environment)[-1] is steps.Seccomp
    assert kinds(environment).count(steps.Seccomp) == 1


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        (steps.NewCgroupNamespace, steps.Proc),
        (steps.LoopbackUp, steps.Listen),
        (steps.Listen, steps.CloseDescriptors),
        (steps.Proc, BECOMES),
        (steps.Rlimits, BECOMES),
        (steps.CloseDescriptors, BECOMES),
        (BECOMES, steps.NewKeyring),
        (BECOMES, steps.DieWithParent),
        (BECOMES, steps.DropCapabilities),
        (BRINGS, steps.DropCapabilities),
        (steps.NoNewPrivileges, steps.DropCapabilities),
        (steps.DropCapabilities, steps.Seccomp),
    ],
)
def test_one_comes_before_the_other(environment, earlier, later):
    found = [position for position, step in enumerate(environment) if isinstance(step, earlier)]
    then = [position for position, step in enumerate(environment) if isinstance(step, later)]
    assert max(found) < min(then)


def test_what_runs_ahead_of_its_function_has_as_few_rights_as_init(
    features, blank_spec, guest_spec
):
    """It is forked from a blank one, and takes the same last steps."""
    blank = kinds(plan.make_blank(blank_spec, guest_spec, features()))
    assert blank[-4:] == [
        steps.Identity, steps.NewKeyring, steps.DieWithParent, steps.NoNewPrivileges
    ]  # fmt: skip
    assert kinds(plan.confine(guest_spec)) == [steps.DropCapabilities, steps.Seccomp]


def test_on_v1_the_cgroup_is_joined_first(features, blank_spec, guest_spec):
    assert kinds(plan.make_blank(blank_spec, guest_spec, features("v1")))[0] is steps.JoinCgroups


def test_on_v2_nobody_joins_what_it_was_born_in(features, blank_spec, guest_spec):
    assert steps.JoinCgroups not in kinds(plan.make_blank(blank_spec, guest_spec, features("v2")))


def test_a_root_is_executed_in_last_and_sealed_before(features, root_spec):
    planned = plan.make_root(root_spec, features())
    assert kinds(planned)[0] is steps.NewMountNamespace
    assert kinds(planned)[-4:] == [steps.PivotRoot, steps.ReadOnly, steps.ReadOnly, steps.Exec]


def test_nothing_of_the_host_is_seen_but_what_is_named(features, root_spec):
    binds = [
        step.source for step in plan.make_root(root_spec, features()) if type(step) is steps.Bind
    ]
    assert binds == [
        "/usr", "/etc/ld.so.cache", "/etc/ssl/certs", "/usr/local", "/srv/guest", "/srv/machinery"
    ]  # fmt: skip


def test_the_zygote_gets_no_variable_of_the_daemons(features, root_spec):
    executed = plan.make_root(root_spec, features())[-1]
    assert set(executed.environ) == {"LC_CTYPE", "LD_LIBRARY_PATH"}


def test_what_is_executed_needs_no_interpreter(features, root_spec):
    bare = replace(root_spec, interpreter="", preload="")
    targets = [getattr(step, "target", "") for step in plan.make_root(bare, features())]
    assert not any(target.endswith("/var/lang") for target in targets)


def test_of_proc_only_what_is_there_is_masked(features, blank_spec, guest_spec):
    [proc] = [
        step
        for step in plan.make_blank(blank_spec, guest_spec, features())
        if type(step) is steps.Proc
    ]
    assert (proc.read_only, proc.masked) == (("sys",), ("kcore", "keys"))


def test_layers_are_attached_when_they_come_along(sandbox_spec):
    layered = replace(sandbox_spec, layers="layers")
    attached = [step.target for step in plan.make_own(layered) if type(step) is steps.Attach]
    assert attached == ["/var/task", "/opt"]


@pytest.mark.parametrize("tmp_mb", [512, 10_240])
def test_tmp_has_the_size_that_was_asked_for(sandbox_spec, tmp_mb):
    planned = plan.make_own(replace(sandbox_spec, tmp_mb=tmp_mb))
    [tmp] = [step for step in planned if type(step) is steps.Tmpfs]
    assert (tmp.target, tmp.mode, tmp.size_kb) == ("/tmp", "1777", tmp_mb * 1024)


def test_a_disk_is_attached_when_it_comes_along(sandbox_spec):
    planned = plan.make_own(replace(sandbox_spec, disk=True))
    attached = [step.target for step in planned if type(step) is steps.Attach]
    assert attached == ["/tmp", "/var/task"]
    assert steps.Tmpfs not in kinds(planned)


def test_names_are_asked_of_whom_the_network_says(features, root_spec):
    planned = plan.make_root(root_spec, features())
    written = {step.path: step.content for step in planned if type(step) is steps.WriteFile}
    [content] = [text for path, text in written.items() if path.endswith("/etc/resolv.conf")]
    assert content == "nameserver 192.0.2.53\n"


# --- networks -----------------------------------------------------------------------------


def test_a_network_is_joined_before_it_is_listened_in(features, blank_spec, guest_spec):
    found = kinds(plan.make_blank(replace(blank_spec, network="joined"), guest_spec, features()))
    assert found.index(steps.JoinNetwork) < found.index(steps.Listen)
    assert steps.LoopbackUp not in found


def test_in_the_hosts_network_nothing_is_changed_and_nothing_listens(
    features, blank_spec, guest_spec
):
    planned = plan.make_blank(replace(blank_spec, network="host"), guest_spec, features())
    assert not {steps.JoinNetwork, steps.LoopbackUp, steps.Listen} & set(kinds(planned))
    [closing] = [step for step in planned if type(step) is steps.CloseDescriptors]
    assert closing.keep == ("control",)


# --- an ordinary user's -------------------------------------------------------------------


def test_a_user_makes_its_root_in_a_user_namespace(features, root_spec):
    planned = plan.make_root(root_spec, features(root=False))
    assert kinds(planned)[:2] == [steps.NewUserNamespace, steps.NewMountNamespace]
    assert steps.Device not in kinds(planned)
    devices = [step.source for step in planned if type(step) is steps.BindDevice]
    assert devices == ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"]


def test_a_guest_of_a_user_is_in_a_second_user_namespace_without_rights(features, whole):
    planned = kinds(whole(features(root=False)))
    assert steps.Identity not in planned
    order = (steps.NewUserNamespace, steps.DropBoundingSet, steps.DropCapabilities, steps.Seccomp)
    assert sorted(order, key=planned.index) == list(order)


def test_a_guest_of_a_user_sees_its_own_code_and_nobody_elses(sandbox_spec):
    planned = plan.make_own(replace(sandbox_spec, root=False))
    bind = next(step for step in planned if type(step) is steps.Bind)
    gone = next(step for step in planned if type(step) is steps.Unmount)
    assert (bind.source, bind.target) == ("/run/code/tree", "/var/task")
    assert gone.path == "/run/code"
    assert planned.index(bind) < planned.index(gone)


def test_a_guest_of_a_user_sees_its_own_layers_and_nobody_elses(sandbox_spec):
    planned = plan.make_own(replace(sandbox_spec, root=False, layers="layers"))
    binds = [(step.source, step.target) for step in planned if type(step) is steps.Bind]
    assert binds == [("/run/code/tree", "/var/task"), ("/run/code/layers", "/opt")]
    assert kinds(planned).index(steps.Unmount) == kinds(planned).index(steps.Bind) + 2


@pytest.mark.parametrize("root", [True, False])
def test_without_layers_nothing_is_mounted_on_opt(sandbox_spec, root):
    planned = plan.make_own(replace(sandbox_spec, root=root))
    assert "/opt" not in [getattr(step, "target", "") for step in planned]


@pytest.mark.parametrize(
    ("host", "limited"),
    [(("v2", True), True), (("v1", True), True), (("v2", False), False), (("none", False), True)],
)
def test_processes_are_limited_by_user_where_no_neighbour_pays_for_it(
    features, blank_spec, guest_spec, host, limited
):
    version, root = host
    planned = plan.make_blank(blank_spec, guest_spec, features(version, root=root))
    [rlimits] = [step for step in planned if type(step) is steps.Rlimits]
    assert ("NPROC", 1_024, 1_024) in rlimits.limits if limited else True
    assert any(name == "NPROC" for name, *_ in rlimits.limits) == limited


def test_the_proc_of_a_user_takes_the_place_of_the_hosts(features, blank_spec, guest_spec):
    planned = plan.make_blank(blank_spec, guest_spec, features(root=False))
    [proc] = [step for step in planned if type(step) is steps.Proc]
    assert proc.instead


# --- refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["root with CAP_SYS_ADMIN", "seccomp", "mount_setattr(2)"])
def test_what_cannot_be_isolated_is_refused_with_the_cure(
    features, blank_spec, guest_spec, root_spec, missing
):
    lacking = features(missing=[missing])
    for make in (
        lambda: plan.make_blank(blank_spec, guest_spec, lacking),
        lambda: plan.make_root(root_spec, lacking),
    ):
        with pytest.raises(CannotIsolate) as caught:
            make()
        assert caught.value.hint == f"get {missing}"
        assert str(caught.value) == f"cannot isolate: no {missing} (get {missing})"


@pytest.mark.parametrize(("uid", "gid"), [(0, 990), (-1, 990), (1000, 0)])
def test_a_guest_that_would_be_root_does_not_exist(guest_spec, uid, gid):
    with pytest.raises(ValueError, match="cannot run a guest as"):
        replace(guest_spec, uid=uid, gid=gid)


@pytest.mark.parametrize("tmp_mb", [0, -5])
def test_a_tmp_without_room_does_not_exist(sandbox_spec, tmp_mb):
    with pytest.raises(ValueError, match="cannot make a /tmp of"):
        replace(sandbox_spec, tmp_mb=tmp_mb)
