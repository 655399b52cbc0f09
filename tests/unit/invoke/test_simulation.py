"""Random histories of a pool: whatever happens in whichever order, what is promised holds.

A history is a seed; a failure names it, so that it can be played again.
"""

import asyncio
import random
from collections import Counter

import pytest

from lambdad.invoke.lifecycle import State
from lambdad.invoke.pool import Account
from lambdad.invoke.runtime_state import Call, Refused, RuntimeState
from lambdad.model.errors import ApiError, FunctionError, PlatformFault

HISTORIES, MOVES = 500, 30


class History:
    """One pool, and everything that can happen to it, by dice."""

    def __init__(self, seed, stage):
        self.dice, self.stage = random.Random(seed), stage
        self.account = Account(self.dice.randint(1, 4))
        self.pool = stage.pool(account=self.account, idle_s=self.dice.choice([1.0, 60.0]))
        self.arrived, self.ended = [], Counter()
        self.moves = [
            *[self.arrive] * 4,
            *[self.runtime_speaks] * 8,
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
            await run.answered
        except (ApiError, FunctionError, PlatformFault) as error:
            self.ended[request_id] += 1
            return error
        self.ended[request_id] += 1
        return run

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
                env.answer(b"null")
            elif state is RuntimeState.STARTED and self.dice.random() < 0.2:
                env.begin_init_error()
                env.init_error(FunctionError("Runtime.Unknown", b"{}"))
            else:
                env.next_event()
        except Refused:
            return

    def runtime_exits(self):
        env = self.environment(State.INIT, State.IDLE, State.INVOKE, State.RESET)
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
        idle = self.pool._idle
        assert len(set(idle)) == len(idle)
        assert all(env.state in (State.IDLE, State.NEEDS_INIT) for env in idle)
        out = [env._run.invocation.request_id for env in self.pool._all if env._run]
        assert len(set(out)) == len(out)
        assert {env.state for env in self.pool._all if env._run} <= {State.INVOKE}
        assert max(self.ended.values(), default=0) <= 1
        assert 0 <= self.pool._finishing <= len(self.pool._all)

    async def end(self):
        """Nobody waits any more, then everything is ended."""
        self.stage.clock.advance(0.02)
        await self.stage.settle()
        self.pool.kill()
        await asyncio.wait_for(self.stage.host.settled(), 10)
        await self.stage.settle()
        self.check()
        assert len(self.ended) == len(self.arrived)
        assert self.account.running == 0
        assert self.pool in self.stage.emptied
        assert all(sandbox.removed for sandbox in self.stage.sandboxes)
        assert {sandbox.owner.state for sandbox in self.stage.sandboxes} <= {State.GONE}


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
        outcomes.update(type(task.result()).__name__ for task in history.arrived)
    assert {"Run", "ApiError", "FunctionError", "PlatformFault"} <= outcomes.keys(), outcomes
