"""Who speaks on a listener, and how a path is answered: what all in-sandbox APIs share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from aiohttp import web

from lambdad.invoke.environment import Environment


@dataclass(frozen=True, slots=True)
class Guest:
    """Whoever runs in one environment.

    Attributes:
        environment: what it may speak of.
        turn: held while a large event is sent, so that who asks on many connections and reads
            none has one copy of it waiting here, not many.
    """

    environment: Environment
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class Route:
    """The one method that a path has, and what answers it."""

    method: str
    handler: Callable[..., Awaitable[web.StreamResponse]]
