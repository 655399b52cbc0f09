import subprocess
import sys
from pathlib import Path

import pytest

SANDBOX = str(Path(__file__).parents[3] / "sandbox")
FAILS = """
import socket, sys
from lambdad_sandbox import channel, enter

class Step:
    def apply(self, at_hand):
        raise OSError(19, "No such device")
    def describe(self):
        return "join the cgroups"

ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
if sys.argv[1] == "heard":
    pid = __import__("os").fork()
    if pid:
        theirs.close()
        print(channel.receive(ours)[0])
        sys.exit(__import__("os").waitpid(pid, 0)[1] >> 8)
ours.close()
enter.run_or_report([Step()], {}, theirs.detach())
"""


@pytest.mark.parametrize("who", ["heard", "nobody"])
def test_a_step_that_fails_is_told_and_ends_the_process_without_a_word_of_its_own(who):
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FAILS, who],
        capture_output=True,
        check=False,
        env={"PYTHONPATH": ":".join([SANDBOX, *sys.path])},
        timeout=30,
        text=True,
    )
    assert (ran.returncode, ran.stderr) == (1, "")
    told = "SpawnFailed(step='join the cgroups', errno=19)\n"
    assert ran.stdout == (told if who == "heard" else "")
