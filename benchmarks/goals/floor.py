"""The floor of a cold start: ``floor.c``, compiled and run; the reference of G6 and G13."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.goals.findings import Unmeasured
from lambdad_sandbox import cgroup
from lambdad_sandbox.cgroup import Cgroup
from lambdad_sandbox.seccomp.compile import load

BUILD = Path("build/bench")
_SOURCE = Path(__file__).with_name("floor.c")
_LIMITS = cgroup.Limits(memory_bytes=128 * 1024 * 1024, pids=64, cpus=1.0)


class Floor:
    """The spawner of the floor, waiting for the next word."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def start_ms(self) -> float:
        """Milliseconds that a sandbox takes, with nothing in it.

        Raises:
            Unmeasured: the spawner has ended.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(b".")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise Unmeasured("the C floor has ended") from None
        line = self._process.stdout.readline()
        if not line:
            raise Unmeasured("the C floor has ended")
        return int(line) / 1e6


@contextmanager
def floor() -> Iterator[Floor]:
    """The floor, with cgroups and a root of its own for as long as it is needed.

    Raises:
        Unmeasured: it cannot be compiled, or this host has no cgroups for it.
    """
    program = _compiled()
    with ExitStack() as stack:
        try:
            keeper = cgroup.keeper(f"lambdad-bench-{os.getpid()}")
        except cgroup.CannotLimit as error:
            raise Unmeasured(str(error)) from error
        stack.callback(keeper.close)
        leaf = keeper.create("floor", _LIMITS)
        stack.callback(leaf.remove)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lambdad-bench-")))
        (folder / "root").mkdir()
        (folder / "code").mkdir()
        (folder / "filter").write_bytes(load())
        yield Floor(stack.enter_context(_running(program, folder, leaf)))


@contextmanager
def _running(program: Path, folder: Path, leaf: Cgroup) -> Iterator[subprocess.Popen[bytes]]:
    version, descriptors = "v1", leaf.attach_fds
    if leaf.clone_fd is not None:
        version, descriptors = "v2", (leaf.clone_fd,)
    paths = [str(folder / name) for name in ("filter", "root", "code")]
    process = subprocess.Popen(
        [str(program), *paths, version, *map(str, descriptors)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=descriptors,
    )
    try:
        yield process
    finally:
        process.communicate()


def _compiled() -> Path:
    """Raises Unmeasured: this host has no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        raise Unmeasured("there is no C compiler here, so the floor is missing")
    BUILD.mkdir(parents=True, exist_ok=True)
    program = BUILD / "floor"
    command = [compiler, "-O2", "-o", str(program), str(_SOURCE)]
    ran = subprocess.run(command, capture_output=True, check=False, text=True, timeout=60)
    if ran.returncode:
        raise Unmeasured(f"the C floor cannot be compiled: {ran.stderr.splitlines()[0]}")
    return program
