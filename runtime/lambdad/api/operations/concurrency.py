"""PutFunctionConcurrency, GetFunctionConcurrency, DeleteFunctionConcurrency.

Source: lambda-api section 11, which records the service's answers and texts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambdad.api.call import Call
from lambdad.api.operations.recorded import Recorded
from lambdad.invoke.registry import Registry
from lambdad.model import limits
from lambdad.model.errors import ApiError, invalid_parameter
from lambdad.model.function import LATEST

Params = Mapping[str, Any]
Result = dict[str, Any]


class ConcurrencyOperations:
    """Reserved concurrency, as the API shows it."""

    def __init__(self, registry: Registry, *, region: str, account: str) -> None:
        self._registry = registry
        self._recorded = Recorded(registry, region=region, account=account)

    async def PutFunctionConcurrency(self, params: Params, _: Call) -> Result:
        name = self._name(params, LATEST)
        count: int = params["ReservedConcurrentExecutions"]
        async with self._registry.changing:
            self._check(name, count)
            await self._registry.reserve(name, count)
        return {"ReservedConcurrentExecutions": count}

    async def GetFunctionConcurrency(self, params: Params, _: Call) -> Result:
        count = self._registry.reserved(self._name(params))
        return {} if count is None else {"ReservedConcurrentExecutions": count}

    async def DeleteFunctionConcurrency(self, params: Params, _: Call) -> Result:
        await self._registry.reserve(self._name(params), None)
        return {}

    def _check(self, name: str, count: int) -> None:
        """See that the account has so many to give, and what is provisioned stays within.

        Raises:
            ApiError: it has not, or does not.
        """
        left = self._registry.unreserved_without(name) - count
        if count and left < limits.unreserved_concurrency_min:
            raise ApiError(
                "InvalidParameterValueException",
                "Specified ReservedConcurrentExecutions for function decreases account's "
                "UnreservedConcurrentExecution below its minimum value of "
                f"[{limits.unreserved_concurrency_min}].",
            )
        provisioned = self._registry.provisioning.total(name)
        if count < provisioned:
            raise ApiError(
                "InvalidParameterValueException",
                f" ReservedConcurrentExecutions  {count} should not be lower than function's "
                f"total provisioned concurrency [{provisioned}].",
            )

    def _name(self, params: Params, qualifier_when_missing: str | None = None) -> str:
        """The name of a function that there is.

        Raises:
            ApiError: there is none, or a version of one is meant.
        """
        name, qualifier = self._recorded.named(params)
        if qualifier is not None:
            raise invalid_parameter(
                "This operation is permitted on Lambda functions only. Aliases and versions do "
                "not support this operation. Please specify either a function name or an "
                "unqualified function ARN."
            )
        if self._registry.find(name) is None:
            raise self._recorded.not_found(name, qualifier_when_missing)
        return name
