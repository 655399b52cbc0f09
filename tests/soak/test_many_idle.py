"""Very many environments of one function stand idle: they are small, and the daemon is as quick
as with one.

``LAMBDAD_SOAK_IDLE`` says how many. Memory is what their cgroups are charged, kernel's included.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import time
from itertools import chain

import pytest
from scenario import held
from scenario.program import PATIENCE

from lambdad.code.runtimes import find_python

pytestmark = [pytest.mark.root, pytest.mark.cgroup, pytest.mark.slow]

IDLE = int(os.environ.get("LAMBDAD_SOAK_IDLE", "100"))
# Of each. A thousand that were restored stand within 1.5 GiB; where every environment has gone
# through an init of its own more is written to, and most before Python 3.12.
RESTORED_BYTES_MAX, OWN_INIT_BYTES_MAX, OLD_BYTES_MAX = 1536 * 1024, 2304 * 1024, 4608 * 1024
DESCRIPTORS = 20  # that the daemon has open for each, at most
ANSWERS_S_MAX = 240 * PATIENCE

SLOWER_MAX = 1.5
IMMORTAL_SINCE, SNAP_START_SINCE = 12, 12  # of Python 3

ROUNDS, ROUND = 20, 10  # of calls, to one daemon and then to the other
TRIES = 3  # on a host with other work


def charged_bytes(program):
    """The memory of each of its environments, as the kernel counts it."""
    files = ("memory.current", "memory.usage_in_bytes")
    counts = [leaf / name for leaf in program.leaves() for name in files]
    return [int(count.read_text()) for count in counts if count.exists()]


async def all_at_once(program, name, count):
    """Invoke it so many times; every answer comes when all have an environment of their own."""
    calls = [asyncio.create_task(_answer(program.url, name)) for _ in range(count)]
    await asyncio.to_thread(held.let_go, program, "go", count, within_s=ANSWERS_S_MAX)
    return await asyncio.wait_for(asyncio.gather(*calls), ANSWERS_S_MAX)


async def _answer(url, name):
    """The status line of what one call gives, from a client that costs nothing."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    path = f"/2015-03-31/functions/{name}/invocations"
    head = f"POST {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Length: 4\r\n\r\n"
    writer.write(head.encode() + b'"go"')
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer.partition(b"\r\n")[0]


def calls_s(program, name):
    """How long each call of a round took."""
    took = []
    for _ in range(ROUND):
        since = time.perf_counter()
        program.invoke(name, held.AT_ONCE)
        took.append(time.perf_counter() - since)
    return took


def slowness(crowded, lone):
    """The median of one daemon's calls by that of the other's, which take turns."""
    took = [(calls_s(*crowded), calls_s(*lone)) for _ in range(ROUNDS)]
    of_crowded, of_lone = zip(*took, strict=True)
    return statistics.median(chain(*of_crowded)) / statistics.median(chain(*of_lone))


def newest():
    """The newest managed Python of this host, by its minor version."""
    return max(minor for minor in range(9, 15) if find_python(f"3.{minor}") is not None)


def deployed(program, *, restored):
    """A function that does nothing but wait: what to call it, and what each is charged at most."""
    minor = newest()
    wanted = {"Runtime": f"python3.{minor}", "MemorySize": 128, "Timeout": 900}
    if not restored:
        most = OLD_BYTES_MAX if minor < IMMORTAL_SINCE else OWN_INIT_BYTES_MAX
        return program.deploy(held.SOURCE, **wanted), most
    if minor < SNAP_START_SINCE:
        pytest.skip(f"SnapStart is from Python 3.{SNAP_START_SINCE} on")
    name = program.deploy(held.SOURCE, SnapStart={"ApplyOn": "PublishedVersions"}, **wanted)
    version = program.client.publish_version(FunctionName=name)["Version"]
    program.wait("published_version_active", f"{name}:{version}")
    return f"{name}:{version}", RESTORED_BYTES_MAX


@pytest.mark.parametrize("restored", [False, True], ids=["on demand", "restored"])
def test_many_idle_environments_are_small_and_slow_nobody(daemon, start, say, restored):
    descriptors_max = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if descriptors_max < IDLE * DESCRIPTORS:
        pytest.skip(f"needs {DESCRIPTORS} file descriptors for each of {IDLE} environments")
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors_max, descriptors_max))
    crowded = start("--spares", "0", "--concurrency", str(IDLE + 1))
    crowd, most = deployed(crowded, restored=restored)
    before = charged_bytes(crowded)
    answers = asyncio.run(all_at_once(crowded, crowd, IDLE))
    assert set(answers) == {b"HTTP/1.1 200 OK"}

    after = charged_bytes(crowded)
    assert len(after) == len(before) + IDLE * (len(after) > 0)
    charged = sum(after) - sum(before)
    say(f"{IDLE} idle environments are charged {charged / IDLE / 1024:.0f} KiB each")
    assert charged <= IDLE * most

    lone, _ = deployed(daemon, restored=restored)
    for _ in range(TRIES):
        slower = slowness((crowded, crowd), (daemon, lone))
        say(f"beside {IDLE} of them, a warm call takes {slower:.2f} times as long as beside none")
        if slower <= SLOWER_MAX:
            return
    pytest.fail(f"{IDLE} idle environments make a warm call {slower:.2f} times as slow")
