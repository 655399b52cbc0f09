"""What is asked of the host, and what is said when it has not got it."""

import os

import pytest

from lambdad_sandbox import features, plan
from lambdad_sandbox.errors import CannotIsolate


@pytest.fixture
def host(monkeypatch):
    """A host with these capabilities, for this user, with these knobs."""

    def made(*, uid=0, capabilities=2**41 - 1, **knobs):
        monkeypatch.setattr(os, "geteuid", lambda: uid)
        status = {"CapEff": f"{capabilities:016x}", "Seccomp": "0"}
        monkeypatch.setattr(features, "_status", lambda: status)
        values = {name.replace("__", "."): value for name, value in knobs.items()}
        monkeypatch.setattr(features, "_knob", lambda name: values.get(name, ""))

    return made


def refusal(**asked):
    with pytest.raises(CannotIsolate) as caught:
        plan.refuse_if_missing(features.detect(**asked))
    return str(caught.value)


def test_who_is_not_root_is_told_how_to_be_or_to_ask_for_less(host):
    host(uid=1_000, capabilities=0)
    said = refusal()
    assert "run as root" in said
    assert "--allow-shared-uid" in said


def test_root_without_rights_is_refused_even_if_it_asks_for_less(host):
    host(uid=0, capabilities=0)
    for asked in ({}, {"allow_shared_uid": True}):
        assert "start the container with --privileged" in refusal(**asked)


@pytest.mark.parametrize(
    ("knob", "value"),
    [
        ("user__max_user_namespaces", "0"),
        ("kernel__unprivileged_userns_clone", "0"),
        ("kernel__apparmor_restrict_unprivileged_userns", "1"),
    ],
)
def test_a_host_without_user_namespaces_is_told_which_knob_it_is(host, knob, value):
    host(uid=1_000, capabilities=0, **{knob: value})
    assert f"switched off by {knob.replace('__', '.')}={value}" in refusal(allow_shared_uid=True)


def test_an_ordinary_user_who_has_asked_for_less_goes_on_without_root(host):
    host(uid=1_000, capabilities=0, user__max_user_namespaces="96365")
    found = features.detect(allow_shared_uid=True)
    assert not found.missing()
    assert not found.root
