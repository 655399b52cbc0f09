"""Who is served by a zygote that has packages loaded, remembered for as long as it matters.

The rule is in ``packages``; this asks it when a function is made ready, and answers at once when
a start waits.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from pathlib import Path

import structlog

from lambdad.code.runtimes import Interpreter
from lambdad.invoke import packages
from lambdad.invoke.zygotes import Zygotes
from lambdad.model.errors import PlatformFault
from lambdad.model.function import Function

_log = structlog.get_logger()

_REMEMBERED_MAX = 10_000
# Whatever the answer depends on: code and layers never change under these names.
_Key = tuple[str, str, str | None, bool]


class Preloading:
    """Decides between the plain zygote of an interpreter and the one with the packages.

    Args:
        allowed: the packages that the operator wants loaded.
        zygotes: where one with packages is started, when the first function wants it.
    """

    def __init__(self, allowed: tuple[str, ...], zygotes: Zygotes) -> None:
        self._allowed = tuple(sorted({name for name in allowed if name}))
        self._zygotes = zygotes
        self._served: OrderedDict[_Key, tuple[str, ...]] = OrderedDict()

    async def consider(
        self, function: Function, interpreter: Interpreter, code: Path, layers: Path | None
    ) -> None:
        """Find out whether a function would not know them from what it would load itself."""
        wanted = self._installed(interpreter)
        key = _key(function)
        if not wanted or key in self._served:
            return
        variables = function.environment or {}
        survey = await asyncio.to_thread(packages.survey, code, layers, wanted, variables)
        loaded = await self._loaded(interpreter, wanted) if survey.used else frozenset()
        self._served[key] = wanted if packages.serves(loaded, survey) else ()
        if len(self._served) > _REMEMBERED_MAX:
            self._served.popitem(last=False)

    def packages_for(self, function: Function) -> tuple[str, ...]:
        """What its zygote has loaded; nothing if that has not been considered."""
        return self._served.get(_key(function), ())

    async def _loaded(self, interpreter: Interpreter, wanted: tuple[str, ...]) -> frozenset[str]:
        try:
            return (await self._zygotes.of(interpreter, wanted)).loaded
        except PlatformFault as fault:  # The plain one is as good, but slower.
            _log.warning("cannot load packages ahead", packages=wanted, reason=str(fault))
            return frozenset()

    def _installed(self, interpreter: Interpreter) -> tuple[str, ...]:
        prefix, version = interpreter.prefix, interpreter.version
        return tuple(name for name in self._allowed if packages.is_installed(name, prefix, version))


def _key(function: Function) -> _Key:
    steers = packages.steer(function.environment or {})
    return function.runtime, function.tree, function.layers_tree, steers
