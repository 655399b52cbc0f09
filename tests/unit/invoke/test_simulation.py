"""Random histories of a pool: whatever happens in whichever order, what is promised holds.

A history is a seed; a failure names it, so that it can be played again.
"""

import asyncio
import random
from collections import Counter

import pytest

from lambdad.invoke.lifecycle import State
from lambdad.invoke.managed import Managed
from lambdad.invoke.pool import Account
from lambdad.invoke.runtime_state import Call, Refused, RuntimeState
from lambdad.model.errors import ApiError, FunctionError, PlatformFault

HISTORIES, MOVES = 500, 30

KINDS = (
    {},
    {"version": "1", "snap_start": "PublishedVersions"},
    {"max_concurrency": 3},
)


class History:
    """One pool, and everything that can happen to it, by dice."""

    def __init__(self, seed, stage):
        self.dice, self.stage = random.Random(seed), stage
        self.account = Account(self.dice.randint(1, 4))
        names = self.dice.choice([(), (), ("a",), ("a", "b")])
        stage.host.extensions_of = lambda _: names
        idle_s = self.dice.choice([1.0, 60.0])
        self.pool = stage.pool(account=self.account, idle_s=idle_s, **KINDS[seed % len(KINDS)])
        self.arrived, self.ended, self.runs, self.finished = [], Counter(), [], Counter()
        self.moves = [
            *[self.arrive] * 4,
            self.caller_leaves,
            *[self.runtime_speaks] * 8,
            *[self.extension_speaks] * 8,
            self.extension_exits,
            *[self.time_passes] * 2,
            self.runtime_exits,
            self.sandbox_dies,
            self.pool_retires,
        ]

    async def play(self):
        for _ in range(MOVES):
            self.dice.choice(self.moves)()
            await self.stage.settle()
            self.check()
        await self.end()

    # --- moves --------------------------------------------------------------------------

    def arrive(self):
        if not self.pool._retired:
            request_id = f"r-{len(self.arrived)}"
            self.arrived.append(asyncio.ensure_future(self.caller(request_id)))

    async def caller(self, request_id):
        try:
            run = await self.pool.invoke(self.stage.invocation(request_id))
            self.runs.append(run)
            run.finished.add_done_callback(lambda _: self.finished.update([request_id]))
            await asyncio.shield(run.answered)
        except (ApiError, FunctionError, PlatformFault) as error:
            return error
        finally:
            self.ended[request_id] += 1
        return run

    def caller_leaves(self):
        waiting = [task for task in self.arrived if not task.done()]
        if waiting and self.dice.random() < 0.3:
            self.dice.choice(waiting).cancel()

    def environment(self, *states):
        every = [sandbox.owner for sandbox in self.stage.sandboxes]
        found = [environment for environment in every if environment.state in states]
        return self.dice.choice(found) if found else None

    def runtime_speaks(self):
        """The next thing that a runtime or its init would say, or now and then a wrong one."""
        env = self.environment(*set(State) - {State.SHUTDOWN, State.GONE})
        if env is None:
            return
        if env.state is State.STARTING:
            self.dice.choice([env.entered] * 9 + [env.not_entered])("listener")
        elif env.state is State.RESET:
            env.emptied()
        elif isinstance(env, Managed):
            self.worker_calls(env)
        elif env.state is not State.NEEDS_INIT:
            self.runtime_calls(env)

    def runtime_calls(self, env):
        run, state = env._run, env.runtime_state
        request_id = run.invocation.request_id if run else "r-none"
        if self.dice.random() < 0.1:
            request_id = "r-wrong"
        try:
            if state is RuntimeState.RUNNING:
                call = self.dice.choice([Call.RESPONSE, Call.ERROR])
                env.begin_answer(request_id, call)
            elif state in (RuntimeState.RESPONSE, RuntimeState.ERROR_RESPONSE):
                if run is not None:
                    env.answer(run, b"null")
            elif state is RuntimeState.STARTED and env.snap_start and self.dice.random() < 0.8:
                env.restore_next()
            elif state is RuntimeState.RESTORING and self.dice.random() < 0.2:
                env.begin_restore_error()
                env.restore_error(FunctionError("Runtime.AfterRestoreError", b"{}"))
            elif state is RuntimeState.STARTED and self.dice.random() < 0.2:
                env.begin_init_error()
                env.init_error(FunctionError("Runtime.Unknown", b"{}"))
            else:
                env.next_event()
        except Refused:
            return

    def worker_calls(self, env):
        """What some worker would say, whatever the others have said."""
        request_id = self.dice.choice([*env._tasks, *env._late, "r-wrong"])
        try:
            match self.dice.randrange(10):
                case 0 if env._waiting:
                    self.dice.choice(list(env._waiting)).cancel()  # It has gone.
                case 1:
                    env.begin_init_error()
                    env.init_error(FunctionError("Runtime.Unknown", b"{}"))
                case 2 | 3:
                    run = env.begin_answer(request_id, Call.ERROR)
                    env.answer_error(run, FunctionError("Runtime.Unknown", b"{}", status=None))
                case 4:
                    env.begin_answer(request_id, Call.RESPONSE)  # It never comes to an end.
                case 5 | 6:
                    env.answer(env.begin_answer(request_id, Call.RESPONSE), b"null")
                case _:
                    env.next_event()
        except Refused:
            return

    def extension_speaks(self):
        """The next thing that an extension would say, or now and then a wrong one."""
        env = self.environment(*set(State) - {State.STARTING, State.GONE})
        if env is None or not env.extensions.all:
            return
        one = self.dice.choice(env.extensions.all)
        try:
            if not one.identifier:
                env.extensions.register(one.name, self.dice.choice([[], ["INVOKE"], ["SHUTDOWN"]]))
            elif self.dice.random() < 0.1:
                courier = self.stage.subscribed(env, one.name)
                if self.dice.random() < 0.5:
                    courier.may_deliver.clear()
            elif self.dice.random() < 0.05:
                env.extensions.exit_error(one.identifier, "Extension.Any")
            else:
                env.extensions.next_event(one.identifier, lambda: True)
        except Refused:
            return

    def extension_exits(self):
        env = self.environment(*set(State) - {State.STARTING, State.GONE})
        if env is None:
            return
        running = [one.name for one in env.extensions.all if not one.process_ended]
        if running and self.dice.random() < 0.3:
            env.process_exited(f"extension:{self.dice.choice(running)}", 0)

    def runtime_exits(self):
        env = self.environment(
            State.INIT, State.IDLE, State.SNAPSHOT, State.RESTORE, State.INVOKE, State.RESET
        )
        if env is not None:
            env.process_exited("runtime", 9)

    def sandbox_dies(self):
        env = self.environment(*set(State) - {State.SHUTDOWN, State.GONE})
        if env is not None and self.dice.random() < 0.3:
            env.sandbox_died()

    def time_passes(self):
        self.stage.clock.advance(self.dice.choice([0.005, 0.02, 0.1, 1.0, 3.0, 10.0]))

    def pool_retires(self):
        if self.dice.random() < 0.1:
            self.pool.retire()

    # --- promises -----------------------------------------------------------------------

    def check(self):
        assert self.stage.errors == []
        assert 0 <= self.account.running <= self.account.limit
        idle, living = set(self.pool._idle), self.pool._all
        assert idle <= living
        assert all(env.can_be_leased for env in idle if not isinstance(env, Managed))
        if not self.pool._retired:  # Nothing that is of use is lost.
            assert {env for env in living if env.can_be_leased} <= idle
        out = [request_id for env in living for request_id in events_in(env)]
        assert len(set(out)) == len(out)
        assert {env.state for env in living if events_in(env)} <= {State.INVOKE, State.RESTORE}
        assert len(out) <= self.account.running
        assert max(self.ended.values(), default=0) <= 1
        assert max(self.finished.values(), default=0) <= 1
        assert 0 <= self.pool._finishing <= len(self.pool._all)

    async def end(self):
        """Nobody waits any more, then everything is ended."""
        self.stage.clock.advance(0.02)
        await self.stage.settle()
        self.pool.kill()
        await self.stage.ended()
        self.check()
        assert all(task.done() for task in self.arrived)
        assert all(run.answered.done() and run.finished.done() for run in self.runs)
        assert self.account.running == 0
        assert self.pool in self.stage.emptied
        assert all(sandbox.removed for sandbox in self.stage.sandboxes)
        assert {sandbox.owner.state for sandbox in self.stage.sandboxes} <= {State.GONE}


def events_in(env):
    """The ids of the events that are out in an environment."""
    if isinstance(env, Managed):
        return list(env._tasks)
    return [] if env._run is None else [env._run.invocation.request_id]


def outcome_of(task):
    return "Cancelled" if task.cancelled() else type(task.result()).__name__


@pytest.mark.asyncio
async def test_whatever_happens_the_promises_of_a_pool_hold(new_stage):
    """No lease twice, never above the limit, every invocation ends once, every environment ends."""
    outcomes = Counter()
    for seed in range(HISTORIES):
        history = History(seed, new_stage())
        try:
            await history.play()
        except Exception as error:
            error.add_note(f"history {seed}")
            raise
        outcomes.update(outcome_of(task) for task in history.arrived)
    assert {"Run", "ApiError", "FunctionError", "PlatformFault"} <= outcomes.keys(), outcomes
