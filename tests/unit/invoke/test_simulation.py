"""Random histories of pools: whatever happens in whichever order, what is promised holds.

A history is a seed; a failure names it, so that it can be played again.
"""

import asyncio
import math
import random
from collections import Counter

import pytest
from unit.invoke.actors import MIB, Actors

from lambdad.invoke import pool_policy
from lambdad.invoke.account import Account
from lambdad.invoke.lifecycle import State
from lambdad.invoke.managed import Managed
from lambdad.model.errors import ApiError, FunctionError, PlatformFault

HISTORIES, AT_A_TIME, MOVES = 5_000, 250, 30
# A sandbox that never stands, an init that never ends, an event that is never answered: each
# takes its time, and whoever waits may see three of them before it gives up.
ALL_ENDS_S = 400

ON_DEMAND = ({}, {"name": "other", "log_group": "/aws/lambda/fn"}, {"version": "1"})
KINDS = (
    *ON_DEMAND,
    {"version": "2", "snap_start": "PublishedVersions"},
    {"name": "many", "log_group": "/aws/lambda/fn", "max_concurrency": 3},
)


class WatchedAccount(Account):
    """Sees for itself that nothing begins that may not."""

    def begin(self, name, version):
        share = self.share(name, version)
        assert share.running < share.limit, "above its limit"
        super().begin(name, version)


class History:
    """Some functions that share an account, processors and memory, and what becomes of them."""

    def __init__(self, seed, stage):
        self.dice, self.stage = random.Random(seed), stage
        dice = self.dice
        self.actors = Actors(dice, stage)
        self.account = WatchedAccount(dice.randint(1, 6), dice.choice([0, 0, 0, 3]))
        names = dice.choice([(), (), ("a",), ("a", "b")])
        stage.host.extensions_of = lambda _: names
        self.means = stage.means(
            self.account,
            idle_s=dice.choice([0.0, 1.0, 60.0]),
            ahead=dice.choice([0, 1]),
            cpus=dice.choice([1, 2]),
            budget_bytes=dice.choice([math.inf, math.inf, 150 * MIB, 50 * MIB]),
        )
        kinds = dice.sample(KINDS, dice.randint(1, 2))
        self.serving = [(values, stage.pool(self.means, **values)) for values in kinds]
        self.pools = [pool for _, pool in self.serving]
        self.arrived, self.ended, self.runs, self.finished = [], Counter(), [], Counter()
        self.moves = [
            *[self.arrive] * 5,
            self.caller_leaves,
            *[self.actors.act] * 18,
            *[self.time_passes] * 2,
            self.function_changes,
            self.function_is_deleted,
            self.concurrency_is_provisioned,
            self.concurrency_is_reserved,
        ]

    async def play(self):
        for _ in range(MOVES):
            self.dice.choice(self.moves)()
            await self.stage.settle()
            self.check()
        await self.end()

    # --- moves --------------------------------------------------------------------------

    def arrive(self):
        if self.serving:
            request_id, (_, pool) = f"r-{len(self.arrived)}", self.dice.choice(self.serving)
            self.arrived.append(asyncio.ensure_future(self.caller(pool, request_id)))

    async def caller(self, pool, request_id):
        try:
            run = await pool.invoke(self.stage.invocation(request_id))
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
        if waiting and self.dice.random() < 0.5:
            self.dice.choice(waiting).cancel()

    def time_passes(self):
        self.stage.clock.advance(self.dice.choice([0.005, 0.02, 0.1, 1.0, 3.0, 10.0]))

    def function_changes(self):
        """Code that replaces other code serves whoever waits, too."""
        if self.serving and self.dice.random() < 0.3:
            number = self.dice.randrange(len(self.serving))
            values, old = self.serving[number]
            new = self.stage.pool(self.means, **values)
            self.serving[number] = values, new
            self.pools.append(new)
            old.retire(new)
            assert not old._line

    def function_is_deleted(self):
        if self.serving and self.dice.random() < 0.1:
            self.serving.pop(self.dice.randrange(len(self.serving)))[1].retire()

    def concurrency_is_provisioned(self):
        for values, pool in self.serving:
            if values in ON_DEMAND:
                count, place = self.dice.randint(0, 2), (pool.function.name, pool.function.version)
                self.account.provision(*place, count)
                pool.provision(count, lambda _: None)

    def concurrency_is_reserved(self):
        self.account.reserve("fn", self.dice.choice([None, 0, 1, 2]))

    # --- promises -----------------------------------------------------------------------

    def check(self):
        assert self.stage.errors == []
        for pool in self.pools:
            self.check_pool(pool)
        self.check_what_is_shared()
        out = [request_id for env in self.living for request_id in events_in(env)]
        assert len(set(out)) == len(out)
        assert {env.state for env in self.living if events_in(env)} <= {State.INVOKE, State.RESTORE}
        assert sum(pool._running for pool in self.pools) >= len(out)
        assert max(self.ended.values(), default=0) <= 1
        assert max(self.finished.values(), default=0) <= 1

    @property
    def living(self):
        return [env for pool in self.pools for env in pool._all]

    def check_pool(self, pool):
        idle, provisioned = pool._idle.environments, pool._provisioned
        assert set(idle) | set(provisioned.idle) <= pool._all
        assert not any(env.provisioned for env in idle), "it could expire, or be evicted"
        assert all(env.provisioned for env in provisioned.idle)
        assert all(env.can_be_leased for env in idle if not isinstance(env, Managed))
        free = {env for env in pool._all if env.can_be_leased}
        if not pool._retired:  # Nothing that is of use is lost.
            assert free <= set(idle) | set(provisioned.idle)
        assert not (free and pool._line) or isinstance(next(iter(free)), Managed)
        assert 0 <= pool._finishing <= len(pool._all)
        assert pool._coming_places == sum(pool._coming.values())
        assert set(pool._coming) <= pool._all
        # Whoever waits has something to wait for: an environment, or a turn to start one.
        lacking = pool_policy.missing(pool._snapshot())
        assert lacking <= 0 or pool in self.means.admission._turns
        counted = pool.census()
        assert len(counted.environments) == len(pool._all)

    def check_what_is_shared(self):
        budget, admission = self.means.budget, self.means.admission
        assert budget.charged_bytes == sum(budget._charged.values())
        ending = {State.SHUTDOWN, State.GONE}
        assert set(budget._charged) == {env for env in self.living if env.state not in ending}
        assert set(budget._ending) == {env for env in self.living if env.state in ending}
        assert budget._ending_bytes == sum(budget._ending.values())
        starting = {env for pool in self.pools for env in pool._starting}
        assert set(admission._places) <= starting
        assert admission._held == pytest.approx(
            sum(place.weight for place in admission._places.values())
        )
        assert admission._asleep <= starting
        waited_for = admission._places or budget._ending
        assert not admission._turns or waited_for, "nobody starts, and somebody waits"

    async def end(self):
        """Nobody says anything any more; yet whoever waits comes to an end. Then all ends."""
        for _ in range(ALL_ENDS_S // 5):
            if all(task.done() for task in self.arrived):
                break
            self.stage.clock.advance(5)
            await self.stage.settle()
            self.check()
        assert all(task.done() for task in self.arrived), "it waits for ever"
        for pool in self.pools:
            pool.kill()
        await self.stage.ended()
        self.check()
        assert all(run.answered.done() and run.finished.done() for run in self.runs)
        assert self.account.running == 0
        assert Counter(self.stage.emptied) == Counter(self.pools)
        assert all(sandbox.removed for sandbox in self.stage.sandboxes)
        assert {sandbox.owner.state for sandbox in self.stage.sandboxes} <= {State.GONE}
        budget, starts = self.means.budget, self.means.admission
        assert (budget.charged_bytes, budget._ending_bytes, starts.starting) == (0, 0, 0)


def events_in(env):
    """The ids of the events that are out in an environment."""
    if isinstance(env, Managed):
        return list(env._tasks)
    return [] if env._run is None else [env._run.invocation.request_id]


def outcome_of(task):
    return "Cancelled" if task.cancelled() else type(task.result()).__name__


@pytest.mark.asyncio
@pytest.mark.parametrize("first", range(0, HISTORIES, AT_A_TIME))
async def test_whatever_happens_the_promises_of_a_pool_hold(new_stage, first):
    """No lease twice, never above a limit, every invocation ends once, every environment ends."""
    outcomes = Counter()
    for seed in range(first, first + AT_A_TIME):
        history = History(seed, new_stage())
        try:
            await history.play()
        except Exception as error:
            error.add_note(f"history {seed}")
            raise
        outcomes.update(outcome_of(task) for task in history.arrived)
    assert {"Run", "ApiError", "FunctionError", "PlatformFault"} <= outcomes.keys(), outcomes
