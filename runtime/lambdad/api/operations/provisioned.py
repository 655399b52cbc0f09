"""PutProvisionedConcurrencyConfig, and the same with Get, Delete and List.

Source: lambda-api section 12, which records the service's answers and texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambdad.api.call import Call
from lambdad.api.operations.pages import page
from lambdad.api.operations.recorded import Recorded
from lambdad.invoke.provisioning import Provision
from lambdad.invoke.registry import Registry
from lambdad.model import limits
from lambdad.model.clock import Clock, last_modified
from lambdad.model.errors import ApiError, conflict, invalid_parameter, not_found
from lambdad.model.function import LATEST, Function, State
from lambdad.model.provisioned import ProvisionedConcurrency

Params = Mapping[str, Any]
Result = dict[str, Any]

_UNPUBLISHED = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
_NEITHER = "The function resource provided must be an alias or a published version."


class ProvisionedOperations:
    """Provisioned concurrency, as the API shows it."""

    def __init__(self, registry: Registry, clock: Clock, *, region: str, account: str) -> None:
        self._registry, self._clock = registry, clock
        self._recorded = Recorded(registry, region=region, account=account)

    async def PutProvisionedConcurrencyConfig(self, params: Params, _: Call) -> Result:
        async with self._registry.changing:
            return _shown(await self._put(params))

    async def GetProvisionedConcurrencyConfig(self, params: Params, _: Call) -> Result:
        function, qualifier = self._find(params, _NEITHER)
        provision = self._registry.provisioning.find(function.name, qualifier)
        if provision is None:
            raise ApiError(
                "ProvisionedConcurrencyConfigNotFoundException",
                "No Provisioned Concurrency Config found for this function",
                Type="User",
            )
        return _shown(provision)

    async def DeleteProvisionedConcurrencyConfig(self, params: Params, _: Call) -> Result:
        function, qualifier = self._find(params, _NEITHER)
        await self._registry.provisioning.delete(function.name, qualifier)
        return {}

    async def ListProvisionedConcurrencyConfigs(self, params: Params, _: Call) -> Result:
        name, _qualifier = self._recorded.named(params)
        if self._registry.find(name) is None:
            raise self._recorded.not_found(name)
        provisions = self._registry.provisioning.of(name)
        shown, marker = page(params, provisions, lambda one: one.wanted.qualifier)
        listed = [
            {"FunctionArn": self._recorded.arn(name, one.wanted.qualifier), **_shown(one)}
            for one in shown
        ]
        return {"ProvisionedConcurrencyConfigs": listed, **marker}

    # --- parts ------------------------------------------------------------------------

    async def _put(self, params: Params) -> Provision:
        function, qualifier = self._find(params, _UNPUBLISHED)
        count: int = params["ProvisionedConcurrentExecutions"]
        alias = self._registry.aliases.find(function.name, qualifier)
        if alias is not None and alias.weights:
            raise invalid_parameter(
                "Alias with weights can not be used with Provisioned Concurrency"
            )
        check_version(self._registry, function, qualifier)
        self._check_count(function.name, qualifier, count)
        wanted = ProvisionedConcurrency(function.name, qualifier, count, self._clock.now())
        provision = await self._registry.provisioning.put(wanted)
        if provision is None:
            raise self._recorded.not_found(function.name, qualifier)
        return provision

    def _find(self, params: Params, refusal: str) -> tuple[Function, str]:
        """The version that a request means, and by which qualifier.

        Raises:
            ApiError: there is no such version or alias, or none is named.
        """
        name, qualifier = self._recorded.named(params)
        if qualifier is None or qualifier == LATEST:
            raise invalid_parameter(refusal)
        function = self._registry.qualified(name, qualifier)
        if function is None:
            if qualifier.isdecimal() or "$" in qualifier:
                raise self._recorded.not_found(name, qualifier)
            raise not_found(f"Cannot find alias arn: {self._recorded.arn(name, qualifier)}")
        return function, qualifier

    def _check_count(self, name: str, qualifier: str, count: int) -> None:
        """See that the function, or else the account, has so many to give.

        Raises:
            ApiError: it has not.
        """
        own = self._registry.provisioning.find(name, qualifier)
        others = self._registry.provisioning.total(name) - (0 if own is None else own.wanted.count)
        reserved = self._registry.reserved(name)
        if reserved is not None:
            if others + count > reserved:
                raise invalid_parameter(
                    "Requested Provisioned Concurrency should not be greater than the "
                    "reservedConcurrentExecution for function"
                )
            return
        left = self._registry.unreserved_without(name) - others
        if count > left:
            raise _too_many(f"is greater than account's unreserved concurrency [{left}].")
        if left - count < limits.unreserved_concurrency_min:
            raise _too_many(
                "decreases account's UnreservedConcurrentExecution below its minimum value of "
                f"[{limits.unreserved_concurrency_min}]."
            )


def check_version(registry: Registry, function: Function, qualifier: str) -> None:
    """See that a version can have what is provisioned under a qualifier that means it.

    Raises:
        ApiError: it has something already, or can have nothing.
    """
    if function.version == LATEST:
        raise invalid_parameter(_UNPUBLISHED)
    other = registry.provisioning.of_version(function.name, function.version)
    if other is not None and other.wanted.qualifier != qualifier:
        raise conflict(
            "Version is pointed by a Provisioned Concurrency alias"
            if qualifier == function.version
            else "Alias can't be used for Provisioned Concurrency configuration on an already "
            "Provisioned version"
        )
    if function.snap_start != "None":  # As AWS documents of SnapStart, in words of ours.
        raise invalid_parameter("cannot provision concurrency of a version that has SnapStart")
    if function.capacity_provider is not None:
        raise invalid_parameter(
            "cannot provision concurrency of a function that has a capacity provider"
        )
    if function.state is not State.ACTIVE:
        raise registry.not_ready(function)


def _too_many(what: str) -> ApiError:
    return ApiError(
        "InvalidParameterValueException", f"Specified ConcurrentExecutions for function {what}"
    )


def _shown(provision: Provision) -> Result:
    allocation = provision.allocation
    shown: Result = {
        "RequestedProvisionedConcurrentExecutions": provision.wanted.count,
        "AvailableProvisionedConcurrentExecutions": allocation.available,
        "AllocatedProvisionedConcurrentExecutions": allocation.allocated,
        "Status": str(provision.status),
        "LastModified": last_modified(provision.wanted.last_modified),
    }
    if allocation.failed is not None:
        shown["StatusReason"] = allocation.failed
    return shown
