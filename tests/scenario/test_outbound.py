"""A way out, end to end: in a network namespace of the test's own, with another as the internet."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from scenario.program import LAMBDAD, PATIENCE

pytestmark = [pytest.mark.root, pytest.mark.cgroup, pytest.mark.slow]

# The host has one uplink; behind it stand the internet, a private neighbour, one that is allowed,
# and a metadata service, all played by one server.
STAGE = """
set -e
mount --make-rprivate /
mount -t tmpfs none /run
mkdir /run/netns
ip link set lo up
ip netns add internet
ip link add up0 type veth peer name far0 netns internet
ip addr add 192.0.2.1/24 dev up0
ip link set up0 up
ip -n internet link set lo up
ip -n internet addr add 192.0.2.2/24 dev far0
ip -n internet link set far0 up
for address in 203.0.113.9 10.9.9.9 10.9.9.10 169.254.169.254; do
    ip -n internet addr add $address/32 dev lo
done
ip route add default via 192.0.2.2
ip netns exec internet $PYTHON -c "
import socket
server = socket.create_server(('0.0.0.0', 80))
print('listening', flush=True)
while True:
    end, peer = server.accept()
    end.send(peer[0].encode())
    end.close()
" > /run/listening &
server=$!
while [ ! -s /run/listening ]; do :; done
status=0
"$@" || status=$?
kill $server
ip -br link show | grep -v -e '^lo ' -e '^up0' && status=90
[ "$(cat /proc/sys/net/ipv4/conf/up0/forwarding)" = 0 ] || status=91
exit $status
"""

CALLER = """
    import socket

    def handler(places, context):
        found = {"resolv.conf": open("/etc/resolv.conf").read()}
        for host, port in places:
            try:
                with socket.create_connection((host, port), timeout=10) as end:
                    found[host] = end.recv(40).decode()
            except OSError as error:
                found[host] = type(error).__name__
        return found
"""
PLACES = [
    ("203.0.113.9", 80), ("10.9.9.9", 80), ("10.9.9.10", 80), ("169.254.169.254", 80),
    ("192.0.2.1", 22), ("127.0.0.1", 3001),
]  # fmt: skip


@pytest.mark.skipif(shutil.which("ip") is None, reason="there is no ip to set the stage with")
def test_functions_reach_the_internet_and_what_is_allowed_and_nothing_else(tmp_path):
    import textwrap

    code = tmp_path / "caller.py"
    code.write_text(textwrap.dedent(CALLER))
    command = [
        LAMBDAD, "invoke", f"{code}:caller.handler", "--event", json.dumps(PLACES),
        "--timeout", "60", "--network", "outbound", "--allow-host", "10.9.9.10:80",
        "--dns", "203.0.113.9",
    ]  # fmt: skip
    ran = subprocess.run(
        ["unshare", "-n", "-m", "sh", "-c", STAGE, "sh", *command],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=60 * PATIENCE,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == {
        "resolv.conf": "nameserver 203.0.113.9\n",
        "203.0.113.9": "192.0.2.1",
        "10.9.9.9": "ConnectionRefusedError",
        "10.9.9.10": "192.0.2.1",
        "169.254.169.254": "ConnectionRefusedError",
        "192.0.2.1": "ConnectionRefusedError",
        "127.0.0.1": "ConnectionRefusedError",
    }
