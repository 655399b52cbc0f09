"""PRV: a function is an ordinary user of its own, before anything of it runs."""

from __future__ import annotations

import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from promises.deeds import call, refused, status_of
from scenario.program import PATIENCE

PR_SET_SECUREBITS, PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 28, 38, 47, 2
CAPABILITIES = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


# --- PRV-1: not root, no capability, and no way to one ---


def test_prv_1_a_function_has_no_privilege(inside, daemon):
    degraded = daemon.degraded
    status = inside(status_of, "self")
    assert [int(status[name], 16) for name in CAPABILITIES] == [0] * 5
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    uids, gids = set(status["Uid"].split("\t")), set(status["Gid"].split("\t"))
    assert len(uids) == len(gids) == 1
    assert "0" not in uids | gids
    # A user namespace keeps the groups of its maker; there it knows its own and, for all others,
    # nobody's.
    assert set(status["Groups"].split()) <= (set() if "PRV-2" not in degraded else gids | {"65534"})


def test_prv_1_init_has_no_privilege_either(inside):
    status = inside(status_of, 1)
    assert [int(status[name], 16) for name in CAPABILITIES] == [0] * 5
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert status["Uid"] == inside(status_of, "self")["Uid"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("setuid", 0),
        ("setgid", 0),
        ("setresuid", 0, 0, 0),
        ("setreuid", 1, 1),
        ("setgroups", 1, "\0\0\0\0"),
        ("chown", "/tmp", 0, 0),
        ("prctl", PR_SET_SECUREBITS, 0, 0, 0, 0),
        ("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 21, 0, 0),
    ],
    ids=lambda call: f"{call[0]} {call[1]}",
)
def test_prv_1_privileges_cannot_be_gained(inside, arguments):
    # In a user namespace there are no other ids, which is EINVAL.
    refused(inside, call, *arguments, also=[errno.EINVAL])


def test_prv_1_no_new_privs_cannot_be_taken_back(inside):
    with pytest.raises(OSError, match="Invalid argument"):
        inside(call, "prctl", PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0)
    assert inside(status_of, "self")["NoNewPrivs"] == "1"


def test_prv_1_the_user_has_the_name_that_aws_gives_it(inside):
    def user_names():
        import grp
        import os
        import pwd

        return [pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name]

    assert inside(user_names) == ["sbx_user1051", "sbx_user1051"]


# --- PRV-2: an environment's user is nobody else ---

OWN_UID = f"""
    import os, time

    def handler(event, context):
        time.sleep({0.5 * PATIENCE})
        return os.getuid()
"""


@pytest.fixture
def uids(deploy, invoke):
    """Of three environments of one function and one of another, all at the same time."""
    names = [deploy(OWN_UID)] * 3 + [deploy(OWN_UID)]
    with ThreadPoolExecutor(4) as callers:
        return [answer.payload for answer in callers.map(invoke, names)]


@pytest.mark.promise("PRV-2")
def test_prv_2_each_environment_is_another_user_and_nobody_of_the_host(uids):
    known = {int(line.split(":")[2]) for line in Path("/etc/passwd").read_text().splitlines()}
    assert len(set(uids)) == 4
    assert known.isdisjoint(uids)


@pytest.mark.promise("PRV-2")
def test_prv_2_the_user_on_the_host_is_the_user_inside(daemon, deploy, invoke):
    uid = invoke(deploy(OWN_UID)).payload
    (init,) = [one for one in daemon.environments() if one.uids().real == uid]
    assert {init.uids().real, init.uids().effective, init.uids().saved} == {uid}
    assert [child.uids().real for child in init.children()] == [uid]


# --- PRV-3: set-uid programs have no effect ---


def ran_as_somebody_else():
    """Set-uid and set-gid programs of the system: all there are, and those that took effect.

    The loader obeys this variable, and does not run the program, only when no right is gained.
    """
    import os
    import stat
    import subprocess

    special, other = [], []
    for folder, _, names in os.walk("/usr"):
        for name in names:
            path = f"{folder}/{name}"
            mode = os.lstat(path).st_mode
            if stat.S_ISREG(mode) and mode & 0o6000 and mode & 1:
                special.append(path)
                ran = subprocess.run(
                    [path],
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    env={"LD_TRACE_LOADED_OBJECTS": "1"},
                    check=False,
                    timeout=5,
                )
                if b"libc" not in ran.stdout:
                    other.append(path)
    return [special, other]


def test_prv_3_set_uid_programs_run_as_their_caller(inside):
    special, other = inside(ran_as_somebody_else)
    if not special:
        pytest.skip("this system has no set-uid programs that others may run")
    assert other == []


def test_prv_3_a_set_uid_program_of_ones_own_gives_nothing(inside):
    def own_shell():
        import os
        import shutil
        import subprocess

        shutil.copy("/bin/sh", "/tmp/shell")
        os.chmod("/tmp/shell", 0o6755)
        command = ["/tmp/shell", "-c", "cat /proc/self/status"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        os.remove("/tmp/shell")
        return dict(line.split(":\t", 1) for line in said.splitlines())

    status, own = inside(own_shell), inside(status_of, "self")
    assert [status[name] for name in (*CAPABILITIES, "NoNewPrivs", "Seccomp", "Uid", "Gid")] == [
        own[name] for name in (*CAPABILITIES, "NoNewPrivs", "Seccomp", "Uid", "Gid")
    ]


# --- PRV-4: what a function brings along acts only when it is confined ---

WITNESS = """
    def testify(name):
        import json, os
        with open("/proc/self/status") as file:
            status = dict(line.rstrip("\\n").split(":\\t", 1) for line in file)
        asked = ("Uid", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")
        with open("/tmp/TOKEN", "a") as file:
            file.write(json.dumps([name, *(status.get(one) for one in asked), os.getpid()]) + "\\n")
    testify(__name__)
"""
HANDLER = """
    import os, sys
    def handler(event, context):
        said = [open("/tmp/TOKEN").read()]
        loader = [name for name in os.listdir("/tmp") if name.startswith("TOKEN-loader")]
        return {"said": said[0], "loader": loader, "uid": os.getuid()}
"""
# A wrapper that bash runs, for BASH_ENV; what it starts is AWS's argument: the runtime.
WRAPPER = """\
#!/bin/bash
exec "$@"
"""
BASH_ENV = """
grep -E '^(Uid|CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status > /tmp/TOKEN-bash
"""
PYTHON_NAMES = ("sitecustomize", "usercustomize", "msgpack", "lambdad_sandbox", "lambdad_client")


@pytest.fixture
def loaded(deploy, secret):
    """Deploys a function that is all hooks; the rest of its variables, if there are any."""

    def deployed(**variables):
        witness = WITNESS.replace("TOKEN", secret)
        files = {f"{name}.py": witness for name in PYTHON_NAMES}
        files["lambda_function.py"] = witness.rstrip() + HANDLER.replace("TOKEN", secret)
        files |= {"bootstrap": WRAPPER, "hook.sh": BASH_ENV.replace("TOKEN", secret)}
        hooks = {
            "PYTHONPATH": "/var/task",
            "PYTHONSTARTUP": "/var/task/sitecustomize.py",
            "BASH_ENV": "/var/task/hook.sh",
            "ENV": "/var/task/hook.sh",
            "LD_PRELOAD": "/var/task/absent.so",
            "LD_LIBRARY_PATH": "/var/task",
            "LD_DEBUG": "files",
            "LD_DEBUG_OUTPUT": f"/tmp/{secret}-loader",
            "GCONV_PATH": "/var/task",
            **variables,
        }
        return deploy(files, Environment={"Variables": hooks})

    return deployed


@pytest.mark.parametrize("wrapper", [{}, {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/bootstrap"}])
def test_prv_4_what_a_function_brings_along_acts_only_confined(loaded, invoke, secret, wrapper):
    answer = invoke(loaded(**wrapper))
    assert answer.error is None, answer.body
    said = [json.loads(line) for line in answer.payload["said"].splitlines()]
    names = {name for name, *_ in said}
    assert "lambda_function" in names
    assert ("sitecustomize" in names) == bool(wrapper)
    own = "\t".join([str(answer.payload["uid"])] * 4)
    nothing = f"{0:016x}"
    assert {tuple(facts[:-1]) for _, *facts in said} == {(own, nothing, nothing, "1", "2")}
    assert all(pid > 1 for *_, pid in said)
    assert bool(answer.payload["loader"]) == bool(wrapper)
    assert [name for name in os.listdir("/tmp") if secret in name] == []


@pytest.mark.parametrize(
    "name",
    ["_HANDLER", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN", "AWS_LAMBDA_RUNTIME_API",
     "LAMBDA_TASK_ROOT", "LAMBDA_RUNTIME_DIR", "AWS_LAMBDA_FUNCTION_NAME", "AWS_EXECUTION_ENV"],
)  # fmt: skip
def test_prv_4_reserved_variables_are_refused(deploy, name):
    with pytest.raises(ClientError) as caught:
        deploy("", Environment={"Variables": {name: "/var/task"}})
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert "ariable" in caught.value.response["Error"]["Message"]
