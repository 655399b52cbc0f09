"""What all log operations stand on: the store, a thread to read in, and how things are named."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, TypeVar

from lambdad.model.errors import ApiError
from lambdad.observe.log_group import Group, View
from lambdad.observe.log_store import LogStore

Params = Mapping[str, Any]
Result = dict[str, Any]
Key = tuple[int, str]
_Item = TypeVar("_Item")

_PAGE_ITEMS = 50
_GROUP_ARN = re.compile(r"arn:[\w-]+:logs:[\w-]+:\d{12}:log-group:([^:*]+)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Place:
    """The logs of one daemon.

    Attributes:
        reader: where files are read: never on the event loop.
    """

    store: LogStore
    reader: Executor
    region: str
    account: str

    def group(self, params: Params) -> Group:
        """The group that a request is about.

        Raises:
            ApiError: it names none, two, or one that there is not.
        """
        if ("logGroupName" in params) == ("logGroupIdentifier" in params):
            raise invalid("Exactly one of logGroupName and logGroupIdentifier is required.")
        name = params.get("logGroupName") or named(params["logGroupIdentifier"])
        group = self.store.group(name)
        if group is None:
            raise no_group()
        return group

    def view(self, group: Group) -> View:
        return group.view(self.store.now_ms())

    async def has_stream(self, params: Params) -> bool:
        """Whether the group that a request is about has the stream that it is about.

        Raises:
            ApiError: there is no such group.
        """
        view = self.view(self.group(params))
        return params["logStreamName"] in await self.read(view.streams)

    async def read(self, work: Callable[[], _Item]) -> _Item:
        """Do something slow that touches no state of ours."""
        return await asyncio.get_running_loop().run_in_executor(self.reader, work)

    def group_arn(self, name: str) -> str:
        return f"arn:aws:logs:{self.region}:{self.account}:log-group:{name}"


def named(identifier: str) -> str:
    """The name of the group that a name or an ARN means."""
    found = _GROUP_ARN.fullmatch(identifier)
    return found[1] if found else identifier


def invalid(message: str) -> ApiError:
    return ApiError("InvalidParameterException", message)


def no_group() -> ApiError:
    return ApiError("ResourceNotFoundException", "The specified log group does not exist.")


def no_stream() -> ApiError:
    return ApiError("ResourceNotFoundException", "The specified log stream does not exist.")


def exists_already(what: str) -> ApiError:
    return ApiError("ResourceAlreadyExistsException", f"The specified {what} already exists")


def page(
    items: Iterable[_Item], key: Callable[[_Item], Key], params: Params, *, descending: bool = False
) -> tuple[list[_Item], Result]:
    """One page of a list, and the token of the next one if there is one.

    A token is the key of the last item that was seen: what comes and goes meanwhile moves nothing.

    Raises:
        ApiError: the token is none of ours.
    """
    ordered = sorted(items, key=key, reverse=descending)
    if (token := params.get("nextToken")) is not None:
        seen = _seen(token)
        ordered = [
            item for item in ordered if (key(item) < seen if descending else key(item) > seen)
        ]
    limit = params.get("limit", _PAGE_ITEMS)
    shown = ordered[:limit]
    if len(ordered) <= limit:
        return shown, {}
    document = json.dumps(key(shown[-1])).encode()
    return shown, {"nextToken": base64.urlsafe_b64encode(document).decode()}


def _seen(token: str) -> Key:
    try:
        match json.loads(base64.b64decode(token, altchars=b"-_", validate=True)):
            case [int(number), str(name)]:
                return number, name
    except (ValueError, RecursionError):
        pass
    raise invalid("The specified nextToken is invalid.")
