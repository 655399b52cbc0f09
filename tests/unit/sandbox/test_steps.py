import dataclasses
import os

import msgpack
import pytest

from lambdad_sandbox import enter, plan, steps
from lambdad_sandbox.errors import StepFailed

SAMPLES = {
    "str": "/a",
    "int": 7,
    "bool": True,
    "tuple": ("a", "b"),
    "dict": {"A": "b"},
}
SPECIAL = {"Rlimits": steps.Rlimits((("CORE", 0, 0), ("STACK", 8_388_608, -1)))}


def all_kinds():
    return sorted(steps._KINDS.values(), key=lambda kind: kind.__name__)


def sample(kind):
    """A step of a kind, with something in each field."""
    if kind.__name__ in SPECIAL:
        return SPECIAL[kind.__name__]
    return kind(*(SAMPLES[str(field.type).partition("[")[0]] for field in dataclasses.fields(kind)))


@pytest.mark.parametrize("kind", all_kinds())
def test_a_step_arrives_as_it_was_planned(kind):
    step = sample(kind)
    sent = msgpack.unpackb(msgpack.packb(steps.pack([step])), use_list=False)
    assert steps.unpack(sent) == [step]


@pytest.mark.parametrize("kind", all_kinds())
def test_every_step_says_what_it_does(kind):
    said = sample(kind).describe()
    assert said
    assert said[0].islower()
    assert "\n" not in said
    assert not said.endswith(".")


@pytest.mark.parametrize("kind", all_kinds())
def test_every_step_has_a_meaning_of_its_own(kind):
    assert kind.__doc__
    assert "apply" in vars(kind)


def test_a_whole_plan_arrives_in_order(features, blank_spec, guest_spec, sandbox_spec, root_spec):
    for planned in (
        plan.make_blank(blank_spec, guest_spec, features("v1")),
        plan.make_own(sandbox_spec),
        plan.confine(guest_spec),
        plan.make_root(root_spec, features()),
    ):
        assert tuple(steps.unpack(steps.pack(planned))) == planned


@pytest.mark.parametrize("name", ["Step", "Nothing", "os"])
def test_a_step_that_there_is_not_is_refused(name):
    with pytest.raises(KeyError):
        steps.unpack([(name,)])


def test_a_step_that_fails_is_named_and_ends_the_plan(tmp_path):
    late = tmp_path / "late"
    planned = [steps.Mkdir(str(tmp_path / "a")), steps.Device(str(tmp_path / "a"), 1, 3),
               steps.WriteFile(str(late), "")]  # fmt: skip
    with pytest.raises(StepFailed) as caught:
        enter.run(planned, {})
    assert caught.value.step == f"make device {tmp_path / 'a'} (1, 3)"
    assert str(caught.value).startswith(f"cannot make device {tmp_path / 'a'} (1, 3): E")
    assert (tmp_path / "a").is_dir()
    assert not late.exists()


def test_files_and_directories_are_for_everybody_to_read(tmp_path):
    before = os.umask(0o077)
    try:
        enter.run(
            [
                steps.Mkdir(str(tmp_path / "tmp"), 0o1777),
                steps.WriteFile(str(tmp_path / "hosts"), "127.0.0.1 localhost\n"),
                steps.Symlink(str(tmp_path / "link"), "hosts"),
            ],
            {},
        )
    finally:
        os.umask(before)
    assert (tmp_path / "tmp").stat().st_mode & 0o7777 == 0o1777
    assert (tmp_path / "hosts").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "link").read_text() == "127.0.0.1 localhost\n"


def test_every_uid_has_a_name(tmp_path):
    steps.Users(str(tmp_path / "passwd"), 1_000, 3, 990).apply({})
    lines = (tmp_path / "passwd").read_text().splitlines()
    assert lines[0].startswith("root:x:0:0:")
    assert [line.split(":")[:4] for line in lines[1:]] == [
        ["sbx_user1051", "x", str(uid), "990"] for uid in (1_000, 1_001, 1_002)
    ]
