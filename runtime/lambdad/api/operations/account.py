"""GetAccountSettings.

Source: lambda-api section 17.3, which records what the service counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lambdad.api.call import Call
from lambdad.code.layers import Layers
from lambdad.invoke.account import Account
from lambdad.invoke.registry import Registry
from lambdad.model import limits


class AccountOperations:
    """The account, as the API shows it."""

    def __init__(self, registry: Registry, layers: Layers, account: Account) -> None:
        self._registry, self._layers, self._account = registry, layers, account

    async def GetAccountSettings(self, _params: Mapping[str, Any], _: Call) -> dict[str, Any]:
        return {
            "AccountLimit": {
                "TotalCodeSize": limits.total_code_bytes_max,
                "CodeSizeUnzipped": limits.unzipped_bytes_max,
                "CodeSizeZipped": limits.zip_bytes_max,
                "ConcurrentExecutions": self._account.limit,
                "UnreservedConcurrentExecutions": self._account.unreserved,
            },
            "AccountUsage": {
                "TotalCodeSize": self._code_bytes(),
                "FunctionCount": len(self._registry.all()),
            },
        }

    def _code_bytes(self) -> int:
        """The zips of all versions and layers; equal ones count each time."""
        functions = sum(
            version.code_bytes
            for function in self._registry.all()
            for version in self._registry.versions(function.name)
        )
        layers = sum(
            layer.code_bytes
            for name in self._layers.names()
            for layer in self._layers.versions(name)
        )
        return functions + layers
