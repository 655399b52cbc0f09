"""CreateAlias, GetAlias, UpdateAlias, DeleteAlias, ListAliases.

Source: lambda-api sections 2.4, 7 and 9, which record the service's answers and texts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from lambdad.api.call import Call
from lambdad.api.operations.pages import page
from lambdad.api.operations.provisioned import check_version
from lambdad.api.operations.recorded import Recorded, wrong_revision
from lambdad.invoke.registry import Registry
from lambdad.model import ids
from lambdad.model.alias import Alias
from lambdad.model.errors import ApiError, conflict, invalid_parameter, not_found
from lambdad.model.function import LATEST

Params = Mapping[str, Any]
Result = dict[str, Any]


class AliasOperations:
    """Aliases, as the API shows them."""

    def __init__(self, registry: Registry, *, region: str, account: str) -> None:
        self._registry = registry
        self._recorded = Recorded(registry, region=region, account=account)

    async def CreateAlias(self, params: Params, _: Call) -> Result:
        name, _qualifier = self._recorded.named(params)
        alias = Alias(
            function=name,
            name=params["Name"],
            version=params["FunctionVersion"],
            revision_id=ids.request_id(),
            description=params.get("Description", ""),
            weights=_weights(params),
        )
        async with self._registry.changing:
            self._check(alias)
            if self._registry.aliases.find(name, alias.name) is not None:
                raise self._exists(alias)
            if not await self._registry.aliases.create(alias):  # The function has gone meanwhile.
                raise self._recorded.not_found(name, alias.version)
        return self._shown(alias)

    async def GetAlias(self, params: Params, _: Call) -> Result:
        return self._shown(self._find(params, "Cannot find alias arn"))

    async def UpdateAlias(self, params: Params, _: Call) -> Result:
        async with self._registry.changing:
            return self._shown(await self._updated(params))

    async def DeleteAlias(self, params: Params, _: Call) -> Result:
        name, _qualifier = self._recorded.named(params)
        async with self._registry.changing:
            await self._registry.aliases.delete(name, params["Name"])
            self._registry.provisioning.forget(name, params["Name"])
        return {}

    async def ListAliases(self, params: Params, _: Call) -> Result:
        name, _qualifier = self._recorded.named(params)
        if self._registry.find(name) is None:
            raise self._recorded.not_found(name)
        version = params.get("FunctionVersion")
        aliases = (
            self._registry.aliases.of(name)
            if version is None
            else self._registry.aliases.by(name, version)
        )
        shown, marker = page(params, aliases, lambda alias: alias.name)
        return {"Aliases": [self._shown(alias) for alias in shown], **marker}

    # --- parts ------------------------------------------------------------------------

    async def _updated(self, params: Params) -> Alias:
        alias = self._find(params, "Alias not found")
        if params.get("RevisionId", alias.revision_id) != alias.revision_id:
            raise wrong_revision()
        new = dataclasses.replace(
            alias,
            version=params.get("FunctionVersion", alias.version),
            revision_id=ids.request_id(),
            description=params.get("Description", alias.description),
            weights=_weights(params) if "RoutingConfig" in params else alias.weights,
        )
        self._check(new)
        self._check_move(alias, new)
        if not await self._registry.aliases.replace(alias, new):
            raise self._recorded.in_progress(alias.function, alias.name)
        self._registry.provisioning.follow(alias.function, alias.name)
        return new

    def _find(self, params: Params, refusal: str) -> Alias:
        name, _qualifier = self._recorded.named(params)
        alias = self._registry.aliases.find(name, params["Name"])
        if alias is None:
            raise not_found(f"{refusal}: {self._recorded.arn(name, params['Name'])}")
        return alias

    def _exists(self, alias: Alias) -> ApiError:
        arn = self._recorded.arn(alias.function, alias.name)
        return conflict(f"Alias already exists: {arn}")

    def _check(self, alias: Alias) -> None:
        """See that what it points to can be pointed to.

        Raises:
            ApiError: it cannot, or there is no such version.
        """
        if len(alias.weights) > 1:
            raise invalid_parameter(
                "Number of items in AdditionalVersionWeights cannot be greater than 1"
            )
        if alias.version in alias.weights:
            raise invalid_parameter(
                f"Invalid function version {alias.version}. Function version {alias.version} is "
                "already included in routing configuration."
            )
        if alias.weights and alias.version == LATEST:
            raise ApiError(
                "InvalidParameterValueException",
                "$LATEST is not supported for an alias pointing to more than 1 version",
            )
        for version in alias.versions:
            if self._registry.find(alias.function, version) is None:
                raise self._recorded.not_found(alias.function, version)

    def _check_move(self, alias: Alias, new: Alias) -> None:
        """What is provisioned of an alias moves with it, if its new version can have that.

        Raises:
            ApiError: it cannot.
        """
        provision = self._registry.provisioning.find(alias.function, alias.name)
        target = self._registry.find(new.function, new.version)
        if provision is not None and target is not None:
            check_version(self._registry, target, alias.name)

    def _shown(self, alias: Alias) -> Result:
        shown: Result = {
            "AliasArn": self._recorded.arn(alias.function, alias.name),
            "Name": alias.name,
            "FunctionVersion": alias.version,
            "Description": alias.description,
            "RevisionId": alias.revision_id,
        }
        if alias.weights:
            shown["RoutingConfig"] = {"AdditionalVersionWeights": dict(alias.weights)}
        return shown


def _weights(params: Params) -> dict[str, float]:
    """What a request sets of them: a routing configuration that is empty is none."""
    routing = params.get("RoutingConfig") or {}
    return dict(routing.get("AdditionalVersionWeights") or {})
