"""The tour: starts a daemon, deploys the functions beside this file, invokes them, stops it.

It speaks to the daemon as any program speaks to AWS, through boto3. It is no benchmark: boto3
itself takes most of a warm invocation's time here; ``make bench`` measures.

Exit status: 0 when everything went as it should, 1 otherwise.
"""

from __future__ import annotations

import base64
import io
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import textwrap
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

HERE = Path(__file__).resolve().parent
RUNTIME = f"python3.{sys.version_info.minor}"
READY = "lambdad is ready: "
EVENT = {"name": "Ada"}
WARM_INVOKES = 50
NO_BREAK_SPACE = "\N{NO-BREAK SPACE}"

console = Console(width=min(80, Console().width), highlight=False)


@dataclass(frozen=True)
class Answer:
    """What an invocation brought, and how long the caller waited."""

    payload: Any
    error: str | None
    log: list[str]
    took_ms: float

    @property
    def report(self) -> str:
        return next(line for line in reversed(self.log) if line.startswith("REPORT"))

    @property
    def init_ms(self) -> float | None:
        found = re.search(r"Init Duration: ([0-9.]+) ms", self.report)
        return float(found[1]) if found else None


@dataclass(frozen=True)
class Example:
    """A folder beside this file; ``cold`` and ``warm`` say whether an answer is as it should."""

    name: str
    text: str
    cold: Callable[[Answer], bool]
    warm: Callable[[Answer], bool]
    timeout_s: int = 3


def succeeded(answer: Answer) -> bool:
    return answer.error is None


def is_confined(answer: Answer) -> bool:
    seen = answer.payload
    return (
        answer.error is None
        and seen["uid"] != 0
        and seen["capabilities"] == 0
        and seen["seccomp"]
        and seen["interfaces"] == ["lo"]
        and seen["writable"] == ["/tmp"]
    )


def raised(answer: Answer) -> bool:
    return answer.error == "Unhandled" and answer.payload["errorType"] == "ValueError"


def timed_out(answer: Answer) -> bool:
    return (
        answer.error == "Unhandled" and "timed out after 1.00 s" in answer.payload["errorMessage"]
    )


EXAMPLES = (
    Example("hello", "the plainest function", succeeded, succeeded),
    Example(
        "counter",
        "state in a module: kept while the environment is",
        cold=lambda answer: answer.payload["count"] == 1,
        warm=lambda answer: answer.payload["count"] > 1,
    ),
    Example("sandbox", "what a function sees of the host", is_confined, is_confined),
    Example("broken", "an exception reaches the caller", raised, raised),
)
SLOW = Example("slow", "Timeout is 1 s: the function is ended", timed_out, timed_out, timeout_s=1)


class Tour:
    """One client, and what has gone wrong so far."""

    def __init__(self, url: str) -> None:
        self.failures: list[str] = []
        self._client = boto3.client(
            "lambda",
            endpoint_url=url,
            region_name="us-east-1",
            aws_access_key_id="demo",
            aws_secret_access_key="demo",
            config=Config(retries={"total_max_attempts": 1}),
        )

    def deploy(self, example: Example) -> None:
        self._client.create_function(
            FunctionName=example.name,
            Runtime=RUNTIME,
            Role="arn:aws:iam::123456789012:role/demo",
            Handler="lambda_function.lambda_handler",
            Code={"ZipFile": package(HERE / example.name)},
            Timeout=example.timeout_s,
            # A whole processor. With 128 MB it is 7 % of one, as on AWS, and timings show that.
            MemorySize=1769,
        )
        waiter = self._client.get_waiter("function_active_v2")
        waiter.wait(FunctionName=example.name, WaiterConfig={"Delay": 0.1})

    def invoke(self, name: str) -> Answer:
        since = time.perf_counter()
        answer = self._client.invoke(FunctionName=name, Payload=json.dumps(EVENT), LogType="Tail")
        payload = json.load(answer["Payload"])
        took_ms = (time.perf_counter() - since) * 1000
        log = base64.b64decode(answer["LogResult"]).decode().splitlines()
        return Answer(payload, answer.get("FunctionError"), log, took_ms)

    def show(self, example: Example, start: str, right: Callable[[Answer], bool]) -> Answer:
        """Invoke once, and print what came of it."""
        answer = self.invoke(example.name)
        good = right(answer) and (answer.init_ms is not None) == (start == "cold")
        if not good:
            self.failures.append(f"{example.name}, {start}: {answer.payload}")
        mark = Text("ok  " if good else "BAD ", "green" if good else "bold red")
        kind = f"{answer.error}: " if answer.error else ""
        line = Text.assemble(mark, (f"{start}  ", "bold"), (kind, "yellow"))
        console.print(Padding(line.append(json.dumps(answer.payload)), (0, 0, 0, 2)))
        fields = [field.replace(" ", NO_BREAK_SPACE) for field in answer.report.split("\t")]
        shown = "\n".join(textwrap.wrap("REPORT  " + "  ".join(fields[1:]), 66))
        console.print(Padding(Text(shown, "dim"), (0, 0, 0, 12)))
        return answer

    def visit(self, example: Example) -> tuple[str, ...]:
        """Cold, warm, then warm for the clock: a row of the table."""
        heading(example)
        cold = self.show(example, "cold", example.cold)
        self.show(example, "warm", example.warm)
        warm = [self.invoke(example.name).took_ms for _ in range(WARM_INVOKES)]
        return (
            example.name,
            f"{cold.took_ms:.1f}",
            f"{cold.init_ms or 0:.1f}",
            f"{statistics.median(warm):.2f}",
        )


def heading(example: Example) -> None:
    console.print()
    console.print(Text.assemble((example.name, "bold cyan"), f"  {example.text}"))


def package(folder: Path) -> bytes:
    """A deployment package, made in memory."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for path in sorted(folder.glob("*.py")):
            archive.write(path, path.name)
    return content.getvalue()


def tour(url: str) -> list[str]:
    """Deploy and invoke everything; returns what went wrong."""
    visitor = Tour(url)
    for example in (*EXAMPLES, SLOW):
        visitor.deploy(example)
    names = ", ".join(example.name for example in (*EXAMPLES, SLOW))
    console.print(f"deployed as {RUNTIME}: {names}")
    table = Table("function", title="milliseconds, as boto3 sees them", title_justify="left")
    for column in ("cold", "of which init", f"warm, median of {WARM_INVOKES}"):
        table.add_column(column, justify="right")
    for example in EXAMPLES:
        table.add_row(*visitor.visit(example))
    heading(SLOW)
    visitor.show(SLOW, "cold", SLOW.cold)
    console.print()
    console.print(table)
    return visitor.failures


def start(folder: Path) -> tuple[subprocess.Popen[str], str]:
    """The daemon and its URL; no URL when it does not start. Its errors go to a file."""
    command = [str(Path(sys.executable).with_name("lambdad")), "serve"]
    command += ["--port", "0", "--state-dir", str(folder / "state")]
    with errors_of(folder).open("w") as errors:
        daemon = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
    assert daemon.stdout is not None
    return daemon, daemon.stdout.readline().removeprefix(READY).strip()


def errors_of(folder: Path) -> Path:
    return folder / "errors"


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="lambdad-demo-") as name:
        folder = Path(name)
        daemon, url = start(folder)
        try:
            said = errors_of(folder).read_text().strip()
            if not url:
                console.print(Text(said or "lambdad: cannot start, and does not say why"))
                return 1
            console.print(Text.assemble(READY, (url, "bold")))
            console.print(Padding(Text(said, "dim"), (0, 0, 0, 2)))
            failures = tour(url)
        finally:
            daemon.send_signal(signal.SIGTERM)
            status = daemon.wait()
            said_since = errors_of(folder).read_text().strip().removeprefix(said)
    console.print(f"stopped the daemon with SIGTERM: exit status {status}")
    if status:
        failures.append(f"the daemon's exit status is {status}{said_since}")
    for failure in failures:
        console.print(Text(f"not as it should be: {failure}", "bold red"))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
