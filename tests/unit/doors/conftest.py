"""Both doors over a real socket, each with somebody behind it who notes what was asked."""

import asyncio
import contextlib
import re
import socket
from types import SimpleNamespace

import pytest
import pytest_asyncio

from lambdad.api import server as api
from lambdad.invoke.invocation import Delivery, Invocation, Run
from lambdad.model.clock import SystemClock
from lambdad.runtime_api import server as runtime_api

STATUS = re.compile(rb"^HTTP/1\.[01] (\d{3}) .*\r$", re.MULTILINE)
RUNTIME = "/2018-06-01/runtime"


class Environment:
    """Notes what a runtime says; what it is asked for never comes unless it is told."""

    def __init__(self, done):
        self._done = done
        self.event = asyncio.get_running_loop().create_future()

    def next_event(self):
        self._done.append("next")
        return self.event

    snap_start = False
    function = SimpleNamespace(max_concurrency=None)

    def begin_answer(self, request_id, call):
        loop = asyncio.get_running_loop()
        return Run(Invocation("r-1", b"", "arn", "trace"), loop, SystemClock())

    def answer(self, run, payload):
        self._done.append(("answer", payload))

    def answer_error(self, run, error):
        self._done.append(("error", error.error_type))

    def begin_init_error(self):
        pass

    def init_error(self, error):
        self._done.append(("init error", error.error_type))

    def deliver(self, payload):
        self.event.set_result(Delivery(Invocation("r-1", payload, "arn", "trace"), 1))


class Clock:
    def now(self):
        return 1_795_253_400.0


async def _all(reader):
    said = b""
    with contextlib.suppress(ConnectionError):
        while more := await reader.read(65_536):
            said += more
    return said


class Served:
    """A door that is open.

    Attributes:
        post, smuggled: the path of a request with a body, and a whole request besides.
        done: what has come through.
        sweep: who looks at its connections; here only when asked to.
    """

    def __init__(self, address, post, smuggled, done, sweep):
        self.address, self.post, self.done, self.sweep = address, post, done, sweep
        self.smuggled = f"GET {smuggled} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        self._writers = []
        sweep._every_s = 1e9  # not during a test, which has a clock of its own

    async def connect(self):
        reader, writer = await asyncio.open_connection(*self.address)
        self._writers.append(writer)
        return reader, writer

    async def statuses(self, *parts):
        """Send bytes as they stand, a pause between parts; all statuses until it hangs up."""
        reader, writer = await self.connect()
        # Read all the while: what was sent after a refusal makes the kernel drop the rest of it.
        hearing = asyncio.ensure_future(_all(reader))
        for part in parts:
            writer.write(part)
            await self.settled()
        said = await asyncio.wait_for(hearing, 10)
        assert b"Python" not in said
        assert b"Traceback" not in said
        return [int(status) for status in STATUS.findall(said)]

    async def settled(self):
        """Until the loop has seen what was sent before: a later connection is served after."""
        reader, writer = await asyncio.open_connection(*self.address)
        writer.write(b"GET /settled HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def until(self, stage, count=1):
        """Until so many connections wait for this."""
        async with asyncio.timeout(10):
            while [one.stage() for one in self.connections()].count(stage) < count:  # noqa: ASYNC110  a door tells nobody
                await asyncio.sleep(0)

    def connections(self):
        return list(self.sweep._open)

    async def hung_up(self, reader):
        """Until the door has closed the connection."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(10):
                while await reader.read(65_536):
                    pass

    async def close(self):
        for writer in self._writers:
            writer.transport.abort()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


@contextlib.asynccontextmanager
async def _api(terms):
    done = []

    async def invoke(params, _):
        done.append(("answer", params.get("Payload", b"")))
        return {"StatusCode": 200, "Payload": b"1"}

    async def get(params, _):
        done.append("next")
        return {"Configuration": {"FunctionName": params["FunctionName"]}}

    operations = {"Invoke": invoke, "GetFunction": get}
    served = api.ApiServer(
        operations, None, Clock(), host="127.0.0.1", region="eu-west-1", terms=terms or api.TERMS
    )
    door = served.protocol_factory()
    listening = await asyncio.get_running_loop().create_server(door, "127.0.0.1", 0)
    functions = "/2015-03-31/functions/fn"
    address = listening.sockets[0].getsockname()
    yield Served(address, f"{functions}/invocations", functions, done, door.sweep), None
    listening.close()
    await door.shutdown(0.01)


@contextlib.asynccontextmanager
async def _runtime_api(terms):
    done = []
    environment = Environment(done)
    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    door = runtime_api.RuntimeApi(terms or runtime_api.TERMS)
    close = await door.open(environment, listener)
    post, following = f"{RUNTIME}/invocation/r-1/response", f"{RUNTIME}/invocation/next"
    yield Served(address, post, following, done, door._sweep), environment
    environment.event.cancel()
    await close()


DOORS = {"api": _api, "runtime_api": _runtime_api}


@pytest.fixture
def terms():
    """What clients are granted; None for what each door grants."""
    return


@pytest_asyncio.fixture(params=sorted(DOORS))
async def door(request, terms):
    """Either door."""
    async with DOORS[request.param](terms) as (served, environment):
        served.name, served.environment = request.param, environment
        yield served
        await served.close()
