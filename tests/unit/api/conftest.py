"""Functions in a store that forgets, and a registry whose environments are played."""

import hashlib

import pytest
import pytest_asyncio

from lambdad.api.call import Call
from lambdad.code.blobs import Blob
from lambdad.model.errors import ApiError
from lambdad.model.function import Function, State, UpdateStatus
from lambdad.store.protocol import AlreadyExists

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
    """The Functions protocol over a dict."""

    def __init__(self):
        self.kept = {}

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
        return self.kept.pop(name, None) is not None


class FakeHost:
    """Deploys when it is told to, and runs nothing."""

    region, account = REGION, ACCOUNT

    def __init__(self):
        self.waiting, self.refusal = [], None

    async def make_ready(self, function):
        if self.refusal is not None:
            raise self.refusal

    def background(self, work):
        self.waiting.append(work)

    async def settled(self):
        while self.waiting:
            await self.waiting.pop(0)

    def close(self):
        for work in self.waiting:
            work.close()


class FakeBlobs:
    """Takes everything for a zip but what is told."""

    def __init__(self):
        self.refusal = None

    def add(self, archive):
        if self.refusal is not None:
            raise self.refusal
        digest = hashlib.sha256(archive).hexdigest()
        return Blob(digest, f"base64-{digest[:4]}", len(archive))


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


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def call():
    return Call("8f507cfc-0000-4697-b07a-ac58fc914c95", endpoint="http://127.0.0.1:3001")


@pytest.fixture
def refused():
    """Runs something that is refused; gives code and message."""

    async def made(awaitable):
        with pytest.raises(ApiError) as caught:
            await awaitable
        return caught.value.code, caught.value.message

    return made
