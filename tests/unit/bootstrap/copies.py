"""Processes that are copied as restored ones are: without libc or Python hearing of it."""

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path

GUEST = Path(__file__).parents[3] / "bootstrap/lambdad_bootstrap/guest"
STOP_AFTER_S = 60
CLONE_NEWPID = 0x20000000
_SCRIPT = """
import ctypes, json, os, sys
sys.path[:0] = PATH
import lambdad_renewal
libc = ctypes.PyDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
def clone():
    arguments = (ctypes.c_uint64 * 11)()
    arguments[0], arguments[4] = FLAGS, 17  # the signal that ends it is SIGCHLD
    pid = libc.syscall(435, arguments, ctypes.sizeof(arguments))
    if pid < 0:
        raise OSError(ctypes.get_errno(), "cannot clone")
    return pid
def in_a_copy(deed):
    end, other = os.pipe()
    pid = clone()
    if pid == 0:
        try:
            os.write(other, json.dumps(deed()).encode())
        finally:
            os._exit(0)
    os.close(other)
    with os.fdopen(end) as told:
        said = told.read()
    os.waitpid(pid, 0)
    return json.loads(said)
%s
def template():
    draw()
    lambdad_renewal.renew()
    loops = lambdad_renewal.suspend_loops()
    def restored():
        lambdad_renewal.renew()
        for loop in loops:
            lambdad_renewal.resume_loop(loop)
        return draw()
    deeds = [draw, draw, restored, restored]
    return [in_a_copy(deed) for deed in deeds]
print(json.dumps(in_a_copy(template)), flush=True)
os._exit(0)
"""


def copies(interpreter, code, *path, flags=0):
    """What ``draw`` of ``code`` draws in two copies of a process, and in two that were restored.

    All of them have one pid if ``flags`` are CLONE_NEWPID, which takes root.
    """
    settings = f"PATH, FLAGS = {[str(GUEST), *map(str, path)]!r}, {flags}\n"
    command = [interpreter, "-B", "-W", "error", "-c", settings + _SCRIPT % code]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={"OPENBLAS_NUM_THREADS": "1"},
        start_new_session=True,
    ) as ran:
        try:
            out, err = ran.communicate(timeout=STOP_AFTER_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(ran.pid, signal.SIGKILL)
    assert (ran.returncode, err) == (0, ""), err
    drawn = json.loads(out)
    return drawn[:2], drawn[2:]
