"""Functions in a store that forgets, a registry whose environments are played, and the API."""

import asyncio
import hashlib
import io
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import pytest
import pytest_asyncio
import structlog
from yarl import URL

from lambdad.api.call import Call
from lambdad.api.operations.packages import Packages
from lambdad.api.server import ApiServer
from lambdad.code.blobs import Blob
from lambdad.code.layers import Layers
from lambdad.invoke.account import Account
from lambdad.invoke.registry import Registry
from lambdad.model.clock import SystemClock
from lambdad.model.errors import ApiError
from lambdad.model.function import Function, State, UpdateStatus
from lambdad.store.protocol import AlreadyExists

# What is offered, and nothing else; a new operation is one more line here.
OFFERED = {
    "CreateAlias",
    "CreateFunction",
    "DeleteAlias",
    "DeleteFunction",
    "DeleteFunctionConcurrency",
    "DeleteLayerVersion",
    "DeleteProvisionedConcurrencyConfig",
    "GetAccountSettings",
    "GetAlias",
    "GetFunction",
    "GetFunctionConcurrency",
    "GetFunctionConfiguration",
    "GetLayerVersion",
    "GetLayerVersionByArn",
    "GetProvisionedConcurrencyConfig",
    "Invoke",
    "InvokeWithResponseStream",
    "ListAliases",
    "ListFunctions",
    "ListLayerVersions",
    "ListLayers",
    "ListProvisionedConcurrencyConfigs",
    "ListVersionsByFunction",
    "PublishLayerVersion",
    "PublishVersion",
    "PutFunctionConcurrency",
    "PutProvisionedConcurrencyConfig",
    "UpdateAlias",
    "UpdateFunctionCode",
    "UpdateFunctionConfiguration",
}


REGION, ACCOUNT = "eu-west-1", "123456789012"


def make_function(name="fn", **values):
    least = {
        "runtime": "provided.al2023",
        "handler": "app.handler",
        "role": "arn:aws:iam::123456789012:role/r",
        "code_sha256": "Zm9v",
        "code_bytes": 3,
        "tree": "0" * 64,
        "timeout_s": 3,
        "memory_mb": 128,
        "tmp_mb": 512,
        "architecture": "x86_64",
        "revision_id": "one",
        "last_modified": 1_795_253_400.123,
        "state": State.ACTIVE,
        "update_status": UpdateStatus.SUCCESSFUL,
    }
    return Function(name, **{**least, **values})


class FakeStore:
    """The Store protocol over dicts."""

    def __init__(self):
        self.kept, self.published, self.numbers = {}, {}, {}
        self.layers, self.last, self.reserved = {}, {}, {}
        self.named, self.provisioned = {}, {}

    async def functions(self):
        return [self.kept[name] for name in sorted(self.kept)]

    async def create_function(self, function):
        if function.name in self.kept:
            raise AlreadyExists(function.name)
        self.kept[function.name] = function

    async def replace_function(self, new, *, expected_revision):
        old = self.kept.get(new.name)
        if old is None or old.revision_id != expected_revision:
            return False
        self.kept[new.name] = new
        return True

    async def delete_function(self, name):
        self.reserved.pop(name, None)
        self.published = {
            place: version for place, version in self.published.items() if place[0] != name
        }
        self.numbers.pop(name, None)
        for places in (self.named, self.provisioned):
            for place in [place for place in places if place[0] == name]:
                del places[place]
        return self.kept.pop(name, None) is not None

    async def reserve_concurrency(self, name, count):
        self.reserved[name] = count
        return name in self.kept

    async def reserved_concurrency(self):
        return {name: count for name, count in self.reserved.items() if count is not None}

    async def versions(self):
        return list(self.published.values())

    async def last_versions(self):
        return dict(self.numbers)

    async def create_version(self, function):
        self.published[function.name, function.version] = function
        self.numbers[function.name] = int(function.version)
        return function.name in self.kept

    async def replace_version(self, function):
        self.published[function.name, function.version] = function
        return True

    async def delete_version(self, name, version):
        self.provisioned.pop((name, version), None)
        return self.published.pop((name, version), None) is not None

    async def aliases(self):
        return list(self.named.values())

    async def create_alias(self, alias):
        if alias.function not in self.kept or (alias.function, alias.name) in self.named:
            return False
        self.named[alias.function, alias.name] = alias
        return True

    async def replace_alias(self, new, *, expected_revision):
        old = self.named.get((new.function, new.name))
        if old is None or old.revision_id != expected_revision:
            return False
        self.named[new.function, new.name] = new
        return True

    async def delete_alias(self, function, name):
        self.provisioned.pop((function, name), None)
        return self.named.pop((function, name), None) is not None

    async def provisioned_concurrency(self):
        return list(self.provisioned.values())

    async def provision_concurrency(self, wanted):
        self.provisioned[wanted.function, wanted.qualifier] = wanted
        return wanted.function in self.kept

    async def release_concurrency(self, function, qualifier):
        return self.provisioned.pop((function, qualifier), None) is not None

    async def layer_versions(self):
        return list(self.layers.values())

    async def last_layer_versions(self):
        return dict(self.last)

    async def create_layer_version(self, layer):
        self.layers[layer.name, layer.version] = layer
        self.last[layer.name] = layer.version

    async def delete_layer_version(self, name, version):
        return self.layers.pop((name, version), None) is not None


class FakeHost:
    """Deploys when it is told to, and runs nothing."""

    region, account = REGION, ACCOUNT
    clock = SystemClock()

    def __init__(self):
        self.waiting, self.refusal, self.forgotten = [], None, []
        self.logs = FakeLogs()

    def forget_code(self, tree):
        self.forgotten.append(tree)

    async def make_ready(self, function):
        if self.refusal is not None:
            raise self.refusal

    async def snapshot(self, function):
        return None

    def forget_snapshot(self, function):
        pass

    def background(self, work):
        self.waiting.append(work)

    async def settled(self):
        while self.waiting:
            await self.waiting.pop(0)

    def close(self):
        for work in self.waiting:
            work.close()


class FakeLogs:
    def close(self, function):
        pass

    def remove(self, function):
        pass


class FakeBlobs:
    """Takes everything for a zip but what is told; what it unzips to is ten times as large."""

    def __init__(self):
        self.refusal, self.held, self.sizes = None, [], {}

    def add(self, archive):
        if self.refusal is not None:
            raise self.refusal
        digest = hashlib.sha256(archive).hexdigest()
        self.hold(digest)
        self.sizes[digest] = 10 * len(archive)
        return Blob(digest, f"base64-{digest[:4]}", len(archive))

    def merge(self, trees):
        merged = trees[0] if len(trees) == 1 else "+".join(trees)
        self.hold(merged)
        return merged

    def unzipped_bytes(self, tree):
        return self.sizes[tree]

    def hold(self, tree):
        self.held.append(tree)

    def release(self, tree):
        self.held.remove(tree)


class FakeClock:
    def now(self):
        return 1_795_253_400.123


@pytest.fixture
def new_function():
    return make_function


@pytest_asyncio.fixture
async def host():
    host = FakeHost()
    yield host
    host.close()


@pytest.fixture
def store():
    return FakeStore()


@pytest.fixture
def blobs():
    return FakeBlobs()


@pytest_asyncio.fixture
async def registry(store, host):
    registry = Registry(store, host, Account(1_000), 60.0)
    await registry.start()
    return registry


@pytest_asyncio.fixture
async def layers(store, blobs):
    layers = Layers(store, blobs)
    await layers.start()
    return layers


@pytest.fixture
def packages(blobs, registry):
    with ThreadPoolExecutor(1) as disk:
        yield Packages(blobs, disk, registry.forget_code)


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def call():
    return Call("8f507cfc-0000-4697-b07a-ac58fc914c95", endpoint="http://127.0.0.1:3001",
                code_path="/lambdad/code/{}.zip".format)  # fmt: skip


@pytest.fixture
def refused():
    """Runs something that is refused; gives code and message."""

    async def made(awaitable):
        with pytest.raises(ApiError) as caught:
            await awaitable
        return caught.value.code, caught.value.message

    return made


# --- the API over a real socket ------------------------------------------------------------


class Operations:
    """The fake table: keeps parameters and calls, answers or raises what it is told."""

    def __init__(self):
        self.asked, self.outcomes, self.headers = [], {}, {}

    def named(self, name):
        async def operation(params, call):
            self.asked.append((name, params, call))
            call.headers.update(self.headers)
            outcome = self.outcomes.get(name, {})
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return operation


class OneZip:
    def __init__(self, path):
        self.path = path

    def zip_if_there(self, tree):
        return self.path if tree == "a" * 64 else None


@pytest.fixture
def offered():
    return OFFERED


@pytest.fixture
def keys():
    """Who may call; None if nobody has to sign."""
    return


@pytest.fixture
def operations():
    return Operations()


@pytest_asyncio.fixture
async def ask(operations, tmp_path, clock, keys):
    """One request; gives status, headers and body."""
    structlog.configure(processors=[structlog.processors.JSONRenderer()])
    archive = tmp_path / "zip"
    archive.write_bytes(b"PK")
    names = {name: operations.named(name) for name in OFFERED}
    places = {"host": "127.0.0.1", "region": REGION}
    api = ApiServer(names, OneZip(archive), clock, **places, keys=keys)
    protocol = api.protocol_factory()
    listening = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"

    async def made(method, path, data=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        url = URL(base + path, encoded=True)
        data = io.BytesIO(data) if isinstance(data, bytes) else data
        async with session.request(method, url, data=data, headers=headers) as answer:
            return answer.status, answer.headers, await answer.read()

    made.address = listening.sockets[0].getsockname()
    async with aiohttp.ClientSession() as session:
        yield made
    listening.close()
    await protocol.shutdown(0.01)
    structlog.reset_defaults()
