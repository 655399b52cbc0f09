"""Which kind of environment a function has: one place that knows them all."""

from __future__ import annotations

from lambdad.invoke.environment import Environment
from lambdad.invoke.event_parts import InitType
from lambdad.invoke.holder import Holder
from lambdad.invoke.host import Host
from lambdad.invoke.managed import Managed
from lambdad.invoke.on_demand import OnDemand
from lambdad.invoke.snap_start import SnapStarted
from lambdad.model.function import Function


def made(
    function: Function, host: Host, holder: Holder, *, provisioned: bool = False
) -> Environment:
    """A new environment of this function; it is still to be started.

    Args:
        function: what is to run in it.
        host: what environments are made with.
        holder: who keeps it.
        provisioned: whether it was asked for ahead, as provisioned concurrency.
    """
    if function.max_concurrency is not None:
        return Managed(function, host, holder)
    if function.restores:
        return SnapStarted(function, host, holder)
    kind = InitType.PROVISIONED_CONCURRENCY if provisioned else InitType.ON_DEMAND
    return OnDemand(function, host, holder, kind)
