"""What runtimes, extensions and sandboxes may do at any moment, by dice: whatever it is, and now
and then what they may not.
"""

from lambdad.invoke.lifecycle import State
from lambdad.invoke.managed import Managed
from lambdad.invoke.runtime_state import Call, Refused, RuntimeState
from lambdad.model.errors import FunctionError

MIB = 1024 * 1024
ENDING = {State.SHUTDOWN, State.GONE}


class Actors:
    """All that live in the environments of a stage. Some of them hang, and never say a word."""

    def __init__(self, dice, stage):
        self.dice, self.stage, self._hangs = dice, stage, {}
        self.moves = [
            *[self.runtime_speaks] * 8,
            *[self.extension_speaks] * 6,
            self.extension_exits,
            self.runtime_exits,
            self.sandbox_dies,
            self.memory_is_taken,
            self.the_end_takes_time,
        ]

    def act(self):
        self.dice.choice(self.moves)()

    def environment(self, *states):
        found = [
            sandbox.owner
            for sandbox in self.stage.sandboxes
            if sandbox.owner.state in states and not self.hangs(sandbox.owner)
        ]
        return self.dice.choice(found) if found else None

    def hangs(self, environment):
        if environment not in self._hangs:
            self._hangs[environment] = self.dice.random() < 0.07
        return self._hangs[environment]

    def runtime_speaks(self):
        """The next thing that a runtime or its init would say, or now and then a wrong one."""
        env = self.environment(*set(State) - ENDING)
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
        env = self.environment(*set(State) - ENDING - {State.STARTING, State.NEEDS_INIT})
        if env is not None and self.dice.random() < 0.6:
            env.process_exited("runtime", 9)

    def sandbox_dies(self):
        env = self.environment(*set(State) - ENDING)
        if env is not None and self.dice.random() < 0.3:
            env.sandbox_died()

    def the_end_takes_time(self):
        """What the kernel has to take away of one, once it is to end."""
        env = self.environment(*set(State) - ENDING - {State.STARTING})
        if env is not None:
            may_go = self.stage.sandbox_of(env).may_go
            may_go.clear()
            self.stage.clock.call_later(self.dice.choice([0.1, 5.0]), may_go.set)

    def memory_is_taken(self):
        env = self.environment(*set(State) - ENDING)
        if env is not None:
            cgroup = self.stage.sandbox_of(env).cgroup
            cgroup.memory = self.dice.randint(1, 60) * MIB
            cgroup.cpu_us += self.dice.randint(0, 100_000)
