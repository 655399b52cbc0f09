"""lambdad as its users have it: a process that prints a URL, and AWS's client in front of it.

Nothing of lambdad is imported here. What the program leaves behind is looked for where the
kernel shows it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
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
UNLIMITED = "--allow-unlimited-memory"
KEPT = {
    "code",
    "credentials",
    "lambdad.sqlite",
    "lambdad.sqlite-shm",
    "lambdad.sqlite-wal",
    "lock",
    "logs",
}


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
        flags = (*flags_of_this_level(), *flags)
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
        self.client, self.logs = client_of(self.url), client_of(self.url, service="logs")
        if UNLIMITED not in flags:
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

    @property
    def degraded(self) -> dict[str, str]:
        """The promises that it said at its start it does not keep here in full, and why."""
        return dict(re.findall(r"^lambdad: (\S+) DEGRADED: (.*)$", self.said(), re.MULTILINE))

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

    def kill(self) -> list[int]:
        """SIGKILL, with no warning; for ``wait_until_ended``, every process that came of it.

        They end by themselves, but for those that are frozen on version 1 of cgroups: these end
        when the next daemon on this state sweeps.
        """
        before = watch(self.descendants())
        self.process.kill()
        self._reap()
        return before

    def _reap(self) -> None:
        self.process.wait(STOP_S_MAX)
        self.process.stdout.close()
        if hasattr(self, "client"):
            self.client.close()
            self.logs.close()

    # --- what there is of it ------------------------------------------------------------

    def descendants(self) -> list[psutil.Process]:
        """Zygotes, the init of each environment, and what runs in it."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def environments(self) -> list[psutil.Process]:
        """The init of each environment in which something runs; spare ones are not confined yet."""
        zygotes = psutil.Process(self.process.pid).children()
        inits = [init for zygote in zygotes for init in _children(zygote)]
        return [init for init in inits if _is_confined(init) and _children(init)]

    def cgroups(self) -> list[Path]:
        """Its subtree, in each hierarchy; none where it has no cgroups."""
        digest = hashlib.sha256(str(self.state_dir.resolve()).encode()).hexdigest()
        subtrees = [above / f"lambdad-{digest[:12]}" for above in cgroups_of_ours()]
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
        wanted["Timeout"] = min(wanted["Timeout"], 900)  # a slow host does not get more
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
        return "".join(self.messages_of(name))

    def messages_of(self, name: str) -> list[str]:
        """The same, event by event."""
        pages = self.logs.get_paginator("filter_log_events")
        try:
            return [
                event["message"]
                for page in pages.paginate(logGroupName=f"/aws/lambda/{name}")
                for event in page["events"]
            ]
        except self.logs.exceptions.ResourceNotFoundException:
            return []

    def wait_for_log(self, name: str, text: str, times: int = 1) -> list[str]:
        """The events of a function, once so many of them have such a text."""
        last = time.monotonic() + START_S_MAX
        while True:
            said = self.messages_of(name)
            if sum(message.count(text) for message in said) >= times:
                return said
            assert time.monotonic() < last, f"{text!r} never came:\n{said}"
            time.sleep(0.01)


def _is_confined(init: psutil.Process) -> bool:
    """Whether it is somebody's, and has not ended meanwhile."""
    return fields_of(init.pid).get("Seccomp") == "2"


def fields_of(pid: int) -> dict[str, str]:
    """What the kernel says of a process, by name, see proc(5); nothing of one that has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _children(process: psutil.Process) -> list[psutil.Process]:
    """None of one that has ended since it was seen."""
    try:
        return process.children()
    except psutil.NoSuchProcess:
        return []


def flags_of_this_level() -> list[str]:
    """What an operator has to type here, so that the daemon runs with less than root has."""
    flags = ["--allow-shared-uid"] if os.geteuid() != 0 else []
    return [*flags, UNLIMITED] if doctor().get("level", {}).get("cgroups") == "none" else flags


@cache
def doctor() -> dict[str, Any]:
    """What ``lambdad doctor --json`` says of this host and user; nothing from one without it."""
    command = [LAMBDAD, "doctor", "--json"]
    ran = subprocess.run(command, capture_output=True, timeout=START_S_MAX, check=False)
    report: dict[str, Any] = json.loads(ran.stdout) if ran.stdout.startswith(b"{") else {}
    return report


def cgroups_of_ours() -> list[Path]:
    """The cgroups that we are in and those above, in each hierarchy: see cgroups(7)."""
    mounted = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    tops = [Path(fields[1]) for fields in mounted if fields[2] in {"cgroup", "cgroup2"}]
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    own = [PurePosixPath(line.split(":", 2)[2]) for line in lines]
    ways = {way.relative_to("/") for path in own for way in (path, *path.parents)}
    return [top / way for top in tops for way in sorted(ways | {PurePosixPath()})]


def client_of(url: str, key: str = "any", service: str = "lambda", **more: Any) -> Any:
    """AWS's client, which never asks twice; ``key`` is the key's id and its secret."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=key,
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
            end = select.poll()  # select(2) knows no descriptor above 1,023.
            end.register(descriptor, select.POLLIN)
            assert end.poll(STOP_S_MAX * 1_000), "a process of the daemon outlives it"
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
