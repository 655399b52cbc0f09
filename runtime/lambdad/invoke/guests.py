"""The guest processes of one environment: the runtime and its extensions, and what they write.

Starts, signals and waits for them; what an end means, and when one is due, is decided elsewhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from lambdad.invoke.journal import Journal, Source
from lambdad.invoke.output import FrameOutput, Output
from lambdad.invoke.sandbox import Sandbox
from lambdad.model.clock import Clock
from lambdad_sandbox.messages import StartProcess

RUNTIME = "runtime"
_EXTENSION = "extension:"


def process_of(extension: str) -> str:
    """What the process of an extension is called."""
    return _EXTENSION + extension


def extension_of(process: str) -> str:
    """Whose process it is; only for what is no runtime."""
    return process.removeprefix(_EXTENSION)


class Guests:
    """Those of one environment.

    Args:
        journal: gets what they write.
        clock: says how much time that takes.
    """

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal, self._clock = journal, clock
        self._loop = asyncio.get_running_loop()
        self._sandbox: Sandbox | None = None
        self._outputs: dict[str, Output] = {}
        self._frames: FrameOutput | None = None
        self._running: set[str] = set()
        self._waiting: list[tuple[Collection[str], asyncio.Future[None]]] = []

    def open_log(self) -> None:
        """Make the descriptor on which the runtime may write framed log events."""
        self._frames = FrameOutput(self._journal.framed, self._clock)

    def enter(self, sandbox: Sandbox) -> None:
        """This is where they are from now on."""
        self._sandbox = sandbox
        # What the runtime writes to is made while the sandbox becomes what it is to be.
        self._output_of(RUNTIME)

    def start(
        self, name: str, command: tuple[str, ...], environ: dict[str, str], directory: str
    ) -> None:
        """Start one; its end, or that it cannot be started, is told to the sandbox's owner."""
        sent = self._outputs_for(name)
        self._running.add(name)
        wanted = StartProcess(name, command, environ, directory, tuple(sent))
        assert self._sandbox is not None
        self._sandbox.start_process(wanted, tuple(sent.values()))

    def adopt(self, name: str) -> dict[str, int]:
        """One runs that is started elsewhere; the descriptors that it is to write to, by name."""
        self._running.add(name)
        return self._outputs_for(name)

    def signal(self, name: str, number: int) -> None:
        """Send a signal to it and what it has started; to who has ended, nothing."""
        assert self._sandbox is not None
        if name in self._running:
            self._sandbox.signal_process(name, number)

    def ended(self, name: str) -> bool:
        """It runs no more, or never has; false if it was not to run, whatever an init may say."""
        if name not in self._running:
            return False
        self._running.remove(name)
        for names, waiting in self._waiting:
            if self._running.isdisjoint(names) and not waiting.done():
                waiting.set_result(None)
        return True

    def all_ended(self) -> None:
        """Nothing runs any more."""
        for name in tuple(self._running):
            self.ended(name)

    @property
    def running(self) -> frozenset[str]:
        """Those that run."""
        return frozenset(self._running)

    async def wait_ended(self, names: Collection[str], within_s: float) -> None:
        """Until none of these runs, or the time is over."""
        if self._running.isdisjoint(names) or within_s <= 0:
            return
        waiting: asyncio.Future[None] = self._loop.create_future()
        entry = (names, waiting)
        self._waiting.append(entry)
        timer = self._loop.call_later(within_s, _let_go, waiting)
        try:
            await waiting
        finally:
            timer.cancel()
            self._waiting.remove(entry)

    def drain(self) -> None:
        """Take what they have written so far, so that it stands before what is logged next."""
        self._each(lambda output: output.drain())

    def flush(self) -> None:
        """What has been written without a line end by now is a line, too."""
        self._each(lambda output: output.flush())

    def close(self) -> None:
        """Nothing will be written any more."""
        self._each(lambda output: output.close())

    def _each(self, deed: Callable[[Output | FrameOutput], None]) -> None:
        for output in self._outputs.values():
            deed(output)
        if self._frames is not None:
            deed(self._frames)

    def _outputs_for(self, name: str) -> dict[str, int]:
        sent = {"stdout": self._output_of(name).write_end}
        if name == RUNTIME and self._frames is not None:
            sent["log"] = self._frames.write_end
        return sent

    def _output_of(self, name: str) -> Output:
        output = self._outputs.get(name)
        if output is None:
            source = Source.FUNCTION if name == RUNTIME else Source.EXTENSION
            output = Output(lambda lines: self._journal.wrote(source, lines), self._clock)
            self._outputs[name] = output
        return output


def _let_go(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)
