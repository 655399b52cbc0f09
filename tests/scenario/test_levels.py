"""What is promised on this host, by whom, and what is refused: as the operator is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest
from scenario.program import LAMBDAD, PATIENCE, UNLIMITED, doctor, flags_of_this_level

NOBODY = 65_534
SOURCES = [str(Path(__file__).parents[2] / wing) for wing in ("runtime", "sandbox", "bootstrap")]
MAIN = "import sys; from lambdad.cli import main; main(sys.argv[1:])"
USER = {"PRV-2", "RES-3", "FS-5"}
NO_CGROUP = {"RES-1", "RES-2", "RES-6", "LIF-4"}


def ran(*command, **more):
    return subprocess.run(
        command, capture_output=True, text=True, timeout=60 * PATIENCE, check=False, **more
    )


def expected():
    """The table of docs/hardening.md for who runs this, on what."""
    degraded = {"API-9"}
    if os.geteuid() != 0:
        degraded |= USER
    elif shutil.which("mke2fs") is None or not Path("/dev/loop-control").exists():
        degraded |= {"FS-5"}
    if doctor()["level"]["cgroups"] == "none":
        degraded |= NO_CGROUP
    return degraded


def degraded_in(report):
    return {name for name, one in report["promises"].items() if one["state"] == "degraded"}


def test_the_doctor_reports_what_this_level_cannot_promise_and_nothing_else():
    report = json.loads(ran(LAMBDAD, "doctor", "--json", *flags_of_this_level()).stdout)
    assert report["can_start"], report["refusal"]
    assert degraded_in(report) == expected()
    assert all(one["reason"] for one in report["promises"].values() if one["state"] == "degraded")


def test_the_daemon_says_at_start_what_the_doctor_says(daemon):
    assert set(daemon.degraded) == expected()


def test_the_host_network_gives_up_four_promises():
    flags = (*flags_of_this_level(), "--network", "host")
    report = json.loads(ran(LAMBDAD, "doctor", "--json", *flags).stdout)
    assert degraded_in(report) == expected() | {"NET-1", "NET-2", "NET-3", "NET-4"}


def test_the_doctor_leaves_nothing(tmp_path):
    ran(LAMBDAD, "doctor", *flags_of_this_level(), env={**os.environ, "TMPDIR": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


# --- less than root, tried from root ----------------------------------------------------------


@cache
def python_for_all():
    """A Python that every user may run, with what the daemon needs."""
    packages = [path for path in sys.path if path.endswith("site-packages")]
    version = f"python3.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        environ = {"PATH": os.environ["PATH"], "PYTHONPATH": ":".join([*SOURCES, *packages])}
        # With execve(2) by the user itself: setpriv looks the program up while it is still root.
        command = as_user("/usr/bin/env", python, "-c", "import lambdad.daemon")
        if Path("/usr/bin/env").exists() and ran(*command, env=environ).returncode == 0:
            return python, environ
    return None


def as_user(*command):
    setpriv = shutil.which("setpriv") or pytest.skip("there is no setpriv")
    who = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    return (setpriv, *who, *command)


@pytest.fixture
def folder_for_all():
    """A folder that every user may write to; pytest's own are for the one who runs it."""
    with tempfile.TemporaryDirectory(prefix="lambdad-") as folder:
        Path(folder).chmod(0o777)
        yield folder


@pytest.fixture
def ordinary(folder_for_all):
    """Runs lambdad as an ordinary user; ``first`` is a shell's preparation, as root."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to become somebody else")
    found = python_for_all() or pytest.skip("there is no Python that every user may run")
    python, environ = found

    def run(*arguments, first="true"):
        command = as_user("/usr/bin/env", python, "-c", MAIN, *arguments)
        prepared = ("unshare", "-m", "sh", "-c", f'{first} && exec "$@"', "sh", *command)
        more = {"TMPDIR": folder_for_all, "LAMBDAD_STATE_DIR": f"{folder_for_all}/state"}
        return ran(*prepared, env=environ | more)

    return run


def test_an_ordinary_user_is_refused_who_has_not_asked_for_less(ordinary):
    refused = ordinary("serve", "--port", "0")
    assert refused.returncode == 1
    assert "need root" in refused.stderr
    assert "ask for less: --allow-shared-uid" in refused.stderr


def test_a_host_without_cgroups_is_refused_unless_that_is_asked_for(ordinary):
    refused = ordinary("serve", "--port", "0", "--allow-shared-uid")
    assert refused.returncode == 1
    assert "cannot make cgroups" in refused.stderr
    assert "ask for less: --allow-unlimited-memory" in refused.stderr


def test_an_ordinary_user_without_cgroups_may_ask_for_what_is_left(ordinary):
    report = json.loads(ordinary("doctor", "--json", "--allow-shared-uid", UNLIMITED).stdout)
    assert report["can_start"], report["refusal"]
    assert degraded_in(report) == {"API-9"} | USER | NO_CGROUP


def test_an_ordinary_user_has_no_way_out_to_give(ordinary):
    flags = ("--allow-shared-uid", UNLIMITED, "--network", "outbound")
    refused = ordinary("serve", "--port", "0", *flags)
    assert refused.returncode == 1
    assert "cannot give environments a way out: not root" in refused.stderr


def test_in_a_container_that_masks_proc_it_is_refused_with_the_cure(ordinary):
    flags = ("--allow-shared-uid", UNLIMITED)
    refused = ordinary("serve", "--port", "0", *flags, first="mount --bind /dev/null /proc/version")
    assert refused.returncode == 1
    assert "cannot mount proc" in refused.stderr
    assert "systempaths=unconfined" in refused.stderr
