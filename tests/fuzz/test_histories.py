"""Whatever guests say in whichever order, while anything happens: no 500, no hang, no trouble.

A history is played against a real door and a real environment; a failing one is shrunk, and is
kept here as an example.
"""

import asyncio
import os

import pytest
from fuzz import calls
from fuzz.calls import Call, Deed
from fuzz.served import KINDS, PATIENCE_S, check, served
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lambdad.invoke.environment import ALIVE
from lambdad.invoke.lifecycle import State
from lambdad.invoke.runtime_state import RuntimeState

EXAMPLES = int(os.environ.get("LAMBDAD_FUZZ_EXAMPLES", "250"))
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
HISTORIES = st.lists(calls.MOVES, min_size=5, max_size=30)
STRANGER = 11  # an extension that has another identifier than it was given


class Player:
    """Plays the moves of one history."""

    def __init__(self, one):
        self.one, self.environment = one, one.environment
        self.known = []  # identifiers that were given to extensions

    async def play(self, moves):
        for move in moves:
            if isinstance(move, Call):
                await self.call(move)
            else:
                self.deed(move)
            await self.one.settle()
            self.look()

    def look(self):
        """What holds after each move."""
        self.one.untroubled()
        assert self.environment.state in State
        assert self.environment.runtime_state in RuntimeState
        for client in self.parked():
            if client.waiting.done():
                self.answered(client, client.waiting.result())

    def parked(self):
        """The connections on which an answer has still to come."""
        return [client for client in self.one.clients if client.waiting is not None]

    def answered(self, client, answer):
        client.waiting = None
        if answer.status is None:
            assert self.environment.state not in ALIVE
        else:
            check(answer)
        if answer.headers.get("connection") == "close" or answer.status is None:
            self.end(client)
        if "lambda-extension-identifier" in answer.headers:
            self.known.append(answer.headers["lambda-extension-identifier"].encode())

    def end(self, client):
        client.end()
        self.one.clients.remove(client)

    async def call(self, call):
        if self.environment.state in (State.SHUTDOWN, State.GONE):
            return  # Whoever could speak is dead, or about to be.
        idle = [client for client in self.one.clients if client.waiting is None]
        client = idle[0] if idle else await self.one.connect()
        client.send(call.encoded(self.request_id(call), self.identifier(call)))
        client.waiting = asyncio.ensure_future(client.receive(head_only=call.method == b"HEAD"))
        if call.patient:
            return
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait([client.waiting])
        self.one.untroubled()
        self.answered(client, client.waiting.result())

    def request_id(self, call):
        match call.request_id:
            case b"out":
                return f"r-{self.one.invoked}".encode()
            case b"late":
                return f"r-{self.one.invoked - 1}".encode()
        return call.request_id

    def identifier(self, call):
        if call.extension is None:
            return None
        if self.known and call.extension != STRANGER:
            return self.known[call.extension % len(self.known)]
        return b"00000000-0000-4000-8000-000000000000"

    def deed(self, deed):
        getattr(self, deed.name)(deed.number)

    # --- deeds ----------------------------------------------------------------------------

    def invoke(self, streams):
        self.one.invoke(streams=bool(streams))

    def time_passes(self, delay_s):
        self.one.stage.clock.advance(delay_s)

    def emptied(self, _):
        self.environment.emptied()

    def runtime_exits(self, status):
        self.exits("runtime", status)

    def extension_exits(self, number):
        self.exits(f"extension:extension-{number}", 0)

    def exits(self, process, status):
        if process in self.environment._guests.running:
            self.environment.process_exited(process, status)

    def hangs_up(self, number):
        """Somebody who waits for an event waits no more."""
        parked = self.parked()
        if parked:
            self.end(parked[number % len(parked)])

    def memory_ran_out(self, _):
        self.environment.memory_ran_out()

    def sandbox_died(self, _):
        self.environment.sandbox_died()

    def retire(self, _):
        self.environment.retire()


async def play(kind, extensions, moves):
    async with served(kind, extensions) as one:
        await Player(one).play(moves)


def names(count):
    return tuple(name.decode() for name in calls.NAMES[:count])


def of_error(kind):
    """An error of a content type that AWS's clients do not send."""
    return Call(b"POST", calls.RUNTIME + b"/invocation/{id}/error", ((b"Content-Type", kind),))


POLL = Call(b"GET", calls.POLL, extension=0)
HANGS_UP = Deed("hangs_up", 0)


@BOUNDED
@given(
    moves=HISTORIES,
    extensions=st.sampled_from([0, 0, 1, 1, 3, 10, 12]),
    steps=st.sampled_from([0, 1, 2, 3, 4, 4, 4, 5, 6, 7, 7]),
)
@example(moves=[of_error(b"a/b;b*")], extensions=0, steps=4)
@example(moves=[of_error(b'a/b;x*0*="')], extensions=0, steps=4)
@example(moves=[of_error(b"a/b" + b"(" * 50_000)], extensions=0, steps=4)
@example(moves=[of_error(b"a/b" + b";" * 3_000)], extensions=0, steps=4)
@example(moves=[Call(b"GET", calls.CREDENTIALS, calls.NO_TEXT)], extensions=0, steps=0)
@example(moves=[Call(b"GET", calls.RESTORED)], extensions=12, steps=3)
@example(moves=[HANGS_UP, HANGS_UP, POLL], extensions=1, steps=7)
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_no_history_ends_in_trouble(kind, extensions, steps, moves):
    """It begins with so many steps of a good life."""
    begun = [move for step in calls.GOOD_STEPS[:steps] for move in step(kind, extensions)]
    asyncio.run(play(kind, names(extensions), begun + moves))
