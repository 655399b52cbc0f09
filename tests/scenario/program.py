"""lambdad as its users have it: a process that prints a URL, and AWS's client in front of it.

Nothing of lambdad is imported here. What the program leaves behind is looked for where the
kernel shows it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psutil
from botocore.config import Config
from scenario import package

LAMBDAD = Path(sys.prefix) / "bin/lambdad"

# How many times slower than usual the host may be: an emulated machine needs some twenty.
PATIENCE = int(os.environ.get("LAMBDAD_TEST_PATIENCE", "1"))
EMULATED = PATIENCE > 1
START_S_MAX = 15 * PATIENCE
STOP_S_MAX = 15 * PATIENCE

OWN_RUNTIME = f"python3.{sys.version_info.minor}"
WHOLE_CPU_MB = 1_769  # one processor: a test that is not about shares does not wait for one
KEPT = {"code", "lambdad.sqlite", "lambdad.sqlite-shm", "lambdad.sqlite-wal", "lock", "logs"}


Code = str | bytes | Path | Mapping[str, str | bytes]


@dataclass(frozen=True)
class Answer:
    """What an invoker gets."""

    status: int
    error: str | None
    body: bytes
    log: str
    request_id: str

    @property
    def payload(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[str]:
        return self.log.splitlines()


class Program:
    """One run of ``lambdad serve``."""

    def __init__(self, state_dir: Path, *flags: str) -> None:
        self.state_dir = state_dir
        self.stderr_path = state_dir.with_name(f"{state_dir.name}.stderr")
        self._stderr_before = self.stderr_path.stat().st_size if self.stderr_path.exists() else 0
        command = [LAMBDAD, "serve", "-v", "--port", "0", "--state-dir", state_dir, *flags]
        with self.stderr_path.open("ab") as stderr:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True
            )
        try:
            self.url = self._ready_url()
        except BaseException:
            self.process.kill()
            self._reap()
            raise
        self.client = client_of(self.url)
        assert self.cgroups(), "the daemon has no cgroup subtree where one is expected"

    def _ready_url(self) -> str:
        ready, _, _ = select.select([self.process.stdout], [], [], START_S_MAX)
        line = self.process.stdout.readline() if ready else ""
        begins = "lambdad is ready: "
        assert line.startswith(begins), f"instead of the ready line: {line!r}\n{self.said()}"
        return line.removeprefix(begins).strip()

    def said(self) -> str:
        """What it wrote to standard error."""
        return self.stderr_path.read_bytes()[self._stderr_before :].decode(errors="replace")

    # --- its end ----------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self.process.returncode is None and self.process.poll() is None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to end; it must end well and leave nothing but what was entrusted to it."""
        before = watch(self.descendants())
        self.process.send_signal(number)
        try:
            status = self.process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        finally:
            self._reap()
        assert status == 0, self.said()
        wait_until_ended(before)
        assert self.cgroups() == []
        assert self.mounts() == []
        assert {path.name for path in self.state_dir.iterdir()} <= KEPT
        assert list((self.state_dir / "code/staging").iterdir()) == []
        for trouble in ("Traceback", "was destroyed but it is pending", "never awaited"):
            assert trouble not in self.said(), self.said()

    def kill(self) -> None:
        """SIGKILL, with no warning; every process that came of it must end all the same."""
        before = watch(self.descendants())
        self.process.kill()
        self._reap()
        wait_until_ended(before)

    def _reap(self) -> None:
        self.process.wait(STOP_S_MAX)
        self.process.stdout.close()
        if hasattr(self, "client"):
            self.client.close()

    # --- what there is of it ------------------------------------------------------------

    def descendants(self) -> list[psutil.Process]:
        """Zygotes, the init of each environment, and what runs in it."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def environments(self) -> list[psutil.Process]:
        """The init of each environment in which something runs: spare ones have no function yet."""
        zygotes = psutil.Process(self.process.pid).children()
        inits = [init for zygote in zygotes for init in zygote.children()]
        return [init for init in inits if init.children()]

    def cgroups(self) -> list[Path]:
        """Its subtree, in each hierarchy."""
        digest = hashlib.sha256(str(self.state_dir.resolve()).encode()).hexdigest()
        mounted = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
        tops = [Path(fields[1]) for fields in mounted if fields[2] in {"cgroup", "cgroup2"}]
        subtrees = [top / f"lambdad-{digest[:12]}" for top in tops]
        return [subtree for subtree in subtrees if subtree.exists()]

    def leaves(self) -> list[Path]:
        """The cgroups of its environments, in each hierarchy."""
        inner = [leaf for top in self.cgroups() for leaf in top.iterdir() if leaf.is_dir()]
        return [leaf for leaf in inner if not leaf.name.startswith(".")]

    def mounts(self) -> list[str]:
        mounted = Path("/proc/self/mountinfo").read_text().splitlines()
        return [line for line in mounted if str(self.state_dir) in line]

    # --- functions ------------------------------------------------------------------------

    def deploy(self, code: Code, **settings: Any) -> str:
        """Create a function and wait until it is Active; its name."""
        wanted = {
            "FunctionName": f"f-{secrets.token_hex(8)}",
            "Runtime": OWN_RUNTIME,
            "Role": "arn:aws:iam::123456789012:role/any",
            "Handler": "lambda_function.handler",
            "Timeout": 10 * PATIENCE,
            "MemorySize": WHOLE_CPU_MB,
            **settings,
        }
        name = wanted["FunctionName"]
        self.client.create_function(Code={"ZipFile": package.zipped(code)}, **wanted)
        self.wait("function_active_v2", name)
        return name

    def wait(self, waiter: str, name: str) -> None:
        """By AWS's own waiters, less patient ones."""
        attempts = {"Delay": 0.02, "MaxAttempts": 500 * PATIENCE}
        self.client.get_waiter(waiter).wait(FunctionName=name, WaiterConfig=attempts)

    def invoke(self, name: str, event: Any = None, *, payload: bytes | None = None) -> Answer:
        body = json.dumps(event).encode() if payload is None else payload
        said = self.client.invoke(FunctionName=name, Payload=body, LogType="Tail")
        return Answer(
            status=said["StatusCode"],
            error=said.get("FunctionError"),
            body=said["Payload"].read(),
            log=base64.b64decode(said["LogResult"]).decode(),
            request_id=said["ResponseMetadata"]["RequestId"],
        )

    def log_of(self, name: str) -> str:
        """The whole log of a function."""
        path = self.state_dir / "logs" / f"{name}.log"
        return path.read_text() if path.exists() else ""

    def wait_for_log(self, name: str, text: str, times: int = 1) -> None:
        """Until a function has said so, so often."""
        last = time.monotonic() + START_S_MAX
        while self.log_of(name).count(text) < times:
            assert time.monotonic() < last, f"{text!r} never came:\n{self.log_of(name)}"
            time.sleep(0.005)


def client_of(url: str, **more: Any) -> Any:
    """AWS's client, which never asks twice."""
    return boto3.client(
        "lambda",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id="any",
        aws_secret_access_key="any",
        config=Config(
            retries={"total_max_attempts": 1},
            max_pool_connections=64,
            connect_timeout=10 * PATIENCE,
            read_timeout=60 * PATIENCE,
            **more,
        ),
    )


def watch(processes: list[psutil.Process]) -> list[int]:
    """Descriptors that tell of the end of processes, whoever is their parent."""
    descriptors = []
    for process in processes:
        try:
            descriptors.append(os.pidfd_open(process.pid))
        except ProcessLookupError:
            continue
    return descriptors


def wait_until_ended(descriptors: list[int]) -> None:
    """Until all of the watched processes have."""
    try:
        for descriptor in descriptors:
            ended, _, _ = select.select([descriptor], [], [], STOP_S_MAX)
            assert ended, "a process of the daemon outlives it"
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
