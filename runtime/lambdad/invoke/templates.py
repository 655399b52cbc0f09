"""Templates: versions with SnapStart whose init has run once, and whose environments are clones.

What a clone is made of is the matter of ``lambdad_sandbox.template``; here is which versions have
a template, from when on, and until when.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog

from lambdad.invoke import keep_alive
from lambdad.invoke.keep_alive import Candidate
from lambdad.invoke.lifecycle import State
from lambdad.invoke.sandbox import Disk, Sandbox
from lambdad.model.errors import PlatformFault
from lambdad.model.function import Function
from lambdad_sandbox import channel
from lambdad_sandbox.errors import UnexpectedMessage
from lambdad_sandbox.messages import Message, Suspend, Suspended

if TYPE_CHECKING:
    from lambdad.invoke.budget import Budget
    from lambdad.invoke.environment import Environment
    from lambdad.invoke.snap_start import Original

_log = structlog.get_logger()

SUSPEND_S_MAX = 10.0

# What is asked of a keeper waits in a socket, which holds some hundreds.
FORKS_AT_A_TIME = 8

Key = tuple[str, str, str]  # name, version, revision


class TemplateKeeper:
    """The process that keeps one template, seen from the daemon.

    Args:
        end: our end of its channel; its end is the process's.
        root: whether sandboxes are made by the host's root.

    Attributes:
        ended: called once, when it has ended, by itself or not.
    """

    def __init__(self, end: socket.socket, *, root: bool) -> None:
        self._end, self._root = end, root
        self._loop = asyncio.get_running_loop()
        self._said: asyncio.Future[Suspended] = self._loop.create_future()
        self.ended: Callable[[], None] = lambda: None
        end.setblocking(False)
        self._loop.add_reader(end.fileno(), self._read)

    def fork_into(
        self, sandbox: Sandbox, outputs: Mapping[str, int], variables: dict[str, str]
    ) -> None:
        """Put a runtime into a sandbox that stands; its owner hears if that fails.

        Args:
            sandbox: where it is to run.
            outputs: what it is to write to, by name.
            variables: of the first one, of which the later ones are clones.
        """
        sandbox.fork_into(self._ask, outputs, variables, root=self._root)

    async def suspend(self, *, tmp_in_memory: bool) -> Suspended:
        """Stop the first runtime for ever; whether it can be cloned.

        Raises:
            PlatformFault: the keeper has ended, or says nothing.
        """
        self._ask(Suspend(tmp_in_memory), ())
        try:
            return await asyncio.wait_for(self._said, SUSPEND_S_MAX)
        except TimeoutError:
            raise PlatformFault("cannot suspend the template: its keeper says nothing") from None

    @property
    def lives(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return self._end.fileno() >= 0

    def end(self) -> None:
        """End it, and what it has put into sandboxes."""
        if self.lives:
            self._loop.remove_reader(self._end.fileno())
            self._end.close()
            if not self._said.done():
                self._said.set_exception(PlatformFault("cannot suspend the template: it has ended"))
                self._said.exception()
            self.ended()

    def _ask(self, message: Message, descriptors: Sequence[int]) -> None:
        try:
            channel.send(self._end, message, descriptors)
        except OSError as error:  # It has ended: the sandbox hears so at its own channel.
            _log.debug("cannot reach the keeper of a template", error=str(error))

    def _read(self) -> None:
        try:
            message, _ = channel.receive(self._end)
        except BlockingIOError:
            return
        except (OSError, UnexpectedMessage):
            message = None
        if isinstance(message, Suspended):
            if not self._said.done():
                self._said.set_result(message)
            return
        self.end()


class Template:
    """What clones are made of: the environment in which init ran, and its keeper.

    It stays for as long as there are clones, which are the keeper's children.

    Attributes:
        uses: how many clones were wanted of it.
        clock: Greedy-Dual's when the last one was, see ``keep_alive``.
    """

    def __init__(
        self, original: Original, keeper: TemplateKeeper, suspended: Suspended, disk: Disk | None
    ) -> None:
        self._original, self._keeper = original, keeper
        self.token = original.token
        self.anonymous_bytes = suspended.anonymous_bytes
        self.uid, self.disk = original.uid, disk
        self.uses, self.clock = 0, 0.0
        self._clones, self._given_up = 0, False
        self._turns: deque[Callable[[], bool]] = deque()
        self._asked_for = 0

    def line_up(self, fork: Callable[[], bool]) -> None:
        """Have a clone made when it is its turn: the keeper makes one after the other.

        Args:
            fork: calls ``fork_into``, and says whether it is still wanted.
        """
        self._turns.append(fork)
        self._take_turns()

    def fork_into(self, sandbox: Sandbox, outputs: Mapping[str, int]) -> None:
        """Put a clone into a sandbox that stands; its owner hears if that fails."""
        self._keeper.fork_into(sandbox, outputs, {})

    def forked(self) -> None:
        """A clone that was asked for stands, or never will."""
        self._asked_for -= 1
        self._take_turns()

    def _take_turns(self) -> None:
        while self._turns and self._asked_for < FORKS_AT_A_TIME:
            if self._turns.popleft()():
                self._asked_for += 1

    def lend(self) -> None:
        """One more clone is about to be."""
        self._clones += 1
        self.uses += 1

    def idle_original(self) -> Original | None:
        """The environment of its init, if there is no clone of it."""
        return None if self._clones else self._original

    def is_of(self, environment: Environment) -> bool:
        """Whether its init ran there."""
        return environment is self._original

    def given_back(self) -> None:
        """One is gone."""
        self._clones -= 1
        self._look_if_idle()

    def give_up(self) -> None:
        """No more clones; it goes with the last one."""
        self._given_up = True
        self._look_if_idle()

    def _look_if_idle(self) -> None:
        if self._given_up and not self._clones:
            self._original.retire()


class Templates:
    """Those of all versions, made when first wanted. It holds the environments of their inits.

    Args:
        make: makes the environment in which the init of a function is to run.
        refusal: why a function can have none, known before anything runs; else empty.

    Attributes:
        budget: counts the memory of templates; None as long as nothing is counted.
    """

    def __init__(
        self,
        make: Callable[[Function, Templates], Original],
        refusal: Callable[[Function], str],
    ) -> None:
        self._make, self._refusal = make, refusal
        self.budget: Budget | None = None
        self._made: dict[Key, asyncio.Task[Template | str]] = {}
        self._stopped = False

    def counted_by(self, budget: Budget) -> None:
        """Have their memory counted with that of all environments, and give way where it lacks."""
        self.budget = budget
        budget.keepers.add(self)

    async def of(self, function: Function) -> Template | str:
        """The template of a version, made now if need be; or why it has none.

        Raises:
            FunctionError: its init failed; the next who asks has it tried again.
            PlatformFault: no environment could be had for it, or everything is being ended.
        """
        if self._stopped:
            raise PlatformFault("cannot make a template: everything is being ended")
        key = _key(function)
        task = self._made.get(key)
        if task is None:
            task = asyncio.ensure_future(self._new(function))
            self._made[key] = task
        try:
            return await asyncio.shield(task)
        except Exception:
            if self._made.get(key) is task:
                del self._made[key]
            raise

    def ready(self, function: Function) -> Template | str | None:
        """As ``of``, if that is known without waiting."""
        found = _result(self._made.get(_key(function)))
        if isinstance(found, Template) and self.budget is not None:
            found.clock = self.budget.clock
        return found

    def evictable(self) -> Iterator[Candidate[Environment]]:
        """Those without a clone, for the budget: the next who asks has another made."""
        for found in map(_result, self._made.values()):
            original = found.idle_original() if isinstance(found, Template) else None
            if original is not None and self.budget is not None:
                assert isinstance(found, Template)
                held_bytes = self.budget.bytes_of(original)
                worth = keep_alive.priority(found.clock, found.uses, original.start_s, held_bytes)
                yield Candidate(worth, held_bytes, original)

    def forget(self, function: Function) -> None:
        """The version is no more."""
        self._forget(_key(function))

    def _forget(self, key: Key) -> None:
        task = self._made.pop(key, None)
        if task is None:
            return
        if not task.done():
            task.add_done_callback(_give_up)
        else:
            _give_up(task)

    def stop(self) -> None:
        """Let go of all, and make no more."""
        self._stopped = True
        for key in list(self._made):
            self._forget(key)

    async def _new(self, function: Function) -> Template | str:
        refusal = self._refusal(function)
        if refusal:
            return self._none(function, refusal)
        original = self._make(function, self)
        if self.budget is not None:
            self.budget.charge(original, 0)
        try:
            await original.start()
            suspended = await original.suspend()
        except PlatformFault:
            original.retire()
            if original.refusal:  # Nor would it be possible the next time.
                return self._none(function, original.refusal)
            raise
        if suspended.refusal:
            original.retire()
            return self._none(function, suspended.refusal)
        keeper = original.keeper
        if keeper is None or not keeper.lives:
            original.retire()
            raise PlatformFault("cannot clone the template: its keeper has ended")
        template = Template(original, keeper, suspended, original.written_disk)
        keeper.ended = lambda: self._ended(function, template)
        if self.budget is not None:
            self.budget.sample(original)
        if self._stopped:
            template.give_up()
        return template

    def _none(self, function: Function, reason: str) -> str:
        _log.warning(
            "cannot clone a snapshot",
            function=function.name,
            version=function.version,
            reason=reason,
        )
        return reason

    def _ended(self, function: Function, template: Template) -> None:
        """Its keeper has; unless that was given up, the next who asks has another made."""
        if self.ready(function) is template:
            _log.warning("lost a template", function=function.name, version=function.version)
            del self._made[_key(function)]
        template.give_up()

    # --- as the holder of the environments of inits --------------------------------------

    def freed(self, environment: Environment) -> None:
        """It never rests."""

    def answered(self, environment: Environment) -> None:
        """It never has an event."""

    def withdrawn(self, environment: Environment) -> None:
        """It is of no use any more, or has to go for others."""
        if self.budget is not None and environment.state is State.SHUTDOWN:
            self.budget.ends(environment)
        for key, task in list(self._made.items()):
            found = _result(task)
            if isinstance(found, Template) and found.is_of(environment):
                if environment.state is not State.SHUTDOWN:  # Nor was it given up.
                    _log.warning("lost a template", function=key[0], version=key[1])
                del self._made[key]
                # Not now: what is withdrawn is about to do something of its own.
                asyncio.get_running_loop().call_soon(_give_up, task)

    def gone(self, environment: Environment) -> None:
        """Nothing of it is left, nor of its keeper."""
        if self.budget is not None:
            self.budget.release(environment)


def _key(function: Function) -> Key:
    return function.name, function.version, function.revision_id


def _result(task: asyncio.Task[Template | str] | None) -> Template | str | None:
    """What it has come to, if that is known."""
    if task is None or not task.done() or task.cancelled() or task.exception():
        return None
    return task.result()


def _give_up(task: asyncio.Task[Template | str]) -> None:
    found = _result(task)
    if isinstance(found, Template):
        found.give_up()
